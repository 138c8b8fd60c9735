"""What several commands share: help in groups, options made of the table of settings, and files that are written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from asgi_tls.errors import ConfigurationError
from asgi_tls.servers.build import profile_for
from asgi_tls.servers.given import read
from asgi_tls.servers.settings import FLAG, GROUPS, SETTINGS, Setting

_F = TypeVar("_F", bound=Callable[..., Any])
# The settings that make a profile.
_PROFILE: Final = ("profile", "groups", "ciphersuites", "ciphers")


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


class _GroupedOption(click.Option):
    def __init__(self, *declaration: Any, heading: str, **how: Any) -> None:
        super().__init__(*declaration, **how)
        self.heading = heading


def grouped(heading: str) -> Callable[..., Callable[[_F], _F]]:
    """`click.option` for the options of one group of a GroupedCommand's help."""

    def option(*declaration: str, **how: Any) -> Callable[[_F], _F]:
        return click.option(*declaration, cls=_GroupedOption, heading=heading, **how)

    return option


def options(names: Iterable[str] | None = None) -> list[click.Option]:
    """An option for each setting of these names that has one, or of all. They check nothing: `servers.given` does."""
    return [
        _option(heading, setting)
        for heading, settings in GROUPS.items()
        for setting in settings
        if setting.on_command_line and (names is None or setting.name in names)
    ]


def _option(heading: str, setting: Setting) -> click.Option:
    is_flag = setting.kind is FLAG
    default = "" if setting.default is None else f" [default: {setting.default}]"
    return _GroupedOption(
        [_parameter(setting), f"{setting.option}/--tls-no-{setting.key}" if is_flag else setting.option],
        heading=heading,
        metavar=None if is_flag else setting.kind.metavar,
        multiple=setting.multiple,
        default=None,
        help=f"{setting.help}{default} [env: {setting.variable}]",
        allow_from_autoenv=False,  # not UVICORN_TLS_PROFILE
        shell_complete=lambda *_: [CompletionItem(choice) for choice in setting.kind.choices],
    )


def _parameter(setting: Setting) -> str:
    return f"tls_{setting.name}"


def taken(parameters: dict[str, Any]) -> dict[str, Any]:
    """Ours out of the parsed parameters, by setting."""
    return {
        setting.name: parameters.pop(_parameter(setting)) for setting in SETTINGS if _parameter(setting) in parameters
    }


def profile_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that choose a profile: the command gets `profile`. Raises ConfigurationError, ProfileError."""

    @functools.wraps(function)
    def with_profile(*arguments: Any, **parameters: Any) -> None:
        given = read(taken(parameters))
        with given.spelled():
            profile = profile_for(given.values)
        function(*arguments, profile=profile, **parameters)

    with_profile.__click_params__ = [*getattr(function, "__click_params__", ()), *reversed(options(_PROFILE))]  # type: ignore[attr-defined]
    return with_profile


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Turns what goes wrong while the file of `option` is written into a ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{option}: cannot write {path}: {error.strerror}", fix="Name a file in a directory that you may write to."
        ) from None
