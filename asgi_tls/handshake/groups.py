"""IANA's registry "TLS Supported Groups": the name of each number."""

from __future__ import annotations

from typing import Final

from asgi_tls.profile import GROUPS

OWN: Final = {number: name for name, (_, number) in GROUPS.items()}
"""Those that a profile may have."""

# Those beyond the profile's table.
OTHERS: Final = {
    0x0200: "MLKEM512", 0x0201: "MLKEM768", 0x0202: "MLKEM1024", 0x6399: "X25519Kyber768Draft00",
    0x001F: "brainpoolP256r1tls13", 0x0020: "brainpoolP384r1tls13", 0x0021: "brainpoolP512r1tls13",
    0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096", 0x0103: "ffdhe6144", 0x0104: "ffdhe8192",
}  # fmt: skip
# Of TLS 1.2 and earlier (RFC 8422 section 5.1.1, RFC 4492): the names contain the sizes in bits.
OLD: Final = {
    0x0001: "sect163k1", 0x0002: "sect163r1", 0x0003: "sect163r2", 0x0004: "sect193r1", 0x0005: "sect193r2",
    0x0006: "sect233k1", 0x0007: "sect233r1", 0x0008: "sect239k1", 0x0009: "sect283k1", 0x000A: "sect283r1",
    0x000B: "sect409k1", 0x000C: "sect409r1", 0x000D: "sect571k1", 0x000E: "sect571r1", 0x000F: "secp160k1",
    0x0010: "secp160r1", 0x0011: "secp160r2", 0x0012: "secp192k1", 0x0013: "secp192r1", 0x0014: "secp224k1",
    0x0015: "secp224r1", 0x0016: "secp256k1", 0x001A: "brainpoolP256r1", 0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1",
}  # fmt: skip

GROUP_NAMES: Final = OWN | OTHERS | OLD

# Curves under 224 bits have less than the 112 bits of security that RFC 9325 section 4.1 asks for.
_LEAST_CURVE: Final = 224


def is_weak_curve(name: str) -> bool:
    """By IANA's name, which contains the size."""
    return name.startswith("sec") and int(name[4:7]) < _LEAST_CURVE
