"""Find the entries that a text matches.

Texts come wrapped, indented, coloured and in any case, so wording is compared by letters and digits alone; names of
errors are compared as whole words, numbers where a program's own words stand before them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asgi_tls.explain.catalogue import Trouble, catalogue
from asgi_tls.explain.index import Found, as_name, index, reason, squeezed
from asgi_tls.handshake.alerts import NAMES as ALERTS

MAX_TEXT: Final = 256 * 1024
"""Characters. Only the end of a longer text is searched, because that is where a log has its latest lines."""

_FEW: Final = 5
_LETTERS: Final = re.compile(r"[a-z]{3,}")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORD: Final = re.compile(r"[a-z0-9_-]+")
# "error:0A000102:SSL routines::unsupported protocol"
_PACKED: Final = re.compile(r"error:([0-9a-f]{8})\b")
# "verify error:num=20:unable to…", "Verify return code: 20 (unable…", "curl: (60) SSL…", "SSL alert number 70"
_NUMBERED: Final = (
    ("verify", re.compile(r"verify (?:error|return code): ?(?:num=|\()?([0-9]{1,3})\b")),
    ("curl", re.compile(r"\bcurl: \(([0-9]{1,3})\)")),
    ("alert", re.compile(r"\balert (?:number |\[)([0-9]{1,3})\b")),
    ("net_error", re.compile(r"\bnet_error (-[0-9]{1,4})\b")),
)
_NUMBER_ALONE: Final = re.compile(r"(?:(alert|curl|verify|net_error)[ :=]*)?\(?(-?[0-9]{1,4})\)?")
# Our own errors end with the first, our warnings with the second.
_POINTERS: Final = (
    re.compile(r"\basgi-tls explain ([a-z0-9-]+)"),
    re.compile(r" \(([a-z0-9-]+)\)[\"'}\s]*$", re.MULTILINE),
)
# How programs write OpenSSL's names: Node's ERR_SSL_WRONG_VERSION_NUMBER, C's SSL_R_WRONG_VERSION_NUMBER.
_PREFIXES: Final = ("err_ssl_", "err_ossl_x509_", "err_ossl_pem_", "err_ossl_evp_", "err_ossl_", "ssl_r_", "x509_r_",
                    "pem_r_", "x509_v_err_", "err_")  # fmt: skip
# Names that are ordinary words too: "connection refused".
_PROSE: Final = frozenset({"REFUSED"})
_LONGEST_NAME: Final = 100
# In letters and digits: room for a path, or for a frame of a traceback.
_NOT_FAR: Final = 500
_SEPARATE: Final = "\0"


@dataclass(frozen=True, kw_only=True)
class Match:
    """An entry, and what it was found by: words of the catalogue, the longest first, and nothing of the text."""

    trouble: Trouble
    clues: tuple[str, ...]


def explain(text: str) -> tuple[Match, ...]:
    """The entries that a code or a pasted text of any length matches, the most specific first; empty without a match.

    An entry found by a longer wording or name is more specific. General ones, which only say that something failed,
    come last.
    """
    text = _COLOUR.sub("", text[-MAX_TEXT:]).lower()
    found: dict[str, dict[str, None]] = {}
    for code, clue in _exact(text) or (*_coded(text), *_numbered(text), *_named(text), *_worded(text)):
        found.setdefault(code, {})[clue] = None
    matches = [
        Match(trouble=catalogue()[code], clues=tuple(sorted(clues, key=len, reverse=True)))
        for code, clues in found.items()
    ]
    return tuple(sorted(matches, key=lambda match: (match.trouble.general, -len(match.clues[0]))))


def near(text: str) -> tuple[str, ...]:
    """Up to five codes and names that the text may mean: first entries whose title has all its words, then names that
    are spelt alike."""
    start = text[:_LONGEST_NAME].lower()
    known = {as_name(name): name for trouble in catalogue().values() for name in (trouble.code, *trouble.names)}
    known |= {name: name for name in ALERTS.values()}
    alike = [known[name] for name in difflib.get_close_matches(as_name("_".join(start.split())), known)]
    words = _LETTERS.findall(start)
    about = [
        code
        for code, trouble in catalogue().items()
        if words and all(word in f"{code} {trouble.title}" for word in words)
    ]
    return tuple(dict.fromkeys((*about, *alike)))[:_FEW]


def _lookup(name: str) -> Found | None:
    names = index().names
    name = as_name(name)
    if name in names:
        return names[name]
    for prefix in _PREFIXES:
        if name.startswith(prefix) and name[len(prefix) :] in names:
            return names[name[len(prefix) :]]
    return None


def _exact(text: str) -> tuple[Found, ...]:
    """For a text that is one code, name or number and nothing else."""
    words = text.strip().strip("\"'`[]().,;:").replace("net::", "").replace("ssl: ", "")
    if number := _NUMBER_ALONE.fullmatch(words):
        kinds = (number[1],) if number[1] else ("verify", "alert", "curl", "net_error")
        candidates = (index().numbers.get(f"{kind} {number[2]}") for kind in kinds)
        return tuple(found for found in candidates if found is not None)
    if len(words) > _LONGEST_NAME:
        return ()
    packed = _PACKED.fullmatch(words) or re.fullmatch(r"(?:0x)?([0-9a-f]{8})", words)
    if packed:
        return tuple(_packed(packed[1]))
    found = _lookup("_".join(words.split()))
    return () if found is None else (found,)


def _coded(text: str) -> Iterator[Found]:
    """The `code` of each line that is a JSON object: our events. The name of an event without one."""
    for line in text.splitlines():
        if not line.lstrip().startswith("{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        names = [event.get("code"), event.get("event")] if isinstance(event, dict) else []
        yield from [found for name in names if isinstance(name, str) and (found := _lookup(name))][:1]


def _packed(digits: str) -> Iterator[Found]:
    name = reason(int(digits, 16))
    found = index().numbers.get(f"alert {name}") if isinstance(name, int) else index().names.get((name or "").lower())
    if found:
        yield found


def _numbered(text: str) -> Iterator[Found]:
    flat = " ".join(text.split())
    for digits in _PACKED.findall(flat):
        yield from _packed(digits)
    for kind, pattern in _NUMBERED:
        for number in pattern.findall(flat):
            if found := index().numbers.get(f"{kind} {number}"):
                yield found


def _named(text: str) -> Iterator[Found]:
    for word in _WORD.findall(text):
        # "self-signed" and "certificate" are codes and ordinary words; "certificate-expired" can only be our code.
        found = _lookup(word.strip("-_"))
        if found and found[1] not in _PROSE and (found[1] not in catalogue() or found[1] in index().ours):
            yield found
    for pointer in _POINTERS:
        yield from filter(None, map(_lookup, pointer.findall(text)))


def _worded(text: str) -> Iterator[Found]:
    rest = squeezed(text)
    for parts, found in index().wording:
        if len(parts) > 1:
            if _in_order(parts, rest):
                yield found
        elif parts[0] in rest:
            # No shorter phrase inside this one may match: "self-signed certificate" in "self-signed certificate in…".
            rest = rest.replace(parts[0], _SEPARATE)
            yield found


def _in_order(parts: tuple[str, ...], text: str) -> bool:
    """Whether the parts follow each other closely."""
    first, *others = parts
    start = text.find(first)
    while start >= 0:
        at = start + len(first)
        for part in others:
            found = text.find(part, at, at + _NOT_FAR)
            if found < 0:
                break
            at = found + len(part)
        else:
            return True
        start = text.find(first, start + len(first))
    return False
