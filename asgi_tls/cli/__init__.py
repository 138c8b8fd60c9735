"""The command `asgi-tls`. Each subcommand parses, calls and prints, and is imported when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from asgi_tls.errors import ASGITLSError
from asgi_tls.servers import STARTUP_FAILURE

# name -> (module, attribute, one line of help). The help stands here so that `asgi-tls --help` imports none of them.
COMMANDS: Final = {
    "uvicorn": ("serve", "uvicorn_command", "Serve APP with uvicorn, over TLS."),
    "hypercorn": ("serve", "hypercorn_command", "Serve APP with hypercorn, over TLS: HTTP/1.1, 2 and 3."),
    "gunicorn": ("serve", "gunicorn_command", "Serve APP with gunicorn, over TLS."),
    "new": ("new", "new", "Copy the demo application into DIR, ready to run."),
    "cert": ("development", "cert", "Make a development certificate for NAMEs from a local CA."),
    "ca": ("authority", "ca", "The local CA: where it is, and who trusts it."),
    "doctor": ("doctor", "doctor", "What this Python and OpenSSL can do, and what a profile would lose here."),
    "ocsp": ("ocsp", "ocsp", "Ask the CA's OCSP responder about a certificate."),
    "check": ("check", "check", "Audit the server at URL, and grade it."),
    "explain": ("explain", "explain_command", "Cause and fix of a TLS error, by its code or by pasted text."),
    "flags": ("flags", "flags", "Flags that bring a plain SERVER nearest to a profile, and what they leave open."),
    "export": ("export", "export", "The same profile as configuration of nginx, HAProxy, Caddy or OpenSSL."),
    "deploy-hook": ("deploy_hook", "deploy_hook", "A certbot deploy hook: the server takes the renewal at once."),
}


class _LazyGroup(click.Group):
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
