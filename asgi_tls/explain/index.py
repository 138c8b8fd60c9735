"""The catalogue turned round: from names, numbers and wording to the entry that they belong to."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asgi_tls import errors
from asgi_tls.explain.catalogue import Trouble, catalogue, reasons
from asgi_tls.handshake.alerts import NAMES as ALERTS

_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")
# <openssl/sslerr.h>: SSL_AD_REASON_OFFSET, and the number of the alert.
_SSL_LIBRARY: Final = 20
_ALERTS: Final = range(1000, 1256)

Found = tuple[str, str]
"""The code of an entry, and the clue that led to it."""


@dataclass(frozen=True)
class Index:
    """Names in the form of `as_name`; numbers like "curl 60"; wording in the form of `squeezed`, split at …, the
    longest first. `ours` are codes of our exceptions that no ordinary text contains by chance.
    """

    names: dict[str, Found]
    numbers: dict[str, Found]
    wording: tuple[tuple[tuple[str, ...], Found], ...]
    ours: frozenset[str]


def as_name(text: str) -> str:
    """The form in which names are compared: lower case, with underscores."""
    return text.lower().replace("-", "_")


def squeezed(text: str) -> str:
    """The form in which wording is compared: letters and digits only, in lower case."""
    return _NOT_LETTERS.sub("", text.lower())


@functools.cache
def index() -> Index:
    """Made once, at the first search."""
    names: dict[str, Found] = {}
    numbers: dict[str, Found] = {}
    wording: dict[tuple[str, ...], Found] = {}
    for code, trouble in catalogue().items():
        names |= {as_name(name): (code, name) for name in _names(trouble)}
        numbers |= {number: (code, clue) for number, clue in _numbers(trouble)}
        wording |= {tuple(map(squeezed, phrase.split("…"))): (code, clue) for phrase, clue in _wording(trouble)}
    own = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ASGITLSError)]
    names |= {kind.__name__.lower(): (kind.code, kind.__name__) for kind in own}
    longest_first = sorted(wording.items(), key=lambda item: sum(map(len, item[0])), reverse=True)
    return Index(names, numbers, tuple(longest_first), frozenset(kind.code for kind in own if "-" in kind.code))


def reason(code: int) -> str | int | None:
    """The name of the reason in one of OpenSSL's packed error codes, the number of the alert, or None.

    Takes the codes of OpenSSL 3 (library << 23) and of 1.1 (library << 24).
    """
    for library, number in (((code >> 23) & 0xFF, code & 0x7FFFFF), ((code >> 24) & 0xFF, code & 0xFFF)):
        if library == _SSL_LIBRARY and number in _ALERTS:
            return number - _ALERTS.start
        if name := reasons().get(library, {}).get(number):
            return name
    return None


def _names(trouble: Trouble) -> Iterator[str]:
    yield trouble.code  # first, so that an equal name replaces it as the clue
    for number in trouble.alerts:
        if number in ALERTS:
            yield ALERTS[number]
            # OpenSSL 4.0 writes TLS_ALERT_… where the versions before it write SSLV3_ALERT_….
            yield from (f"{prefix}_ALERT_{ALERTS[number].upper()}" for prefix in ("SSLV3", "TLS", "TLSV1", "TLSV13"))
            yield f"TLSV1_{ALERTS[number].upper()}"
    yield from trouble.names


def _numbers(trouble: Trouble) -> Iterator[tuple[str, str]]:
    yield from ((f"alert {number}", f"alert {number} {ALERTS.get(number, '')}".rstrip()) for number in trouble.alerts)
    yield from ((f"verify {number}", f"verify error {number}") for number in trouble.verify)
    yield from ((f"curl {number}", f"curl: ({number})") for number in trouble.curl)
    yield from ((f"net_error {number}", f"net_error {number}") for number in trouble.net)


def _wording(trouble: Trouble) -> Iterator[tuple[str, str]]:
    for number in trouble.alerts:
        if number in ALERTS:
            words = ALERTS[number].replace("_", " ")
            yield f"alert {words}", f"alert {words}"
            yield f"tlsv1 {words}", words  # OpenSSL leaves out "alert" for those of RFC 6066
    # OpenSSL writes NO_SHARED_CIPHER as "SSL routines::no shared cipher".
    for name in filter(str.isupper, trouble.names):
        yield f"SSL routines {name}", name.replace("_", " ").lower()
    yield from ((phrase, phrase) for phrase in trouble.says)
