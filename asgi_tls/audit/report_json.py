"""The report as one JSON object: `target`, `grade`, `protocols`, `findings`, and the facts beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_tls.audit import facts

if TYPE_CHECKING:
    from asgi_tls.audit.report import Report


def as_json(report: Report) -> dict[str, Any]:
    """Times are ISO 8601 in UTC, durations seconds, names of suites IANA's. Ready for json.dumps."""
    seen = report.seen
    return {
        "target": str(seen.target),
        "address": seen.address,
        "at": seen.at.isoformat(),
        "seconds": round(seen.seconds, 3),
        "connections": seen.connections,
        "grade": report.grade,
        "trust_matters": report.trust_matters,
        "profile": report.profile,
        "protocols": facts.protocols(seen),
        "groups": facts.groups(seen),
        "certificates": facts.certificates(seen),
        "handshake": facts.handshake(seen),
        "resumption": facts.resumption(seen),
        "alerts": {"refused": seen.refused, "without_alert": seen.silent, "unanswered": seen.unanswered},
        "http": facts.http(seen),
        "findings": [
            {
                "id": finding.id,
                "severity": finding.kind.severity,
                "title": finding.kind.title,
                "cause": finding.kind.cause,
                "fix": finding.kind.fix,
                "reference": finding.kind.reference,
                "evidence": finding.evidence,
            }
            for finding in report.findings
        ],
    }
