"""Cipher suites: what is wrong with one, and which ones a server takes.

They are found by elimination: all are offered, the one that the server chose is taken out, and so on until it refuses.
Each suite that it has costs one connection, and all that it lacks together cost one refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from asgi_tls.audit.hello import TLS12, TLS13
from asgi_tls.audit.suite_table import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgi_tls.audit.flight import Flight

Weakness = Literal["null", "anonymous", "export", "rc4", "des", "64-bit-block", "static", "cbc", "short-tag"]
Preference = Literal["server", "client"]

# The worst first: a suite is judged once, by the first that fits its name.
_WEAKNESSES: Final[tuple[tuple[Weakness, re.Pattern[str]], ...]] = (
    ("null", re.compile(r"_WITH_NULL_")),
    ("anonymous", re.compile(r"_anon_")),
    ("export", re.compile(r"_EXPORT_")),
    ("rc4", re.compile(r"_RC4_")),
    ("des", re.compile(r"_(?:DES|DES40|RC2)_CBC_")),
    ("64-bit-block", re.compile(r"_(?:3DES_EDE|IDEA)_CBC_")),
    ("static", re.compile(r"^TLS_(?:RSA|DH_RSA|DH_DSS|ECDH_RSA|ECDH_ECDSA)_WITH_")),
    ("cbc", re.compile(r"_CBC_")),
    ("short-tag", re.compile(r"_CCM_8")),
)

ECDHE: Final = frozenset(number for number, name in NAMES.items() if name.startswith(("TLS_ECDHE_", "TLS_ECDH_anon_")))
DHE: Final = frozenset(number for number, name in NAMES.items() if name.startswith(("TLS_DHE_", "TLS_DH_anon_")))
_TLS13_NUMBERS: Final = tuple(number for number in NAMES if number >> 8 == 0x13)
# RFC 5246 section 1.2 and after: authenticated encryption and SHA-2 came with TLS 1.2.
_NEW_IN_TLS12: Final = re.compile(r"_(?:GCM|CCM|CCM_8|CHACHA20_POLY1305)(?:_|$)|_SHA(?:256|384)$")


def weakness(name: str) -> Weakness | None:
    """The worst that there is to say of a suite, by IANA's name; None when there is nothing."""
    return next((found for found, pattern in _WEAKNESSES if pattern.search(name)), None)


def suites_of(version: int) -> tuple[int, ...]:
    """Every suite that may be offered in this version."""
    if version == TLS13:
        return _TLS13_NUMBERS
    before = (number for number in NAMES if number not in _TLS13_NUMBERS)
    if version == TLS12:
        return tuple(before)
    return tuple(number for number in before if not _NEW_IN_TLS12.search(NAMES[number]))


@dataclass(frozen=True, kw_only=True)
class Suites:
    """IANA's names, in the order in which the server chose them, and whose order decides; None for a single suite."""

    names: tuple[str, ...]
    preference: Preference | None


def find_suites(version: int, ask: Callable[[Sequence[int]], Flight]) -> Suites:
    """`ask` offers suites in one version and gives the flight that came back."""
    left = list(suites_of(version))
    found: list[int] = []
    while left:
        hello = ask(left).hello
        if hello is None or hello.version != version or hello.suite not in left:
            break
        left.remove(hello.suite)
        found.append(hello.suite)
    return Suites(names=tuple(NAMES[number] for number in found), preference=_preference(found, ask))


def _preference(found: Sequence[int], ask: Callable[[Sequence[int]], Flight]) -> Preference | None:
    """With the order turned round, a server of its own mind chooses the same again."""
    if len(found) < 2:
        return None
    hello = ask(found[::-1]).hello
    if hello is None:
        return None
    return "server" if hello.suite == found[0] else "client"
