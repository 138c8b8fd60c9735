"""How far a server is from the profile that it should have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from asgi_tls.audit.findings import Finding
from asgi_tls.audit.judge_web import hsts_of
from asgi_tls.profile import TLS12_CIPHERS, VERSIONS, TLSProfile

if TYPE_CHECKING:
    from asgi_tls.audit.observed import Observed


def judge_drift(seen: Observed, profile: TLSProfile) -> Iterator[Finding]:
    """Against every part of the profile that can be seen from outside."""
    spoken = {version for version, speaks in seen.versions.items() if speaks}
    wanted = {str(version) for version in VERSIONS if profile.speaks(version)}
    if spoken != wanted:
        yield Finding("profile-versions", _difference(spoken, wanted))
    # Of other versions all suites are surplus: that has been said.
    suites = {name for version, found in seen.suites.items() if version in wanted for name in found.names}
    own = {*profile.ciphersuites, *(TLS12_CIPHERS[name][0] for name in profile.ciphers)}
    if surplus := suites - own:
        yield Finding("profile-suites", ", ".join(sorted(surplus)))
    groups = set() if seen.groups is None else {*seen.groups.names}
    if surplus := (groups | {*seen.old_groups}) - {*profile.groups}:
        yield Finding("profile-groups", ", ".join(sorted(surplus)))
    lacking = [name for name in profile.ciphersuites if name not in suites and seen.speaks("TLSv1.3")]
    if seen.groups is not None and seen.groups.names and seen.speaks("TLSv1.3"):
        lacking += [name for name in profile.groups if name not in groups]
    if lacking:
        yield Finding("profile-lacks", ", ".join(lacking))
    if seen.answer is not None and not seen.target.is_address:
        policy = hsts_of(seen.answer)
        age = 0 if policy is None else policy.max_age
        if age < profile.hsts_max_age:
            yield Finding("profile-hsts", f"{age} of {profile.hsts_max_age} seconds")


def _difference(spoken: set[str], wanted: set[str]) -> str:
    parts = []
    if surplus := sorted(spoken - wanted):
        parts.append(f"{', '.join(surplus)} beside it")
    if missing := sorted(wanted - spoken):
        parts.append(f"{', '.join(missing)} missing")
    return "; ".join(parts)
