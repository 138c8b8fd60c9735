"""`asgi-tls cert`: certificates for development, from a CA of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from asgi_tls.dev.ca import LocalCA


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where fullchain.pem and privkey.pem go; by default a directory for these names in the user's data directory.",
)
@click.option("--days", type=click.IntRange(1, 397), default=90, show_default=True, help="How long it is valid.")
def cert(names: tuple[str, ...], directory: Path | None, days: int) -> None:
    """Make a development certificate for NAMEs: host names, *.wildcards, IPv4 and IPv6 addresses.

    The local CA is made on first use. A certificate for the same names is kept until a third of its lifetime is left.
    """
    ca = LocalCA()
    issued = ca.issue(names, directory=directory, days=days)
    click.echo(f"{'Made' if issued.created else 'Kept'} a certificate for {', '.join(issued.certificate_names)}")
    click.echo(f"valid until  {issued.not_after:%Y-%m-%d %H:%M} UTC")
    click.echo(f"certificate  {issued.certfile}")
    click.echo(f"key          {issued.keyfile}")
    click.echo(f"trust        {ca.certificate_path}")
