"""Findings about a server that is not what its profile says."""

from __future__ import annotations

from typing import Final

from asgi_tls.audit.findings.kinds import MOZILLA, Kind

_SERVE: Final = "Serve with the profile: `--tls-profile`, or `asgi-tls export` for a proxy."

KINDS: Final = {
    "profile-versions": Kind(
        severity="medium", cap="A", reference=MOZILLA,
        title="The versions are not those of the profile",
        cause="Something beside the profile decides: a proxy, another process, an OpenSSL configuration.", fix=_SERVE,
    ),
    "profile-suites": Kind(
        severity="medium", cap="A", reference=MOZILLA,
        title="Suites are accepted that the profile does not have",
        cause="Something beside the profile decides: a proxy, another process, an OpenSSL configuration.", fix=_SERVE,
    ),
    "profile-groups": Kind(
        severity="medium", cap="A", reference=MOZILLA,
        title="Groups are accepted that the profile does not have",
        cause="Something beside the profile decides: a proxy, another process, an OpenSSL configuration.", fix=_SERVE,
    ),
    "profile-lacks": Kind(
        severity="low", reference=MOZILLA,
        title="Suites or groups of the profile are missing",
        cause="The server's OpenSSL may be too old for them, or a proxy does not have them.",
        fix="`asgi-tls doctor` on the server says what its OpenSSL lacks.",
    ),
    "profile-hsts": Kind(
        severity="medium", cap="A", reference=MOZILLA,
        title="Strict-Transport-Security holds for less than the profile says",
        cause="The header comes from elsewhere, or not at all.", fix="Set it from the profile.",
    ),
}  # fmt: skip
