"""Groups of the key exchange: which ones a server takes, and in whose order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asgi_tls.profile import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgi_tls.audit.flight import Flight
    from asgi_tls.audit.suites import Preference

# IANA, TLS Supported Groups: those beyond the profile's table.
_OTHERS: Final = {
    0x0200: "MLKEM512", 0x0201: "MLKEM768", 0x0202: "MLKEM1024", 0x6399: "X25519Kyber768Draft00",
    0x001F: "brainpoolP256r1tls13", 0x0020: "brainpoolP384r1tls13", 0x0021: "brainpoolP512r1tls13",
    0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096", 0x0103: "ffdhe6144", 0x0104: "ffdhe8192",
}  # fmt: skip
# Of TLS 1.2 and before (RFC 8422 section 5.1.1, RFC 4492): sizes in bits stand in the names.
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
MODERN_GROUPS: Final = (*_OWN, *_OTHERS)
OLD_GROUPS: Final = tuple(_OLD)
ALL_GROUPS: Final = (*MODERN_GROUPS, *OLD_GROUPS)

# Under 224 bits: less than the 112 bits of security that RFC 9325 section 4.1 asks for.
WEAK: Final = frozenset(name for name in _OLD.values() if any(size in name for size in ("160", "163", "192", "193")))


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Names in the order in which the server chose them, and whose order decides; None for a single group."""

    names: tuple[str, ...]
    preference: Preference | None


def find_groups(offered: Sequence[int], ask: Callable[[Sequence[int]], Flight]) -> Groups:
    """By elimination, like suites. `ask` offers groups and gives the flight that came back."""
    left = list(offered)
    found: list[int] = []
    while left:
        group = _chosen(ask(left))
        if group is None or group not in left:
            break
        left.remove(group)
        found.append(group)
    preference: Preference | None = None
    if len(found) > 1 and (group := _chosen(ask(found[::-1]))) is not None:
        preference = "server" if group == found[0] else "client"
    return Groups(names=tuple(NAMES[number] for number in found), preference=preference)


def _chosen(flight: Flight) -> int | None:
    if flight.hello is None:
        return None
    return flight.curve if flight.curve is not None else flight.hello.group
