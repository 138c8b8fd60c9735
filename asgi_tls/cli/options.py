"""Options made of the table of settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from click.shell_completion import CompletionItem

from asgi_tls.cli.common import GroupedOption
from asgi_tls.servers.build import profile_for
from asgi_tls.servers.given import read
from asgi_tls.servers.settings import FLAG, GROUPS, SETTINGS, Setting

if TYPE_CHECKING:
    import click

# The settings that make a profile.
_PROFILE: Final = ("profile", "groups", "ciphersuites", "ciphers")


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
    return GroupedOption(
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
