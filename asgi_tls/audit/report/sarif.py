"""The report as SARIF 2.1.0 (OASIS), which code scanning services read."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.audit.judges.findings import KINDS

if TYPE_CHECKING:
    from asgi_tls.audit.judges.findings import Finding, Severity
    from asgi_tls.audit.report.report import Report

_LEVELS: Final[dict[Severity, str]] = {
    "critical": "error",
    "high": "error",
    "medium": "warning",
    "low": "note",
    "info": "note",
}
# What GitHub sorts by: a number like a CVSS score, as text.
_SCORES: Final[dict[Severity, str]] = {"critical": "9.5", "high": "8.0", "medium": "5.0", "low": "2.0", "info": "0.0"}


def as_sarif(report: Report) -> dict[str, Any]:
    """One run, a rule for each finding that occurs, a result for each finding. Ready for json.dumps."""
    rules = list(dict.fromkeys(finding.id for finding in report.findings))
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "asgi-tls check",
                        "version": metadata.version("asgi-tls"),
                        "rules": [_rule(name) for name in rules],
                    }
                },
                "results": [_result(finding, rules, report) for finding in report.findings],
                "properties": {"target": str(report.seen.target), "grade": report.grade},
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    return {
        "id": name,
        "shortDescription": {"text": kind.title},
        "fullDescription": {"text": kind.cause},
        "help": {"text": kind.fix},
        "helpUri": kind.reference,
        "defaultConfiguration": {"level": _LEVELS[kind.severity]},
        "properties": {"security-severity": _SCORES[kind.severity], "tags": ["security", "tls"]},
    }


# Sections 3.11.5 and 3.11.6: in a message, braces mark placeholders and brackets links. The server's text has neither.
_LITERAL: Final = str.maketrans({"\\": "\\\\", "[": "\\[", "]": "\\]", "{": "{{", "}": "}}"})


def _result(finding: Finding, rules: list[str], report: Report) -> dict[str, Any]:
    kind = finding.kind
    seen = f" ({finding.evidence.translate(_LITERAL)})" if finding.evidence else ""
    return {
        "ruleId": finding.id,
        "ruleIndex": rules.index(finding.id),
        "level": _LEVELS[kind.severity],
        "message": {"text": f"{kind.title}{seen}. {kind.cause} {kind.fix}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": str(report.seen.target)}},
                "logicalLocations": [{"name": report.seen.target.authority, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"target/v1": f"{report.seen.target.authority}:{finding.id}"},
    }
