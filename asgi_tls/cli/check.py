"""`asgi-tls check`: audit a running server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from asgi_tls.audit.judges.findings import GRADES, Grade
from asgi_tls.audit.judges.grade import is_worse
from asgi_tls.audit.probes.observe import Progress
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import Report, audit
from asgi_tls.certificate.chain import printable
from asgi_tls.cli.common import GroupedCommand, grouped, writing
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.profile import PROFILES

# Exit statuses. Nothing but a grade below --fail-under ends with 1.
WORSE: Final = 1
FAILED: Final = 4
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it


_server, _grade, _report = grouped("Server"), grouped("Grade"), grouped("Report")


@click.command(cls=GroupedCommand)
@click.argument("url")
@_server("--connect", metavar="HOST:PORT", help="Connect to this address; the name stays that of the URL.")
@_server("--http-port", type=click.IntRange(1, 65535), default=80, help="The port for plain HTTP.")
@_server("--timeout", type=click.FloatRange(0.1, 60), default=5.0, help="Seconds for each step of a probe.")
@_grade("--cafile", type=click.Path(dir_okay=False, path_type=Path), help="Trust these CAs instead of the system's.")
@_grade("--insecure", is_flag=True, help="Grade as if the certificate were trusted.")
@_grade("--profile", type=click.Choice(list(PROFILES)), help="Report the differences from this profile.")
@_grade("--fail-under", type=click.Choice(GRADES), help="Exit with status 1 if the grade is worse.")
@_report("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_report("--sarif", is_flag=True, help="Print SARIF 2.1.0, for code scanning.")
@_report("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page to this file.")
@click.pass_context
def check(
    ctx: click.Context,
    url: str,
    as_json: bool,
    sarif: bool,
    page: Path | None,
    cafile: Path | None,
    insecure: bool,
    profile: str | None,
    fail_under: Grade | None,
    timeout: float,
    connect: str | None,
    http_port: int,
) -> None:
    """Audit the server at URL (https://host[:port][/path]), and grade it.

    Exit status: 0; 1 if the grade is worse than --fail-under; 2 for wrong options; 3 if the server cannot be audited or
    a file cannot be used; 4 if the audit itself failed.
    """
    if as_json and sarif:
        raise click.UsageError("--json and --sarif both print to standard output: choose one.")
    target = parse_target(url, connect=connect, http_port=http_port, timeout=timeout)
    with never_like_a_grade():
        with _progress() as progress:
            report = audit(
                target,
                cafile=cafile,
                profile=None if profile is None else PROFILES[profile],
                trust_matters=not insecure,
                progress=progress,
            )
        _write(report, as_json=as_json, sarif=sarif, page=page)
        if cafile is None and not insecure and _signed_here(report):
            click.echo(
                "The development CA of this machine signed the certificate. Trust it in this audit:\n"
                f'    {_command(ctx)} --cafile "$(asgi-tls ca path)"',
                err=True,
            )
    if fail_under is not None and is_worse(report.grade, fail_under):
        sys.exit(WORSE)


@contextmanager
def never_like_a_grade() -> Iterator[None]:
    """Python and click end with 1 as well, whatever goes wrong."""
    try:
        yield
    except (ASGITLSError, SystemExit):
        raise
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BaseException as error:  # noqa: BLE001 -- a panic of cryptography's Rust is not an Exception
        for line in traceback.format_exception(error):
            click.echo("\n".join(map(printable, line.splitlines())), err=True)
        click.echo("Error: the audit failed; there is no grade. This is a bug in asgi-tls: report it.", err=True)
        sys.exit(FAILED)


def _signed_here(report: Report) -> bool:
    """Whether the certificate would be trusted with the local CA."""
    from asgi_tls.dev.ca import LocalCA

    untrusted = (served for served in report.seen.chains if served.trust is not None and not served.trust.trusted)
    return any(LocalCA().signed(certificate) for served in untrusted for certificate in served.certificates)


def _command(ctx: click.Context) -> str:
    """What was typed, for a shell."""
    words = ["asgi-tls", "check"]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[0])
        if not (isinstance(parameter, click.Option) and parameter.is_flag):
            words.append(str(ctx.params[name]))
    return shlex.join(words)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A progress bar, if standard error is a terminal."""
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

        with writing("--html", page):
            page.write_text(as_html(report), encoding="utf-8")
    text = _text(report, as_json=as_json, sarif=sarif)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in a certificate may not fit into the encoding
    try:
        click.echo(text)
    except OSError as error:
        with contextlib.suppress(OSError):  # what is left would fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ConfigurationError(
            f"the report cannot be written to standard output: {error.strerror}", fix="Check where it is sent."
        ) from error


def _text(report: Report, *, as_json: bool, sarif: bool) -> str:
    if as_json:
        from asgi_tls.audit.report.json import as_json as to_json

        return json.dumps(to_json(report), indent=2)
    if sarif:
        from asgi_tls.audit.report.sarif import as_sarif

        return json.dumps(as_sarif(report), indent=2)
    from rich.console import Console

    from asgi_tls.audit.report.table import print_report

    terminal, text = Console(), io.StringIO()  # rich itself exits with 1 if its output is closed
    print_report(report, Console(file=text, force_terminal=terminal.is_terminal, width=terminal.width, highlight=False))
    return text.getvalue().rstrip("\n")
