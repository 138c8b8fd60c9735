"""Findings about versions, cipher suites, groups, resumption and application protocols."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from asgi_tls.audit.judges.findings import Finding
from asgi_tls.audit.probes.observed import Hellos, Observed
from asgi_tls.errors import some
from asgi_tls.handshake.groups import is_weak_curve

Weakness = Literal["null", "anonymous", "export", "rc4", "des", "64-bit-block", "static", "cbc", "short-tag"]

# The worst first: a suite is judged once, by the first that fits its name.
_WEAKNESSES: Final[tuple[tuple[Weakness, re.Pattern[str]], ...]] = (
    ("null", re.compile(r"_WITH_NULL_")),
    ("anonymous", re.compile(r"_anon_")),
    ("export", re.compile(r"_EXPORT_")),
    ("rc4", re.compile(r"_RC4_")),
    ("des", re.compile(r"_(?:DES|DES40|RC2)_CBC_")),
    ("64-bit-block", re.compile(r"_(?:3DES_EDE|IDEA)_CBC_")),
    ("static", re.compile(r"^TLS_(?:RSA|DH_RSA|DH_DSS|ECDH_RSA|ECDH_ECDSA)_WITH_")),
    ("cbc", re.compile(r"_CBC_")),
    ("short-tag", re.compile(r"_CCM_8")),
)

_OUTDATED: Final = {"SSLv3": "protocol-sslv3", "TLSv1.0": "protocol-tls10", "TLSv1.1": "protocol-tls11"}
_DH_BROKEN: Final = 1024
_DH_WEAK: Final = 2048
_SHOWN: Final = 6


def weakness(name: str) -> Weakness | None:
    """The worst weakness of a suite, by IANA's name; None if it has none."""
    return next((found for found, pattern in _WEAKNESSES if pattern.search(name)), None)


def judge_protocol(seen: Observed) -> Iterator[Finding]:
    """Versions, suites, groups, resumption, alerts."""
    for version, finding in _OUTDATED.items():
        if seen.speaks(version):
            yield Finding(finding)
    if not seen.speaks("TLSv1.2", "TLSv1.3"):
        yield Finding("protocol-outdated")
    elif not seen.speaks("TLSv1.3"):
        yield Finding("protocol-no-tls13")
    yield from _hellos(seen.hellos)
    yield from _suites(seen)
    yield from _groups(seen)
    yield from _resumption(seen)
    refusals = seen.refusals
    if refusals.without_alert:
        yield Finding("alert-missing", f"{refusals.without_alert} of {refusals.refused} refused hellos")
    if refusals.unanswered:
        yield Finding("unanswered", f"{refusals.unanswered} of {refusals.refused} refused hellos")
    if seen.handshake is not None and seen.handshake.alpn is None:
        yield Finding("alpn-none")
    if seen.hybrid_tolerated is False:
        yield Finding("hybrid-refused")
    if seen.client_certificate:
        yield Finding("client-certificate")


def _hellos(hellos: Hellos | None) -> Iterator[Finding]:
    if hellos is None:
        return
    if hellos.downgrade_marked is False:
        yield Finding("downgrade-unmarked")
    if hellos.compression:
        yield Finding("compression")
    if hellos.secure_renegotiation is False:
        yield Finding("renegotiation")
    if hellos.extended_master_secret is False:
        yield Finding("extended-master-secret")


def _suites(seen: Observed) -> Iterator[Finding]:
    weak: dict[Weakness, dict[str, None]] = {}
    for version in seen.versions.values():
        for name in version.suites:
            if (found := weakness(name)) is not None:
                weak.setdefault(found, {})[name] = None
    for kind, names in weak.items():
        yield Finding(f"suite-{kind}", some(list(names), _SHOWN))
    if seen.dh_bits is not None and seen.dh_bits < _DH_WEAK:
        yield Finding("dh-broken" if seen.dh_bits < _DH_BROKEN else "dh-weak", f"{seen.dh_bits} bits")


def _groups(seen: Observed) -> Iterator[Finding]:
    weak = [name for name in seen.group_names if is_weak_curve(name)]
    if weak:
        yield Finding("group-weak", ", ".join(weak))
    if seen.speaks("TLSv1.3") and not any("MLKEM" in name for name in seen.groups.names):
        yield Finding("group-no-pq")


def _resumption(seen: Observed) -> Iterator[Finding]:
    for found, finding in (("resumption-none", False), ("resumption-partial", True)):
        versions = [
            f"{version}: {one.resumed} of {one.tried}"
            for version, one in seen.resumption.items()
            if one.resumed < one.tried and (one.resumed > 0) is finding
        ]
        if versions:
            yield Finding(found, ", ".join(versions))
