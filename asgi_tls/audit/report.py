"""The audit as one value: what was seen, what is to be said of it, and the grade."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.audit.drift import judge_drift
from asgi_tls.audit.findings import SEVERITIES, Finding, Grade
from asgi_tls.audit.grade import grade
from asgi_tls.audit.judge_certificate import judge_certificates
from asgi_tls.audit.judge_protocol import judge_protocol
from asgi_tls.audit.judge_web import judge_web
from asgi_tls.audit.run import Progress, observe

if TYPE_CHECKING:
    from asgi_tls.audit.observed import Observed
    from asgi_tls.audit.target import Target
    from asgi_tls.profile import TLSProfile


@dataclass(frozen=True, kw_only=True)
class Report:
    """`findings` are the worst first. `trust_matters` is False when the audit was told not to ask for it."""

    seen: Observed
    findings: tuple[Finding, ...]
    grade: Grade
    profile: str | None
    trust_matters: bool


def judge(seen: Observed, *, profile: TLSProfile | None = None, trust_matters: bool = True) -> Report:
    """Everything that is to be said of what was seen."""
    findings = [
        *judge_protocol(seen),
        *judge_certificates(seen, trust_matters=trust_matters),
        *judge_web(seen),
        *([] if profile is None else judge_drift(seen, profile)),
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
    """Look at a running server, and judge it. `cafile` holds the CAs to trust in place of the system's.

    Raises UnreachableError when it does not answer or speaks no TLS, CertificateError for `cafile`.
    """
    return judge(observe(target, cafile=cafile, progress=progress), profile=profile, trust_matters=trust_matters)
