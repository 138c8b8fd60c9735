"""One grade, in the spirit of SSL Labs: each finding has the best grade that it allows, and the lowest of them counts.

A+ needs TLS 1.3, no weak suite, the whole chain, HSTS for a year (not for loopback names), and no finding of medium
severity or above. T is for a certificate that is not trusted, M for one of another name: nothing else counts then.
"""

from __future__ import annotations

from collections.abc import Iterable

from asgi_tls.audit.judges.findings import GRADES, Finding, Grade
from asgi_tls.audit.judges.web import YEAR, hsts_of
from asgi_tls.audit.probes.observed import Observed


def grade(seen: Observed, findings: Iterable[Finding], *, trust_matters: bool = True) -> Grade:
    """The letter. Without `trust_matters`, that of a server whose certificate is trusted."""
    worst = 0 if _deserves_the_plus(seen) else GRADES.index("A")
    if trust_matters and any(served.trust is not None and not served.trust.trusted for served in seen.chains):
        worst = GRADES.index("T")
    for finding in findings:
        kind = finding.kind
        if kind.cap is not None:
            worst = max(worst, GRADES.index(kind.cap))
        elif kind.severity in {"critical", "high", "medium"}:
            worst = max(worst, GRADES.index("A"))
    return GRADES[worst]


def is_worse(one: Grade, other: Grade) -> bool:
    """Whether `one` is worse than `other`."""
    return GRADES.index(one) > GRADES.index(other)


def _deserves_the_plus(seen: Observed) -> bool:
    """What no finding covers when it could not be looked at: not known is not good enough for the plus."""
    policy = None if seen.answer is None else hsts_of(seen.answer)
    age = 0 if policy is None else policy.max_age
    remembered = seen.answer is not None and (seen.target.is_loopback or age >= YEAR)
    trust_known = bool(seen.chains) and all(served.trust is not None for served in seen.chains)
    return seen.speaks("TLSv1.3") and trust_known and remembered
