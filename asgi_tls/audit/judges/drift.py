"""Findings about a server that differs from a profile."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_tls.audit.judges.findings import Finding
from asgi_tls.audit.judges.web import hsts_of
from asgi_tls.audit.probes.observed import Observed
from asgi_tls.handshake.groups import is_weak_curve
from asgi_tls.profile import INTERMEDIATE, TLS12_CIPHERS, VERSIONS, TLSProfile


def judge_groups(seen: Observed) -> Iterator[Finding]:
    """Without a profile: the groups that neither profile has. Weak ones have a finding of their own."""
    extra = [name for name in seen.group_names if name not in INTERMEDIATE.groups and not is_weak_curve(name)]
    if extra:
        yield Finding("group-extra", ", ".join(extra))


def judge_drift(seen: Observed, profile: TLSProfile) -> Iterator[Finding]:
    """Every part of the profile that can be seen from outside."""
    spoken = {name for name, version in seen.versions.items() if version.offered}
    wanted = {str(version) for version in VERSIONS if profile.speaks(version)}
    if spoken != wanted:
        yield Finding("profile-versions", _difference(spoken, wanted))
    # Of versions that are not in the profile, all suites are surplus: `profile-versions` covers them.
    suites = {suite for name, version in seen.versions.items() if name in wanted for suite in version.suites}
    own = {*profile.ciphersuites, *(TLS12_CIPHERS[name][0] for name in profile.ciphers)}
    if surplus := suites - own:
        yield Finding("profile-suites", ", ".join(sorted(surplus)))
    if surplus := {*seen.group_names} - {*profile.groups}:
        yield Finding("profile-groups", ", ".join(sorted(surplus)))
    lacking = [name for name in profile.ciphersuites if name not in suites and seen.speaks("TLSv1.3")]
    if seen.groups.names and seen.speaks("TLSv1.3"):
        lacking += [name for name in profile.groups if name not in seen.groups.names]
    if lacking:
        yield Finding("profile-lacks", ", ".join(lacking))
    if seen.answer is not None and seen.target.needs_hsts:
        policy = hsts_of(seen.answer)
        age = 0 if policy is None else policy.max_age
        if age < profile.hsts_max_age:
            yield Finding("profile-hsts", f"{age} of {profile.hsts_max_age} seconds")


def _difference(spoken: set[str], wanted: set[str]) -> str:
    parts = []
    if surplus := sorted(spoken - wanted):
        parts.append(f"{', '.join(surplus)} in addition")
    if missing := sorted(wanted - spoken):
        parts.append(f"{', '.join(missing)} missing")
    return "; ".join(parts)
