"""Cipher suites: IANA's table, and which of them a server accepts.

They are found by elimination: all are offered, the one that the server chose is removed, and so on until it refuses.
Each suite that it has costs one connection, and all that it lacks together cost one refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asgi_tls.handshake.flight import Flight, Preference, eliminate
from asgi_tls.handshake.hello import TLS12, TLS13


def _table() -> dict[int, str]:
    lines = (Path(__file__).parent / "suites.txt").read_text(encoding="ascii").splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    return {int(number, 16): name for number, name in rows}


NAMES: Final = _table()
ECDHE: Final = frozenset(number for number, name in NAMES.items() if name.startswith(("TLS_ECDHE_", "TLS_ECDH_anon_")))
DHE: Final = frozenset(number for number, name in NAMES.items() if name.startswith(("TLS_DHE_", "TLS_DH_anon_")))
_TLS13_NUMBERS: Final = tuple(number for number in NAMES if number >> 8 == 0x13)
# RFC 5246 section 1.2 and later: authenticated encryption and SHA-2 came with TLS 1.2.
_NEW_IN_TLS12: Final = re.compile(r"_(?:GCM|CCM|CCM_8|CHACHA20_POLY1305)(?:_|$)|_SHA(?:256|384)$")


def suites_of(version: int) -> tuple[int, ...]:
    """Every suite that may be offered in this version."""
    if version == TLS13:
        return _TLS13_NUMBERS
    older = (number for number in NAMES if number not in _TLS13_NUMBERS)
    return tuple(number for number in older if version == TLS12 or not _NEW_IN_TLS12.search(NAMES[number]))


@dataclass(frozen=True, kw_only=True)
class Suites:
    """IANA's names, in the order in which the server chose them, and whose order decides; None for a single suite."""

    names: tuple[str, ...]
    preference: Preference | None


def find_suites(version: int, ask: Callable[[Sequence[int]], Flight]) -> Suites:
    """`ask` offers suites in one version and returns the flight that the server answered with."""

    def chosen(offered: Sequence[int]) -> int | None:
        hello = ask(offered).hello
        return hello.suite if hello is not None and hello.version == version else None

    found, preference = eliminate(suites_of(version), chosen)
    return Suites(names=tuple(NAMES[number] for number in found), preference=preference)
