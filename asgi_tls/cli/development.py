"""`asgi-tls cert`: certificates for development, issued by the local CA."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from asgi_tls.certificate.password import first_line
from asgi_tls.dev.ca import LocalCA
from asgi_tls.errors import ConfigurationError

_PASSWORD = "ASGI_TLS_PKCS12_PASSWORD"  # noqa: S105 -- the name of a variable


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--client", is_flag=True, help="Make a client certificate (mutual TLS).")
@click.option("--pkcs12", is_flag=True, help="Also write identity.p12 with certificate and key, for browsers and Java.")
@click.option(
    "--pkcs12-password-file",
    type=click.Path(path_type=Path),
    help=f"File whose first line is the password. Default: {_PASSWORD}, else the terminal.",
)
@click.option("--pkcs12-no-password", is_flag=True, help="Do not encrypt the key: the password is empty.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the files. Default: one for the first name in the user's data directory.",
)
@click.option("--days", type=click.IntRange(1, 397), default=90, help="Validity in days.")
def cert(
    names: tuple[str, ...],
    client: bool,
    pkcs12: bool,
    pkcs12_password_file: Path | None,
    pkcs12_no_password: bool,
    directory: Path | None,
    days: int,
) -> None:
    """Make a development certificate for NAMEs: host names, *.wildcards, IPv4 and IPv6 addresses. With --client, the
    first name may be any text; the others are e-mail addresses, host names or URIs.

    The local CA is created on first use. A certificate for these names is kept until a third of its lifetime is left.
    """
    # First, so that a user who cancels leaves no files behind.
    password = _password(pkcs12, pkcs12_password_file, pkcs12_no_password)
    ca = LocalCA()
    issued = (ca.issue_client if client else ca.issue)(names, directory=directory, days=days)
    click.echo(f"{'Made' if issued.created else 'Kept'} a certificate for {', '.join(issued.certificate_names)}")
    click.echo(f"valid until  {issued.not_after:%Y-%m-%d %H:%M} UTC")
    click.echo(f"certificate  {issued.certfile}")
    click.echo(f"key          {issued.keyfile}")
    if password is not None:
        from asgi_tls.dev.pkcs12 import write_pkcs12

        click.echo(f"PKCS#12      {write_pkcs12(issued, password)}")
    click.echo(f"{'signed by' if client else 'trust':<12} {ca.certificate_path}")


def _password(wanted: bool, file: Path | None, none: bool) -> bytes | None:
    """The password of the PKCS#12 file, None without --pkcs12. Empty only with --pkcs12-no-password."""
    if not wanted:
        if file is not None or none:
            raise ConfigurationError("a password option is given without --pkcs12", fix="Add --pkcs12.")
        return None
    if none:
        if file is not None:
            raise ConfigurationError(
                "--pkcs12-password-file and --pkcs12-no-password contradict each other", fix="Use one of them."
            )
        return b""
    password = _asked() if file is None else first_line(file)[0]
    if not password:
        raise ConfigurationError("the password is empty", fix="Enter a password, or use --pkcs12-no-password.")
    return password


def _asked() -> bytes:
    given = os.environ.get(_PASSWORD)
    if given is not None:
        return os.fsencode(given)
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "the PKCS#12 file needs a password, and there is no terminal to ask on",
            fix=f"Use --pkcs12-password-file, set {_PASSWORD}, or use --pkcs12-no-password.",
        )
    password: str = click.prompt("Password of the PKCS#12 file", hide_input=True, confirmation_prompt=True)
    return password.encode()
