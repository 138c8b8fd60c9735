"""What an export is: the configuration, and in words what it cannot carry over."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.application import commands, middleware
from asgi_tls.export.site import Site
from asgi_tls.export.versions import OPENSSL_MLKEM, Program, Version, text_of
from asgi_tls.profile import TLSProfile

_WIDTH: Final = 110
_MLKEM: Final = "MLKEM"

# Of every proxy that leaves groups to OpenSSL.
GROUP_ORDER: Final = "The client's first key share decides the group, not the order of the list."


@dataclass(frozen=True)
class Export:
    """A configuration file, and what the profile or the site loses in it, a sentence each."""

    text: str
    lost: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The comment on top: for what and whom, how to check it, the application's side, and what is lost."""

    program: Program
    version: Version
    profile: TLSProfile
    site: Site
    check: str
    reload: str

    def lines(self, lost: Iterable[str]) -> list[str]:
        """Comment lines, each with its `#`."""
        found = [
            f"# TLS profile {self.profile.name} for {self.program.name} {text_of(self.version)}, by asgi-tls export.",
            *_wrapped(f"Names: {', '.join(self.site.hosts)}"),
            f"# Check it:         {self.check}",
            f"# After a renewal:  {self.reload}",
            "#",
            "# The application behind it, whose server has to trust this proxy and nobody else:",
            f"#     {commands(self.site)['uvicorn']}",
            f"#     {middleware(self.site)}",
        ]
        lost = list(lost)
        if lost:
            found += ["#", "# What this cannot carry over:"]
            for sentence in lost:
                found += _wrapped(f"- {sentence}")
        return [*found, ""]


def of_openssl(profile: TLSProfile, openssl: Version) -> tuple[list[str], list[str]]:
    """The groups that this OpenSSL knows, and what is lost: one unknown name makes it refuse the whole list.

    Raises ConfigurationError where none is left.
    """
    groups = [name for name in profile.groups if _MLKEM not in name or openssl >= OPENSSL_MLKEM]
    missing = [name for name in profile.groups if name not in groups]
    if not groups:
        raise ConfigurationError(
            f"OpenSSL {text_of(openssl)} knows none of the groups {', '.join(missing)}",
            fix="Name --openssl where it is newer, or add a group: --tls-groups X25519MLKEM768:X25519.",
        )
    lost = [f"{', '.join(missing)}: it needs OpenSSL {text_of(OPENSSL_MLKEM)} (--openssl)."] if missing else []
    return groups, lost


def of_client_ca(site: Site) -> list[str]:
    """What is said where client certificates are asked for."""
    if site.client_ca is None:
        return []
    return [
        "The client's certificate is checked here and ends here: the application does not learn who the client is, "
        "since nothing in it would know a forwarded certificate from a forged one."
    ]


def _wrapped(text: str) -> list[str]:
    hanging = "#   " if text.startswith("- ") else "#     "
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
