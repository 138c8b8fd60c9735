"""Every finding: how severe it is, what it means, what to do, and the best grade that it allows.

The rows are data, in the TOML file beside each judge. What was seen on one server (names, dates, suites) is the
evidence of a `Finding`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from asgi_tls.certificate.chain import printable

_LONGEST: Final = 200

Severity = Literal["critical", "high", "medium", "low", "info"]
Grade = Literal["A+", "A", "A-", "B", "C", "F", "M", "T"]

SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""The best first. T: the certificate is not trusted, M: it is for another name."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A row of the tables. `cap` is the best grade of a server with this finding, None if it sets no limit."""

    severity: Severity
    title: str
    cause: str
    fix: str
    reference: str
    cap: Grade | None = None


def _rows(judge: str) -> dict[str, Kind]:
    text = (Path(__file__).parent / f"{judge}.toml").read_text(encoding="utf-8")
    return {name: Kind(**row) for name, row in tomllib.loads(text).items()}


KINDS: Final = _rows("protocol") | _rows("certificate") | _rows("web") | _rows("drift")


def shown(text: str) -> str:
    """What the server sent, for people: printable, on one line, and not too long."""
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@dataclass(frozen=True)
class Finding:
    """A row that applies to a server, and what was seen there."""

    id: str
    evidence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", shown(self.evidence))

    @property
    def kind(self) -> Kind:
        return KINDS[self.id]
