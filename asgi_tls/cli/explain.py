"""`asgi-tls explain`: what an error means, and what to do about it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Final

import click

from asgi_tls.explain import CATALOGUE, MAX_TEXT, Match, Trouble, explain, near

_WIDEST: Final = 100


# Pasted text may hold words that look like options.
@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("text", nargs=-1)
@click.option("--list", "show_list", is_flag=True, help="List every code with its title.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain_command(text: tuple[str, ...], show_list: bool, as_json: bool) -> None:
    """Explain a TLS error: its causes and what to do.

    TEXT is a code or pasted text: a message, a traceback, a log. Without TEXT, or with -, it is read from standard
    input. Known are the codes of asgi-tls, OpenSSL, curl, Node and browsers. The exit status is 1 when the text
    contains no known error.
    """
    if show_list:
        _show_list(as_json=as_json)
        return
    whole = _read() if text in {(), ("-",)} else " ".join(text)
    if len(whole) > MAX_TEXT:
        click.echo(f"The text is long: only its last {MAX_TEXT} characters are searched.", err=True)
    matches = explain(whole)
    alike = () if matches else near(whole)
    if as_json:
        found = [{**dataclasses.asdict(match.trouble), "matched": match.clues} for match in matches]
        click.echo(json.dumps({"matches": found, "near": alike}, indent=2))
    elif matches:
        _show(matches)
    else:
        click.echo("No known error in this text. `asgi-tls explain --list` lists every code.", err=True)
        if alike:
            click.echo(f"Did you mean: {', '.join(alike)}?", err=True)
    sys.exit(0 if matches else 1)


def _read() -> str:
    if sys.stdin.isatty():
        raise click.UsageError("Give a code or a text, or pipe one in. `asgi-tls explain --list` lists every code.")
    kept = b""
    while chunk := sys.stdin.buffer.read(MAX_TEXT):
        kept = (kept + chunk)[-4 * MAX_TEXT :]
    return kept.decode("utf-8", errors="replace")


def _show_list(*, as_json: bool) -> None:
    if as_json:
        found = [dataclasses.asdict(trouble) for trouble in CATALOGUE.values()]
        click.echo(json.dumps({"catalogue": found}, indent=2))
        return
    width = max(map(len, CATALOGUE))
    for trouble in CATALOGUE.values():
        click.echo(f"{trouble.code:{width}}  {trouble.title}")


def _show(matches: tuple[Match, ...]) -> None:
    first, *others = matches
    _show_one(first.trouble, first.clues)
    if others:
        click.echo("\nThe text also matches:")
        width = max(len(match.trouble.code) for match in others)
        for match in others:
            click.echo(f"  {match.trouble.code:{width}}  {match.trouble.title}")


def _show_one(trouble: Trouble, clues: tuple[str, ...]) -> None:
    click.secho(trouble.title, bold=True)
    click.echo(f"Code: {trouble.code}. Found by: {', '.join(clues)}\n")
    click.echo(_wrapped(trouble.meaning))
    _items("Causes", trouble.causes)
    _items("What to do", trouble.fixes)
    click.secho("\nTo verify", bold=True)
    for command in trouble.commands:
        click.echo(f"  {command}")
    click.echo(f"\nReference: {trouble.reference}")


def _items(heading: str, items: Iterable[str]) -> None:
    click.secho(f"\n{heading}", bold=True)
    for item in items:
        click.echo(_wrapped(item, first="- ", indent="  "))


def _wrapped(text: str, *, first: str = "", indent: str = "") -> str:
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    # Commands and names stay whole, so that they can be copied.
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
