"""The report as one JSON object: `target`, `grade`, `protocols`, `findings`, and the facts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from asgi_tls.audit.report.description import describe_certificate, describe_http
from asgi_tls.audit.report.report import Report


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
        "protocols": {name: asdict(version) for name, version in seen.versions.items()},
        "groups": {"names": seen.group_names, "preference": seen.groups.preference, "dh_bits": seen.dh_bits},
        "certificates": [asdict(describe_certificate(served, seen)) for served in seen.chains],
        "handshake": None if seen.handshake is None else asdict(seen.handshake),
        "resumption": {name: asdict(resumption) for name, resumption in seen.resumption.items()},
        "alerts": asdict(seen.refusals),
        "http": asdict(describe_http(seen)),
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
