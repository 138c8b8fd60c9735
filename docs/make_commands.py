"""Print docs/commands.md, made of the commands' own help: `make docs`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click

from asgi_tls.cli import COMMANDS, main
from asgi_tls.servers.settings import GROUPS, SETTINGS

HEAD = """# Commands

Made of the help texts by `make docs`. `asgi-tls COMMAND --help` prints the same. Options that are
[settings](settings.md) are on their own page: they have the same names in the environment and in a file.

Exit statuses of the servers: 3, if they do not start because the TLS configuration is not what you asked for; otherwise
those of uvicorn, hypercorn and gunicorn. These use 3 as well: uvicorn, if the application's lifespan fails, its module
is missing or the port is taken; gunicorn, if the lifespan fails. So 3 alone does not say that TLS is the reason:
read the message.

## Shell completion

The shell completes commands and options after this, in bash 4.4 and later:

```console
$ _ASGI_TLS_COMPLETE=bash_source asgi-tls > ~/.asgi-tls-completion.bash
$ echo '. ~/.asgi-tls-completion.bash' >> ~/.bashrc
```

For zsh, write `zsh_source` and `~/.zshrc`; for fish,
`_ASGI_TLS_COMPLETE=fish_source asgi-tls > ~/.config/fish/completions/asgi-tls.fish`. `asgi-tls` must be on the PATH.
"""
SERVERS = {"uvicorn", "hypercorn", "gunicorn"}
SETTING_OPTIONS = {setting.option for setting in SETTINGS}


def page() -> str:
    """The page."""
    return "\n".join([HEAD, *(text for name in COMMANDS for text in _described(main, name, "asgi-tls"))])


def _described(group: click.Group, name: str, before: str) -> Iterator[str]:
    command = group.get_command(click.Context(group), name)
    assert command
    path = f"{before} {name}"
    if isinstance(command, click.Group):
        for each in command.list_commands(click.Context(command)):
            yield from _described(command, each, path)
        return
    yield f"## {path}\n"
    pieces = ["[OPTIONS]", "APP"] if name in SERVERS else command.collect_usage_pieces(click.Context(command))
    yield f"```text\n{' '.join([path, *pieces])}\n```\n"
    yield re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or "")).replace("[", r"\[") + "\n"
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    settings = [each for each in options if each.opts[0] in SETTING_OPTIONS]
    own = [] if name in SERVERS else [each for each in options if each not in settings]
    if own:
        yield "\n".join(["| option | |", "|---|---|", *(_row(command, each) for each in own)]) + "\n"
    if settings:
        yield _settings(command, settings) + "\n"


def _row(command: click.Command, option: click.Option) -> str:
    record = option.get_help_record(click.Context(command))
    assert record
    is_shown = isinstance(option.default, str | int | float) and not option.is_flag
    default = f" Default: {option.default}." if is_shown else ""
    cells = (f"`{re.sub(r'[][]', '', record[0])}`", f"{option.help}{default}")
    return " | ".join(("", *(cell.replace("|", r"\|") for cell in cells), "")).strip()


def _settings(command: click.Command, options: list[click.Option]) -> str:
    if command.name in SERVERS:
        return "It takes all [settings](settings.md)."
    taken = {each.opts[0] for each in options}
    found = [heading for heading, settings in GROUPS.items() if taken & {setting.option for setting in settings}]
    links = (f"[{heading}](settings.md#{heading.lower().replace(' ', '-')})" for heading in found)
    return f"It takes the settings of {' and '.join(links)}."


if __name__ == "__main__":
    sys.stdout.write(page())
