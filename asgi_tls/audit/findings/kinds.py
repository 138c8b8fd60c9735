"""What a row of the table of findings is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "high", "medium", "low", "info"]
Grade = Literal["A+", "A", "A-", "B", "C", "F", "M", "T"]

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low", "info")
"""The worst first."""

MOZILLA: Final = "https://wiki.mozilla.org/Security/Server_Side_TLS"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`cap` is the best grade that a server with this finding can have, None for no limit of its own."""

    severity: Severity
    title: str
    cause: str
    fix: str
    reference: str
    cap: Grade | None = None


def rfc(number: int, section: str = "") -> str:
    """Where it is written."""
    return f"https://www.rfc-editor.org/rfc/rfc{number}{f'#section-{section}' if section else ''}"
