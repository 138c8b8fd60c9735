"""What a misspelt command or option may have been meant for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click


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
