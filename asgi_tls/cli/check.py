"""`asgi-tls check`: audit a running server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from asgi_tls.audit.judges.findings import GRADES
from asgi_tls.audit.judges.grade import is_worse
from asgi_tls.audit.probes.observe import Progress
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import Report, audit
from asgi_tls.errors import ConfigurationError
from asgi_tls.profile import PROFILES

WORSE: Final = 1
"""The exit status when the grade is worse than --fail-under."""


@click.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--sarif", is_flag=True, help="Print SARIF 2.1.0, for code scanning.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write one page into this file.")
@click.option("--cafile", type=click.Path(dir_okay=False, path_type=Path), help="Trust these CAs, not the system's.")
@click.option("--insecure", is_flag=True, help="Grade as if the certificate were trusted.")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Report what differs from this profile.")
@click.option("--fail-under", type=click.Choice(list(GRADES)), help="Exit with status 1 when the grade is worse.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="Seconds for a probe.")
@click.option("--connect", metavar="HOST:PORT", help="Call this address; the name stays that of the URL.")
@click.option(
    "--http-port", type=click.IntRange(1, 65535), default=80, show_default=True, help="Where plain HTTP is expected."
)
def check(
    url: str,
    as_json: bool,
    sarif: bool,
    page: Path | None,
    cafile: Path | None,
    insecure: bool,
    profile: str | None,
    fail_under: str | None,
    timeout: float,
    connect: str | None,
    http_port: int,
) -> None:
    """Audit the server at URL (https://host[:port][/path]), and grade it.

    Exit status: 0, 1 when the grade is worse than --fail-under, 2 for wrong options, 3 when the server cannot be
    audited.
    """
    if as_json and sarif:
        raise click.UsageError("--json and --sarif both want the output: choose one.")
    target = parse_target(url, connect=connect, http_port=http_port, timeout=timeout)
    with _progress() as progress:
        report = audit(
            target,
            cafile=cafile,
            profile=None if profile is None else PROFILES[profile],
            trust_matters=not insecure,
            progress=progress,
        )
    _write(report, as_json=as_json, sarif=sarif, page=page)
    if fail_under is not None and is_worse(report.grade, next(each for each in GRADES if each == fail_under)):
        sys.exit(WORSE)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on the terminal while it lasts; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("calling", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def _write(report: Report, *, as_json: bool, sarif: bool, page: Path | None) -> None:
    if page is not None:
        from asgi_tls.audit.report.html import as_html

        try:
            page.write_text(as_html(report), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{page} cannot be written: {error.strerror}", fix="Name another file.") from error
    if as_json:
        from asgi_tls.audit.report.json import as_json as to_json

        click.echo(json.dumps(to_json(report), indent=2))
    elif sarif:
        from asgi_tls.audit.report.sarif import as_sarif

        click.echo(json.dumps(as_sarif(report), indent=2))
    else:
        from rich.console import Console

        from asgi_tls.audit.report.table import print_report

        print_report(report, Console(highlight=False))
