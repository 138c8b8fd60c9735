"""The facts as rows of text: the terminal and the page show the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from asgi_tls.audit.judges.findings import shown
from asgi_tls.audit.judges.protocol import weakness
from asgi_tls.audit.probes.observed import Version
from asgi_tls.audit.report.description import HTTP, Certificate, describe_certificate, describe_http
from asgi_tls.audit.report.report import Report
from asgi_tls.errors import some

Row = tuple[str, str]

_BY_NAME: Final = 12
_TRUST: Final = {True: "trusted", False: "not trusted", None: "trust not known"}


def rows_of(report: Report) -> Iterator[Row]:
    """Label and text, in the order in which they are read."""
    seen = report.seen
    yield "versions", _versions(seen.versions)
    for name, version in reversed(seen.versions.items()):
        if version.offered:
            yield f"suites, {name}", _listed(version.suites, version.preference)
    yield "groups", _listed(seen.group_names, seen.groups.preference) or "not known"
    for served in seen.chains:
        yield from _certificate(describe_certificate(served, seen))
    if (best := seen.handshake) is not None:
        yield "handshake", ", ".join(filter(None, (best.protocol, best.cipher, best.group, shown(best.alpn or ""))))
    resumed = (f"{name} {one.resumed} of {one.tried}" for name, one in seen.resumption.items())
    yield "resumption", ", ".join(resumed) or "not known"
    refusals = seen.refusals
    answered = refusals.refused - refusals.without_alert - refusals.unanswered
    yield "refusals", f"{answered} of {refusals.refused} with an alert"
    http = describe_http(seen)
    yield f"http, port {http.plain_http_port}", http.plain_http or "not known"
    yield "http on the TLS port", http.plain_on_tls_port or "not known"
    yield "HSTS", _hsts(http)


def summary(report: Report) -> str:
    """Address, time, and what the audit cost."""
    seen = report.seen
    trust = "" if report.trust_matters else ", trust not graded"
    profile = f", against profile {report.profile}" if report.profile else ""
    when = f"{seen.at:%Y-%m-%d %H:%M} UTC"
    return f"{seen.address}, {when}, {seen.connections} connections in {seen.seconds:.1f} s{trust}{profile}"


def _versions(versions: dict[str, Version]) -> str:
    offered = [name for name, version in versions.items() if version.offered]
    refused = [name for name, version in versions.items() if not version.offered]
    rest = f" (not {', '.join(refused)})" if refused else ""
    return f"{', '.join(reversed(offered))}{rest}"


def _listed(names: Sequence[str], preference: str | None) -> str:
    """A few by name, many by their weakness: JSON has them all."""
    if len(names) > _BY_NAME:
        counted = Counter(weakness(name) or "sound" for name in names)
        listed = ", ".join(f"{count} {what}" for what, count in counted.most_common())
    else:
        listed = ", ".join(f"{name} ({found})" if (found := weakness(name)) else name for name in names)
    return f"{listed} [{preference}'s order]" if preference else listed


def _certificate(one: Certificate) -> Iterator[Row]:
    complete = "complete" if one.chain_complete else "not known to be complete"
    order = "" if one.chain_in_order else ", not in order"
    yield "certificate", f"{one.key}, {one.signature or 'built-in'} signature, for {some(one.names, _BY_NAME)}"
    yield "validity", f"until {one.not_after[:16].replace('T', ' ')} UTC, {one.lifetime_left:.0%} of its lifetime left"
    yield "chain", f"{' > '.join(one.chain)} ({complete}{order}; {_TRUST[one.trusted]})"
    yield "staple", one.staple


def _hsts(http: HTTP) -> str:
    if http.hsts is None:
        return "none" if http.hsts_expected else "none (not expected: not graded for loopback names and addresses)"
    if not http.preload_eligible:
        eligible = "not eligible for the preload list"
    elif http.preload_announced:
        eligible = "eligible for the preload list"
    else:
        eligible = "eligible for the preload list once preload is added"
    return f"{http.hsts} ({eligible})"
