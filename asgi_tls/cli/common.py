"""What the commands share and what costs no import: suggestions, help in groups, and files that are written."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from asgi_tls.errors import ConfigurationError
from asgi_tls.files import is_full

_F = TypeVar("_F", bound=Callable[..., Any])


class SuggestingGroup(click.Group):
    """A group that suggests a command for a misspelt one, as click does for options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:  # fmt: skip
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            meant = difflib.get_close_matches(args[0], names, 1)
            ctx.fail(f"No such command {args[0]!r}." + self.suggestion(args, meant[0] if meant else None))
        return super().resolve_command(ctx, args)

    def suggestion(self, args: Sequence[str], meant: str | None) -> str:  # noqa: ARG002 -- for main, which knows more
        """What to say after "No such command …"; `meant` is the command whose name is closest."""
        return f" Did you mean {meant!r}?" if meant else ""


def refuse_unknown(context: click.Context, arguments: Sequence[str]) -> None:
    """Raise NoSuchOption, with suggestions, for an argument that begins as our options do and is none of them."""
    known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    for argument in arguments:
        option = argument.partition("=")[0]
        if option.startswith("--tls"):
            raise click.NoSuchOption(option, possibilities=difflib.get_close_matches(option, known), ctx=context)


class GroupedCommand(click.Command):
    """A command whose help lists its options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "heading", "Other options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class GroupedOption(click.Option):
    """An option under a heading of a GroupedCommand's help."""

    def __init__(self, *declaration: Any, heading: str, **how: Any) -> None:
        super().__init__(*declaration, **how)
        self.heading = heading


def grouped(heading: str) -> Callable[..., Callable[[_F], _F]]:
    """`click.option` for the options of one group of a GroupedCommand's help."""

    def option(*declaration: str, **how: Any) -> Callable[[_F], _F]:
        return click.option(*declaration, cls=GroupedOption, heading=heading, **how)

    return option


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Turns what goes wrong while the file of `option` is written into a ConfigurationError."""
    try:
        yield
    except OSError as error:
        fix = "Free space on its disk." if is_full(error) else "Name a file in a directory that you may write to."
        raise ConfigurationError(f"{option}: cannot write {path}: {error.strerror}", fix=fix) from None
