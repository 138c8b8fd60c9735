"""From what was seen of versions, suites, groups and handshakes to findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from asgi_tls.audit.findings import Finding
from asgi_tls.audit.groups import WEAK
from asgi_tls.audit.suites import Weakness, weakness

if TYPE_CHECKING:
    from asgi_tls.audit.observed import Hellos, Observed

_OUTDATED: Final = {"SSLv3": "protocol-sslv3", "TLSv1.0": "protocol-tls10", "TLSv1.1": "protocol-tls11"}
_DH_BROKEN: Final = 1024
_DH_WEAK: Final = 2048
_SHOWN: Final = 6


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
    if seen.silent:
        yield Finding("alert-missing", f"{seen.silent} of {seen.refused} refused hellos")
    if seen.unanswered:
        yield Finding("unanswered", f"{seen.unanswered} of {seen.refused} refused hellos")
    if seen.handshake is not None and seen.handshake.alpn is None:
        yield Finding("alpn-none")
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
    for suites in seen.suites.values():
        for name in suites.names:
            if (found := weakness(name)) is not None:
                weak.setdefault(found, {})[name] = None
    for kind, names in weak.items():
        yield Finding(f"suite-{kind}", _some(names))
    if seen.dh_bits is not None and seen.dh_bits < _DH_WEAK:
        yield Finding("dh-broken" if seen.dh_bits < _DH_BROKEN else "dh-weak", f"{seen.dh_bits} bits")


def _groups(seen: Observed) -> Iterator[Finding]:
    names = (*(() if seen.groups is None else seen.groups.names), *seen.old_groups)
    weak = [name for name in dict.fromkeys(names) if name in WEAK]
    if weak:
        yield Finding("group-weak", ", ".join(weak))
    if seen.speaks("TLSv1.3") and seen.groups is not None and not any("MLKEM" in name for name in seen.groups.names):
        yield Finding("group-no-pq")


def _resumption(seen: Observed) -> Iterator[Finding]:
    for found, finding in (("resumption-none", False), ("resumption-partial", True)):
        versions = [
            f"{one.version}: {one.resumed} of {one.tried}"
            for one in seen.resumption
            if one.resumed < one.tried and (one.resumed > 0) is finding
        ]
        if versions:
            yield Finding(found, ", ".join(versions))


def _some(names: Iterable[str]) -> str:
    first, rest = (found := list(names))[:_SHOWN], len(found) - _SHOWN
    return f"{', '.join(first)}{f' and {rest} more' if rest > 0 else ''}"
