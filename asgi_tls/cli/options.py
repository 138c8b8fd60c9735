"""What several commands share: help in groups, the options of a profile, and files that are written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from asgi_tls.errors import ConfigurationError
from asgi_tls.profile import PROFILES, TLSProfile
from asgi_tls.servers import environment

_F = TypeVar("_F", bound=Callable[..., Any])


class GroupedCommand(click.Command):
    """A command whose help lists its options under the headings of `grouped`."""

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


_policy: Final = grouped("Profile")


def profile_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that choose a profile: the command gets `profile`. Raises ConfigurationError, ProfileError."""

    @functools.wraps(function)
    def with_profile(*arguments: Any, **options: Any) -> None:
        names = ("profile", "groups", "ciphersuites", "ciphers")
        chosen: TLSProfile = environment.profile_for({name: options.pop(f"tls_{name}") for name in names})
        function(*arguments, profile=chosen, **options)

    for option in (
        _policy("--tls-ciphers", metavar="LIST", help="TLS 1.2 suites."),
        _policy("--tls-ciphersuites", metavar="LIST", help="TLS 1.3 suites."),
        _policy("--tls-groups", metavar="LIST", help="Groups for the key exchange, the preferred first."),
        _policy("--tls-profile", type=click.Choice(list(PROFILES)), default="intermediate", help="The base."),
    ):
        with_profile = option(with_profile)
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
