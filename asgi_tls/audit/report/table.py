"""The report for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from asgi_tls.audit.report.rows import rows_of, summary

if TYPE_CHECKING:
    from rich.console import Console

    from asgi_tls.audit.judges.findings import Grade, Severity
    from asgi_tls.audit.report.report import Report

_GRADES: Final[dict[Grade, str]] = {
    **dict.fromkeys(("A+", "A", "A-"), "bold green"),
    **dict.fromkeys(("B", "C"), "bold yellow"),
    **dict.fromkeys(("F", "M", "T"), "bold red"),
}
_SEVERITIES: Final[dict[Severity, str]] = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "info": "dim",
}


def print_report(report: Report, console: Console) -> None:
    """Grade, facts, findings. Everything of the server's goes out as text: no markup, no control characters."""
    head = Text.assemble(
        (f" {report.grade} ", f"{_GRADES[report.grade]} reverse"), "  ", (str(report.seen.target), "bold")
    )
    console.print(Panel(Text.assemble(head, "\n", (summary(report), "dim")), expand=False))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows_of(report):
        table.add_row(label, Text(text))
    console.print(table)
    console.print()
    if not report.findings:
        console.print("Nothing to report.", style="green")
    for finding in report.findings:
        kind = finding.kind
        line = Text.assemble((f" {kind.severity} ", _SEVERITIES[kind.severity]), " ", (kind.title, "bold"))
        line.append(f"  {finding.id}", "dim")
        console.print(line)
        body = Text()
        if finding.evidence:
            body.append(f"Seen: {finding.evidence}\n")
        body.append(f"{kind.cause}\n")
        body.append("Fix: ", "green")
        body.append(f"{kind.fix}\n")
        body.append(kind.reference, "dim")
        console.print(Padding(body, (0, 0, 0, 4)))
