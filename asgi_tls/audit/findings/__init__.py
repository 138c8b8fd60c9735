"""Every finding that there is: how bad, what it means, what to do, where it is written, how far it takes the grade.

The words of one server (names, dates, suites) come as evidence beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_tls.audit.findings import certificate, drift, exchange, protocol, web
from asgi_tls.audit.findings.kinds import SEVERITIES, Grade, Kind, Severity

__all__ = ["KINDS", "SEVERITIES", "Finding", "Grade", "Kind", "Severity"]

KINDS: Final[dict[str, Kind]] = protocol.KINDS | exchange.KINDS | certificate.KINDS | web.KINDS | drift.KINDS


@dataclass(frozen=True)
class Finding:
    """A row that holds for a server, and what was seen there."""

    id: str
    evidence: str = ""

    @property
    def kind(self) -> Kind:
        return KINDS[self.id]
