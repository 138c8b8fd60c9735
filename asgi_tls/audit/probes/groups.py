"""Groups of the key exchange: which ones a server accepts, and in whose order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asgi_tls.audit.probes.flight import Flight
from asgi_tls.audit.probes.suites import Preference, eliminate
from asgi_tls.profile import GROUPS

# IANA, TLS Supported Groups: those beyond the profile's table.
_OTHERS: Final = {
    0x0200: "MLKEM512", 0x0201: "MLKEM768", 0x0202: "MLKEM1024", 0x6399: "X25519Kyber768Draft00",
    0x001F: "brainpoolP256r1tls13", 0x0020: "brainpoolP384r1tls13", 0x0021: "brainpoolP512r1tls13",
    0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096", 0x0103: "ffdhe6144", 0x0104: "ffdhe8192",
}  # fmt: skip
# Of TLS 1.2 and earlier (RFC 8422 section 5.1.1, RFC 4492): the names contain the sizes in bits.
_OLD: Final = {
    0x0001: "sect163k1", 0x0002: "sect163r1", 0x0003: "sect163r2", 0x0004: "sect193r1", 0x0005: "sect193r2",
    0x0006: "sect233k1", 0x0007: "sect233r1", 0x0008: "sect239k1", 0x0009: "sect283k1", 0x000A: "sect283r1",
    0x000B: "sect409k1", 0x000C: "sect409r1", 0x000D: "sect571k1", 0x000E: "sect571r1", 0x000F: "secp160k1",
    0x0010: "secp160r1", 0x0011: "secp160r2", 0x0012: "secp192k1", 0x0013: "secp192r1", 0x0014: "secp224k1",
    0x0015: "secp224r1", 0x0016: "secp256k1", 0x001A: "brainpoolP256r1", 0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1",
}  # fmt: skip

_OWN: Final = {number: name for name, (_, number) in GROUPS.items()}
NAMES: Final = _OWN | _OTHERS | _OLD
TLS13_GROUPS: Final = (*_OWN, *_OTHERS)
OLD_GROUPS: Final = tuple(_OLD)
# Post-quantum groups, and the Brainpool curves with numbers of their own there (RFC 8734), are for TLS 1.3 only.
_TLS13_ONLY: Final = re.compile(r"MLKEM|Kyber|tls13$")
TLS12_GROUPS: Final = tuple(number for number, name in NAMES.items() if not _TLS13_ONLY.search(name))
"""Of TLS 1.2 and earlier."""
CURRENT_GROUPS: Final = tuple(GROUPS[name][1] for name in ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"))
"""What a client of today lists, in a TLS 1.2 hello too."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Names in the order in which the server chose them, and whose order decides; None for a single group."""

    names: tuple[str, ...] = ()
    preference: Preference | None = None


def find_groups(offered: Sequence[int], ask: Callable[[Sequence[int]], Flight]) -> Groups:
    """By elimination, like suites. `ask` offers groups and returns the flight that the server answered with."""

    def chosen(groups: Sequence[int]) -> int | None:
        flight = ask(groups)
        if flight.hello is None:
            return None
        return flight.curve if flight.curve is not None else flight.hello.group

    found, preference = eliminate(offered, chosen)
    return Groups(names=tuple(NAMES[number] for number in found), preference=preference)
