"""What every export is made of: its target, the comment on top, quoting and indenting."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.application import commands, middleware
from asgi_tls.export.site import Site
from asgi_tls.export.versions import OPENSSL_MLKEM, OPENSSL_TUPLES, Program, Version, text_of
from asgi_tls.profile import TLSProfile

_WIDTH: Final = 110
_MLKEM: Final = "MLKEM"

# For a server that leaves the groups to an OpenSSL before 3.5.
GROUP_ORDER: Final = "The order of groups: the client's first key share decides."


@dataclass(frozen=True)
class Export:
    """A configuration file, and what the profile or the site loses in it, a sentence each."""

    text: str
    lost: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What an export is for."""

    program: Program
    version: Version
    profile: TLSProfile
    site: Site

    def export(self, lines: Collection[str], lost: Collection[str], *, check: str, reload: str) -> Export:
        """The whole file: the comment on top says for what it is, how to check it, and what is lost."""
        heading = [
            f"# TLS profile {self.profile.name} for {self.program.name} {text_of(self.version)}, by asgi-tls export.",
            *_comment(f"Names: {', '.join(self.site.hosts)}"),
            f"# Check it:         {check}",
            f"# After a renewal:  {reload}",
            "#",
            "# The application behind it; its server must trust the headers of this proxy, and of no other address:",
            f"#     {commands(self.site)['uvicorn']}",
            f"#     {middleware(self.site)}",
        ]
        if lost:
            heading += ["#", "# What this configuration cannot carry over:"]
            for sentence in lost:
                heading += _comment(f"- {sentence}")
        return Export("\n".join((*heading, "", *lines, "")), tuple(lost))


@dataclass(frozen=True)
class Quoting:
    """How a program writes a word that may hold any character: between two `mark`s, with these escapes.

    `refused` are the characters that the program gives a meaning of its own, quoted or not.
    """

    mark: str
    escapes: Mapping[str, str]
    refused: str = ""

    def __call__(self, text: str) -> str:
        return f"{self.mark}{''.join(self.escapes.get(each, each) for each in text)}{self.mark}"


QUOTING: Final = {
    # In the path of a certificate, nginx takes $ for a variable, and there is no way to quote it.
    "nginx": Quoting('"', {"\\": "\\\\", '"': '\\"'}, refused="$"),
    # In single quotes everything is literal but the quote itself.
    "haproxy": Quoting("'", {"'": "'\\''"}),
    # A brace begins a placeholder, quoted or not, and a backslash before a quote is no character.
    "caddy": Quoting('"', {}, refused='{}"`\\'),
}


def indented(lines: Collection[str]) -> list[str]:
    """One level deeper."""
    return [f"    {line}" if line else line for line in lines]


def block(head: str, lines: Collection[str]) -> list[str]:
    """A block in braces."""
    return [f"{head} {{".lstrip(), *indented(lines), "}"]


def check_paths(program: Program, site: Site) -> None:
    """Raise ConfigurationError for a path of the site that this program's files cannot quote."""
    refused = QUOTING[program.name].refused
    for option, path in site.paths.items():
        if found := [character for character in refused if character in path]:
            raise ConfigurationError(
                f"{option} {path!r} contains {' and '.join(found)}, which {program.title} cannot quote",
                fix="Rename the file, or link to it by another name.",
            )


def groups_for(
    profile: TLSProfile, openssl: Version, supported: Collection[str] | None = None
) -> tuple[str, list[str]]:
    """The list of groups for an OpenSSL of this version, and what is lost in it.

    `supported` are the groups that it knows, where it can be asked: a name that it does not know would make it refuse
    the whole list. Raises ConfigurationError where none is left.
    """
    if supported is None:
        supported = [name for name in profile.groups if _MLKEM not in name or openssl >= OPENSSL_MLKEM]
    groups = [name for name in profile.groups if name in supported]
    lost = unknown_groups(f"OpenSSL {text_of(openssl)}", profile, groups, OPENSSL_MLKEM)
    if not groups:
        raise ConfigurationError(
            f"OpenSSL {text_of(openssl)} knows none of the groups {', '.join(profile.groups)}",
            fix="Name a newer OpenSSL if the program has one, or add a group: --tls-groups X25519MLKEM768:X25519.",
        )
    if openssl >= OPENSSL_TUPLES:
        return "/".join(groups), lost
    return ":".join(groups), [*lost, GROUP_ORDER] if len(groups) > 1 else lost


def unknown_groups(program: str, profile: TLSProfile, known: Collection[str], mlkem_since: Version) -> list[str]:
    """What is lost where a program does not know some of the profile's groups."""
    missing = [name for name in profile.groups if name not in known]
    if not missing:
        return []
    hybrid = [f" {name} is known from {text_of(mlkem_since)} on." for name in missing if _MLKEM in name]
    return [f"The groups {', '.join(missing)}: {program} does not know them.{''.join(hybrid)}"]


def client_certificates_end(site: Site) -> list[str]:
    """What is lost where client certificates are asked for."""
    if site.client_ca is None:
        return []
    return [
        "The client's identity: its certificate is verified here and not passed on, since the application could not "
        "tell a forwarded certificate from a forged one."
    ]


def _comment(text: str) -> list[str]:
    hanging = "#   " if text.startswith("- ") else "#     "
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
