"""The audit as one value: what was observed, the findings and the grade."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asgi_tls.audit.judges.certificate import judge_certificates
from asgi_tls.audit.judges.drift import judge_drift, judge_groups
from asgi_tls.audit.judges.findings import SEVERITIES, Finding, Grade
from asgi_tls.audit.judges.grade import grade
from asgi_tls.audit.judges.protocol import judge_protocol
from asgi_tls.audit.judges.web import judge_web
from asgi_tls.audit.probes.observe import Progress, observe
from asgi_tls.audit.probes.observed import Observed
from asgi_tls.audit.probes.target import Target
from asgi_tls.profile import TLSProfile


@dataclass(frozen=True, kw_only=True)
class Report:
    """`findings` are the worst first. `trust_matters` is False if trust was not to be graded."""

    seen: Observed
    findings: tuple[Finding, ...]
    grade: Grade
    profile: str | None
    trust_matters: bool


def judge(seen: Observed, *, profile: TLSProfile | None = None, trust_matters: bool = True) -> Report:
    """Turn observations into findings and a grade."""
    findings = [
        *judge_protocol(seen),
        *judge_certificates(seen, trust_matters=trust_matters),
        *judge_web(seen),
        *(judge_groups(seen) if profile is None else judge_drift(seen, profile)),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.kind.severity))
    return Report(
        seen=seen,
        findings=tuple(findings),
        grade=grade(seen, findings, trust_matters=trust_matters),
        profile=None if profile is None else profile.name,
        trust_matters=trust_matters,
    )


def audit(
    target: Target,
    *,
    cafile: Path | None = None,
    profile: TLSProfile | None = None,
    trust_matters: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Look at a running server, and judge it. `cafile` has the CAs to trust instead of the system's.

    Raises UnreachableError if it does not answer or does not speak TLS, CertificateError for `cafile`.
    """
    return judge(observe(target, cafile=cafile, progress=progress), profile=profile, trust_matters=trust_matters)
