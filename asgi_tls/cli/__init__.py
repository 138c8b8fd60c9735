"""The command `asgi-tls`. Each subcommand parses, calls and prints, and is imported when it is used."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from asgi_tls.cli.common import SuggestingGroup
from asgi_tls.errors import ASGITLSError
from asgi_tls.servers import STARTUP_FAILURE

# name -> (module, attribute, one line of help). The help stands here so that `asgi-tls --help` imports none of them.
COMMANDS: Final = {
    "uvicorn": ("serve", "uvicorn_command", "Serve APP with uvicorn, over TLS."),
    "hypercorn": ("serve", "hypercorn_command", "Serve APP with hypercorn, over TLS."),
    "gunicorn": ("serve", "gunicorn_command", "Serve APP with gunicorn, over TLS."),
    "new": ("new", "new", "Copy an application into DIR to start from."),
    "cert": ("development", "cert", "Make a development certificate for NAMEs."),
    "ca": ("authority", "ca", "Show the local CA, and make this machine trust it."),
    "doctor": ("doctor", "doctor", "Report what this Python and OpenSSL support."),
    "acme": ("acme", "acme", "See and change what the server orders by ACME."),
    "ocsp": ("ocsp", "ocsp", "Ask the CA's OCSP responder about a certificate."),
    "check": ("check", "check", "Audit the server at URL, and grade it."),
    "explain": ("explain", "explain_command", "Explain a TLS error: its causes and what to do."),
    "flags": ("flags", "flags", "Print the options that bring a plain SERVER closest to a profile."),
    "export": ("export", "export", "Print a profile as configuration of nginx, HAProxy, Caddy or OpenSSL."),
    "deploy-hook": ("deploy_hook", "deploy_hook", "Write a deploy hook for certbot: a renewal is loaded at once."),
}
_APPLICATION: Final = re.compile(r"[\w.]+:[\w.]+(?:\(\))?")


class _LazyGroup(SuggestingGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"asgi_tls.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=text) for name, (_, _, text) in COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(each for each in commands if each.value.startswith(incomplete)), *options]

    def suggestion(self, args: Sequence[str], meant: str | None) -> str:
        if meant is None and _APPLICATION.fullmatch(args[0]):
            meant = f"asgi-tls uvicorn {args[0]}"
        return super().suggestion(args, meant)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--tls"):
                ctx.fail(f"{error.option_name} comes after the command, as in: asgi-tls uvicorn {error.option_name} …")
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ASGITLSError as error:
            click.echo(f"Error: {error}\n{error.more}", err=True)
            sys.exit(STARTUP_FAILURE)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="asgi-tls", prog_name="asgi-tls")
def main() -> None:
    """TLS 1.3 and secure transport for Python ASGI servers."""
