"""`asgi-tls explain`: what an error means, and what to do about it."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Final

import click

from asgi_tls.explain import CATALOGUE, MAX_TEXT, Match, Trouble, explain, near

_WIDEST: Final = 100
_WORD: Final = re.compile(r"[a-z0-9-]+")


# Pasted text may hold words that look like options.
@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("text", nargs=-1)
@click.option("--list", "show_list", is_flag=True, help="List every code with its title.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain_command(text: tuple[str, ...], show_list: bool, as_json: bool) -> None:
    """Explain a TLS error: its causes and what to do.

    TEXT is a code or pasted text: a message, a traceback, a log. Without TEXT, or with -, it is read from standard
    input. Known are the codes of asgi-tls (errors, start-up warnings, events, findings of `asgi-tls check`), OpenSSL,
    curl, Node and browsers. The exit status is 1 when the text contains no known error.
    """
    if show_list:
        _show_list(as_json=as_json)
        return
    whole = _read() if text in {(), ("-",)} else " ".join(text)
    if len(whole) > MAX_TEXT:
        click.echo(f"The text is long: only its last {MAX_TEXT} characters are searched.", err=True)
    matches = explain(whole) or _found(whole)
    alike = () if matches else (*_alike(whole), *near(whole))
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


@functools.cache
def _findings() -> Mapping[str, Trouble]:
    """What `asgi-tls check` finds, by its ids, as entries; without those that have a longer entry of their own."""
    from asgi_tls.audit.judges.findings import KINDS

    return {
        id_: Trouble(
            code=id_,
            title=kind.title,
            meaning=kind.cause,
            causes=(f"found by `asgi-tls check`; severity: {kind.severity}",),
            fixes=(kind.fix,),
            commands=("asgi-tls check https://HOST/",),
            reference=kind.reference,
        )
        for id_, kind in KINDS.items()
        if id_ not in CATALOGUE
    }


def _found(text: str) -> tuple[Match, ...]:
    """The findings whose ids are in the text. One without a hyphen is an ordinary word, unless it stands alone."""
    words = dict.fromkeys(_WORD.findall(text.lower()))
    ids = [word for word in words if word in _findings() and ("-" in word or len(words) == 1)]
    return tuple(Match(trouble=_findings()[id_], clues=(id_,)) for id_ in ids)


def _alike(text: str) -> list[str]:
    """The findings whose ids are spelt like the text."""
    return difflib.get_close_matches(text[:_WIDEST].strip().lower(), _findings(), 2, 0.8)


def _show_list(*, as_json: bool) -> None:
    troubles = [*CATALOGUE.values(), *_findings().values()]
    if as_json:
        click.echo(json.dumps({"catalogue": list(map(dataclasses.asdict, troubles))}, indent=2))
        return
    width = max(len(trouble.code) for trouble in troubles)
    for trouble in troubles:
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
