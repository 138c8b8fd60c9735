"""The report as one self-contained page: no script, nothing loaded from anywhere."""

from __future__ import annotations

import html
import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from asgi_tls.audit.judges.grade import is_worse
from asgi_tls.audit.report.rows import rows_of, summary

if TYPE_CHECKING:
    from asgi_tls.audit.judges.findings import Finding
    from asgi_tls.audit.report.report import Report


def as_html(report: Report) -> str:
    """The page. Everything that came from the server is escaped."""
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    tone = "bad" if is_worse(report.grade, "C") else "fair" if is_worse(report.grade, "A-") else ""
    return template.substitute(
        grade=report.grade,
        tone=tone,
        target=html.escape(str(report.seen.target)),
        summary=html.escape(summary(report)),
        findings="\n".join(map(_finding, report.findings)) or "<p>Nothing to report.</p>",
        rows="\n".join(
            f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd></div>" for label, text in rows_of(report)
        ),
    )


def _finding(finding: Finding) -> str:
    kind = finding.kind
    seen = f"<p>Seen: <code>{html.escape(finding.evidence)}</code></p>" if finding.evidence else ""
    where = html.escape(kind.reference)
    return (
        f'<article class="{kind.severity}" id="{finding.id}">'
        f'<h3>{html.escape(kind.title)} <span class="severity">{kind.severity}</span></h3>{seen}'
        f"<p>{_prose(kind.cause)}</p><p><b>Fix:</b> {_prose(kind.fix)}</p>"
        f'<p class="soft">{finding.id} &middot; <a href="{where}">{where}</a></p></article>'
    )


def _prose(text: str) -> str:
    """Our own words, where `this` is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
