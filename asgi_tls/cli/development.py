"""`asgi-tls cert`: certificates for development, from a CA of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from asgi_tls.certificate.material import read_material
from asgi_tls.dev.ca import LocalCA
from asgi_tls.errors import ConfigurationError

_PASSWORD = "ASGI_TLS_PKCS12_PASSWORD"  # noqa: S105 -- the name of a variable


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--client", is_flag=True, help="For a client, that shows with it who it is (mTLS).")
@click.option("--pkcs12", is_flag=True, help="Write identity.p12 as well: certificate and key, for browsers and Java.")
@click.option(
    "--pkcs12-password-file",
    type=click.Path(path_type=Path),
    help=f"Its password is the first line of this file. Without it, {_PASSWORD} is read, else the terminal.",
)
@click.option("--pkcs12-no-password", is_flag=True, help="Leave its key unencrypted, with the empty password.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; by default a directory for these names in the user's data directory.",
)
@click.option("--days", type=click.IntRange(1, 397), default=90, show_default=True, help="How long it is valid.")
def cert(
    names: tuple[str, ...],
    client: bool,
    pkcs12: bool,
    pkcs12_password_file: Path | None,
    pkcs12_no_password: bool,
    directory: Path | None,
    days: int,
) -> None:
    """Make a development certificate for NAMEs: host names, *.wildcards, IPv4 and IPv6 addresses. With --client, for a
    person or a program: any text first; e-mail addresses, host names and URIs.

    The local CA is made on first use. A certificate for the same names is kept until a third of its lifetime is left.
    """
    # Asked for first: whoever gives up here leaves nothing behind.
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
    """None: no PKCS#12 is wanted. Empty only where that was said."""
    if not wanted:
        if file is not None or none:
            raise ConfigurationError("there is no PKCS#12 file to encrypt", fix="Add --pkcs12.")
        return None
    if none:
        if file is not None:
            raise ConfigurationError("a password file, and no password", fix="Give one of the two options.")
        return b""
    password = _asked() if file is None else read_material(file, "password").data.splitlines()[0]
    if not password:
        raise ConfigurationError("the password is empty", fix="Give one, or --pkcs12-no-password.")
    return password


def _asked() -> bytes:
    given = os.environ.get(_PASSWORD)
    if given is not None:
        return os.fsencode(given)
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "there is nobody to ask for the password of the PKCS#12 file",
            fix=f"Give --pkcs12-password-file, set {_PASSWORD}, or give --pkcs12-no-password.",
        )
    password: str = click.prompt("Password of the PKCS#12 file", hide_input=True, confirmation_prompt=True)
    return password.encode()
