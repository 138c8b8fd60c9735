"""A profile applied to an `ssl.SSLContext`, of a server or of a client.

Where Python and libssl cannot set all of it, the context is proven (`proof`), and the result is judged here.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Final

from asgi_tls import _openssl
from asgi_tls.context.proof import Deviation
from asgi_tls.errors import UnsupportedError
from asgi_tls.events import Notice
from asgi_tls.profile import INTERMEDIATE, TLS13_GROUPS, TLSProfile, Version, cipher_string, groups_in_use

AS_PROFILE: Final = "Set it to a TLSProfile: MODERN, INTERMEDIATE or one derived from them."
AS_SWITCH: Final = "Set it to True or False, without quotes."
"""What to do about a `profile` and an `allow_unsupported` of another type."""

_VERSION: Final[dict[Version, ssl.TLSVersion]] = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_FIX: Final = (
    "Before Python starts, set OPENSSL_CONF to a file that `asgi-tls export openssl` has written (`asgi-tls uvicorn`, "
    "`hypercorn` and `gunicorn` do so by themselves), or use a Python that `asgi-tls doctor` names."
)


def apply_profile(
    context: ssl.SSLContext, profile: TLSProfile, *, allow_unsupported: bool = False
) -> tuple[tuple[str, ...], list[Notice]]:
    """Give a context the versions, suites and groups of a profile, and check that it took them.

    Returns the groups without those that this OpenSSL lacks, and sentences on what was left out. What cannot be set is
    left alone: where `enforceable` says no, the context must be proven.

    Raises UnsupportedError.
    """
    context.minimum_version = _VERSION[profile.minimum_version]
    context.maximum_version = _VERSION[profile.maximum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # the client knows whether it has AES in hardware
    set_ciphers(context, profile)
    groups, notes = usable_groups(profile)
    can = _openssl.capabilities()
    if profile.ciphersuites and can.ciphersuites:
        notes += enforce(_openssl.set_ciphersuites, context, profile.ciphersuites, allow_unsupported=allow_unsupported)
    if can.groups:
        notes += enforce(_openssl.set_groups, context, groups, allow_unsupported=allow_unsupported)
    return groups, notes


def enforceable(profile: TLSProfile, *, server: bool) -> bool:
    """Whether this platform has a way to set all that the profile chooses."""
    can = _openssl.capabilities()
    ordered = can.group_order or not server or len(profile.groups) == 1
    return bool(can.groups and ordered and (can.ciphersuites or not profile.speaks("TLSv1.3")))


def settle(found: Sequence[Deviation], profile: TLSProfile, *, allow_unsupported: bool) -> list[Notice]:
    """Judge what a proof has found: a sentence on it where it may stay.

    It may for a profile that keeps the groups and TLS 1.3 suites of the guidelines, while no difference is weak:
    OpenSSL's own choice is safe, if not the same. Raises UnsupportedError otherwise.
    """
    if not found:
        return []
    differs = "; ".join(each.what for each in found)
    problem = f"This Python cannot apply all of profile {profile.name} to OpenSSL: {differs}"
    ready_made = (profile.groups, profile.ciphersuites) == (INTERMEDIATE.groups, INTERMEDIATE.ciphersuites)
    if allow_unsupported or (ready_made and not any(each.weak for each in found)):
        return [Notice("unsupported", f"{problem}. {_FIX}")]
    raise UnsupportedError(problem, fix=_FIX)


def set_ciphers(context: ssl.SSLContext, profile: TLSProfile) -> None:
    """The TLS 1.2 suites."""
    context.set_ciphers(cipher_string(profile))


def usable_groups(profile: TLSProfile) -> tuple[tuple[str, ...], list[Notice]]:
    """The groups of the profile's versions that this OpenSSL has, in order, and a sentence on those that it lacks.

    Raises UnsupportedError when none is left.
    """
    wanted = groups_in_use(profile)
    supported = _openssl.supported_groups()
    usable = tuple(name for name in wanted if name in supported)
    missing = [name for name in wanted if name not in supported]
    if not usable:
        raise UnsupportedError(
            f"{ssl.OPENSSL_VERSION} has none of the groups {', '.join(wanted)}",
            fix=f"Choose from {', '.join(supported)}.",
        )
    if not missing:
        return usable, []
    openssl = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    plural, them = ("s", "them") if len(missing) > 1 else ("", "it")
    kind = "post-quantum key exchange" if TLS13_GROUPS.issuperset(missing) else "key exchange"
    lacking = f"{openssl} cannot do the {kind}{plural} {', '.join(missing)} of profile {profile.name}"
    notice = f"{lacking}. Connections work without {them}; OpenSSL 3.5 has {them}."
    return usable, [Notice("missing-groups", notice)]


def enforce(
    setter: Callable[[ssl.SSLContext, Sequence[str]], None],
    context: ssl.SSLContext,
    values: Sequence[str],
    *,
    allow_unsupported: bool,
) -> list[Notice]:
    """Call the setter. Where that is unsupported, and allowed to be: a sentence on it. Raises UnsupportedError."""
    try:
        setter(context, values)
    except UnsupportedError as error:
        if not allow_unsupported:
            raise
        return [Notice("unsupported", f"{error.problem}, so this part of the policy is left out. {error.fix}")]
    return []
