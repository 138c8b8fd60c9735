"""Policy as data: which versions, cipher suites and groups a server offers, and in which order.

`MODERN` and `INTERMEDIATE` follow Mozilla's guidelines for server-side TLS 6.0 (2026-04-06). Others derive from them:

    INTERMEDIATE.with_groups("X25519", "P-256", "P-384")
    MODERN.with_ciphersuites("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from asgi_tls.errors import ProfileError, UnknownNameError, VersionError, WeakCipherError, WrongListError

Version = Literal["TLSv1.2", "TLSv1.3"]

VERSIONS: Final[tuple[Version, ...]] = ("TLSv1.2", "TLSv1.3")

# RFC 8446 appendix B.4. TLS_AES_128_CCM_8_SHA256 is left out: its tag is shortened (RFC 9325 section 4.2).
TLS13_CIPHERSUITES: Final = {
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "TLS_AES_128_CCM_SHA256": 0x1304,
}

# The TLS 1.2 suites with ECDHE and authenticated encryption (RFC 5289, RFC 7905, RFC 7251): OpenSSL's name, then
# IANA's name and number.
TLS12_CIPHERS: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xC02B),
    "ECDHE-RSA-AES128-GCM-SHA256": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xC02F),
    "ECDHE-ECDSA-AES256-GCM-SHA384": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xC02C),
    "ECDHE-RSA-AES256-GCM-SHA384": ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xC030),
    "ECDHE-ECDSA-CHACHA20-POLY1305": ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xCCA9),
    "ECDHE-RSA-CHACHA20-POLY1305": ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xCCA8),
    "ECDHE-ECDSA-AES128-CCM": ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM", 0xC0AC),
    "ECDHE-ECDSA-AES256-CCM": ("TLS_ECDHE_ECDSA_WITH_AES_256_CCM", 0xC0AD),
}

# IANA's registry "TLS Supported Groups": the name we keep (OpenSSL reads it in every version), its other spellings,
# and its number, by which a ClientHello names it.
GROUPS: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "X25519MLKEM768": ((), 0x11EC),
    "SecP256r1MLKEM768": ((), 0x11EB),
    "SecP384r1MLKEM1024": ((), 0x11ED),
    "X25519": ((), 0x001D),
    "X448": ((), 0x001E),
    "P-256": (("secp256r1", "prime256v1"), 0x0017),
    "P-384": (("secp384r1",), 0x0018),
    "P-521": (("secp521r1",), 0x0019),
}

TLS13_GROUPS: Final = frozenset({"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"})
"""Those that TLS 1.2 does not have (draft-ietf-tls-ecdhe-mlkem section 3): a client of both versions lists them too."""

_CIPHER_BY_SPELLING: Final = {
    spelling.lower(): name for name, (iana, _) in TLS12_CIPHERS.items() for spelling in (name, iana)
}
_CIPHERSUITE_BY_SPELLING: Final = {name.lower(): name for name in TLS13_CIPHERSUITES}
_GROUP_BY_SPELLING: Final = {
    spelling.lower(): name for name, (aliases, _) in GROUPS.items() for spelling in (name, *aliases)
}

# How the names of suites look that TLS 1.2 has and a profile may not have.
_CBC = re.compile(r"_CBC_|-CBC3?-|-(?:AES|CAMELLIA|ARIA)(?:128|256)-SHA(?:256|384)?$|-SHA$", re.IGNORECASE)
_BROKEN = re.compile(r"RC4|DES|NULL|EXP(?:ORT)?[-_]|MD5|CCM_?8|[-_]anon|^A(?:EC)?DH-", re.IGNORECASE)
_STATIC = re.compile(r"^(?:TLS_)?(?:RSA|DHE?|EDH|PSK|SRP|ECDH|AES|CAMELLIA|ARIA|CHACHA20)[-_\d]", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class TLSProfile:
    """What a server offers. Immutable, picklable, checked when it is made.

    `ciphersuites` are those of TLS 1.3, `ciphers` those of TLS 1.2, both as sets that the server accepts: the client's
    order decides, as Mozilla advises, because the client knows whether it has AES in hardware. `groups` are in the
    server's order of preference. Names may be OpenSSL's or IANA's; they are kept in one spelling.
    `hsts_max_age` is in seconds.

    Raises a subclass of ProfileError, which is a ValueError.
    """

    name: str
    minimum_version: Version = "TLSv1.2"
    maximum_version: Version = "TLSv1.3"
    ciphersuites: tuple[str, ...] = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    ciphers: tuple[str, ...] = (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
    groups: tuple[str, ...] = ("X25519MLKEM768", "X25519", "P-256", "P-384")
    hsts_max_age: int = 63_072_000  # two years

    def __post_init__(self) -> None:
        _check_versions(self.minimum_version, self.maximum_version)
        object.__setattr__(self, "ciphersuites", _canonical("ciphersuites", self.ciphersuites, _ciphersuite))
        object.__setattr__(self, "ciphers", _canonical("ciphers", self.ciphers, _cipher))
        object.__setattr__(self, "groups", _canonical("groups", self.groups, group_name))
        if self.speaks("TLSv1.3") and not self.ciphersuites:
            raise ProfileError(f"profile {self.name!r} speaks TLS 1.3 without a cipher suite", fix="Name at least one.")
        if self.speaks("TLSv1.2") and not self.ciphers:
            raise ProfileError(
                f"profile {self.name!r} speaks TLS 1.2 without a cipher suite",
                fix='Name at least one, or set minimum_version="TLSv1.3".',
            )
        if not self.groups:
            raise ProfileError(f"profile {self.name!r} has no group", fix='Name at least one, "X25519" for instance.')
        if self.speaks("TLSv1.2") and TLS13_GROUPS.issuperset(self.groups):
            raise ProfileError(
                f"profile {self.name!r} speaks TLS 1.2, and has groups of TLS 1.3 only",
                fix="Add X25519 to {groups}, or allow TLS 1.3 only, as the profile modern does.",
                settings=("groups",),
            )
        if type(self.hsts_max_age) is not int or self.hsts_max_age < 0:
            raise ProfileError(
                f"hsts_max_age is {self.hsts_max_age!r}", fix="Give whole seconds; 63072000 is two years."
            )

    def speaks(self, version: Version) -> bool:
        """Whether `version` lies between the minimum and the maximum."""
        return self.minimum_version <= version <= self.maximum_version

    def with_groups(self, *groups: str) -> TLSProfile:
        """The same profile with these groups, the most wanted first."""
        return replace(self, groups=groups)

    def with_ciphersuites(self, *ciphersuites: str) -> TLSProfile:
        """The same profile with these TLS 1.3 suites and no others."""
        return replace(self, ciphersuites=ciphersuites)

    def with_ciphers(self, *ciphers: str) -> TLSProfile:
        """The same profile with these TLS 1.2 suites and no others. Raises ProfileError where it has no TLS 1.2."""
        if ciphers and not self.speaks("TLSv1.2"):
            raise ProfileError(
                f"profile {self.name!r} has no TLS 1.2, and {{ciphers}} would have no effect",
                fix="Leave out {ciphers}, or start from the profile intermediate.",
                settings=("ciphers",),
            )
        return replace(self, ciphers=ciphers)


def group_name(spelling: str) -> str:
    """The one name of a group, from any of its spellings, in any case.

    Raises UnknownNameError.
    """
    try:
        return _GROUP_BY_SPELLING[spelling.lower()]
    except KeyError:
        raise UnknownNameError(f"unknown group {spelling!r}", fix=f"Choose from {', '.join(GROUPS)}.") from None


def cipher_number(name: str) -> int | None:
    """IANA's two-byte number of a suite in OpenSSL's spelling, None for one that no profile can have."""
    if name in TLS13_CIPHERSUITES:
        return TLS13_CIPHERSUITES[name]
    return TLS12_CIPHERS[name][1] if name in TLS12_CIPHERS else None


def groups_in_use(profile: TLSProfile) -> tuple[str, ...]:
    """The profile's groups without those that none of its versions has."""
    return tuple(name for name in profile.groups if profile.speaks("TLSv1.3") or name not in TLS13_GROUPS)


def cipher_string(profile: TLSProfile) -> str:
    """The TLS 1.2 suites as OpenSSL's cipher list.

    A profile of TLS 1.3 alone has none, and OpenSSL wants a list all the same: it gets one that the minimum version
    keeps from use. Security level 2 is RFC 9325 section 4: at least 112 bits, for certificates of clients too.
    """
    return ":".join((*(profile.ciphers or ("ECDHE+AESGCM",)), "@SECLEVEL=2"))


def _check_versions(minimum: str, maximum: str) -> None:
    for version in (minimum, maximum):
        if version in VERSIONS:
            continue
        if version in {"SSLv2", "SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1"}:
            raise VersionError(
                f"{version} is broken, and RFC 8996 forbids it",
                fix='Use "TLSv1.2" as the minimum, or "TLSv1.3".',
            )
        raise VersionError(f"unknown version {version!r}", fix=f"Choose from {', '.join(VERSIONS)}.")
    if minimum > maximum:
        raise VersionError(f"the minimum {minimum} is above the maximum {maximum}", fix="Swap them.")


def _canonical(what: str, names: object, canonical_name: Callable[[str], str]) -> tuple[str, ...]:
    if not isinstance(names, tuple | list):
        raise ProfileError(f"{what} is {names!r}", fix="Give a tuple of names.")
    canonical = tuple(canonical_name(name) for name in names)
    for position, name in enumerate(canonical):
        if name in canonical[:position]:
            raise ProfileError(f"{{{what}}} names {name} twice", fix="Keep one of them.", settings=(what,))
    return canonical


def _ciphersuite(spelling: str) -> str:
    known = _CIPHERSUITE_BY_SPELLING.get(spelling.lower())
    if known is not None:
        return known
    if spelling.lower() in _CIPHER_BY_SPELLING:
        raise WrongListError(
            f"{spelling} is a TLS 1.2 suite",
            fix="Put it into {ciphers}; {ciphersuites} has those of TLS 1.3.",
            settings=("ciphers", "ciphersuites"),
        )
    if _BROKEN.search(spelling):
        raise WeakCipherError(f"{spelling} is too weak", fix=f"Choose from {', '.join(TLS13_CIPHERSUITES)}.")
    raise UnknownNameError(
        f"unknown TLS 1.3 cipher suite {spelling!r}", fix=f"Choose from {', '.join(TLS13_CIPHERSUITES)}."
    )


def _cipher(spelling: str) -> str:
    known = _CIPHER_BY_SPELLING.get(spelling.lower())
    if known is not None:
        return known
    choices = f"Choose from {', '.join(TLS12_CIPHERS)}."
    if spelling.lower() in _CIPHERSUITE_BY_SPELLING:
        raise WrongListError(
            f"{spelling} is a TLS 1.3 suite",
            fix="Put it into {ciphersuites}; {ciphers} has those of TLS 1.2.",
            settings=("ciphersuites", "ciphers"),
        )
    if not re.fullmatch(r"[\w-]+", spelling):
        raise UnknownNameError(f"{spelling!r} is not a valid name of a cipher suite", fix=choices)
    if _BROKEN.search(spelling):
        raise WeakCipherError(f"{spelling} uses a broken or shortened primitive", fix=choices)
    if _STATIC.search(spelling):
        raise WeakCipherError(f"{spelling} has no ephemeral elliptic-curve key exchange (ECDHE)", fix=choices)
    if _CBC.search(spelling):
        raise WeakCipherError(f"{spelling} encrypts in CBC mode", fix=choices)
    raise UnknownNameError(f"unknown TLS 1.2 cipher suite {spelling!r}", fix=choices)


MODERN: Final = TLSProfile(name="modern", minimum_version="TLSv1.3", ciphers=())
"""TLS 1.3 only: for services whose clients are all from 2020 or later."""

INTERMEDIATE: Final = TLSProfile(name="intermediate")
"""TLS 1.3, and TLS 1.2 with ECDHE and authenticated encryption: for the public web. The default."""

PROFILES: Final = {profile.name: profile for profile in (MODERN, INTERMEDIATE)}
