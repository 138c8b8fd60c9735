"""`asgi-tls ca`: where the local CA is, and who trusts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.stores import Anchor, Command, Host, Kind, TrustStore, family_of, find_stores
from asgi_tls.dev.stores.change import Change
from asgi_tls.errors import ConfigurationError, TrustStoreError

# What reads no store of this machine, and how to tell it. In docs/development.md with the others.
_APART = (
    ("httpx, requests", "SSL_CERT_FILE, REQUESTS_CA_BUNDLE"),
    ("Node", "NODE_EXTRA_CA_CERTS"),
    ("Java", "keytool -importcert"),
)


@click.group()
def ca() -> None:
    """The local CA that signs development certificates."""


@ca.command()
def path() -> None:
    """Print the path of its certificate, for curl --cacert and the like. It is made on first use."""
    local = LocalCA()
    local.ensure()
    click.echo(local.certificate_path)


def _options(function: Callable[..., None]) -> Callable[..., None]:
    stores = click.option(
        "--store",
        "kinds",
        type=click.Choice(["system", "nss"]),
        multiple=True,
        help="Only the system's store, or only the databases of Firefox and Chromium. Repeatable; both by default.",
    )
    yes = click.option("--yes", is_flag=True, help="Do not ask before sudo is used.")
    dry_run = click.option("--dry-run", is_flag=True, help="Print the commands, and run none.")
    return click.pass_obj(stores(yes(dry_run(function))))


@ca.command()
@_options
def install(host: Host | None, **how: Any) -> None:
    """Make this machine and its browsers trust the local CA. What trusts it already is left as it is."""
    _refuse_sudo()
    local = LocalCA()
    local.ensure()
    anchor = Anchor.read(local.certificate_path)
    click.echo(f"The local CA  {anchor.path}")
    click.echo(f"SHA-256       {anchor.fingerprint}")
    click.echo(f"Whoever can read {local.key_path} can pose as any site to what trusts this CA.\n")
    session = _Session(host or Host.here(), "now trusts it", "trusts it already", **how)
    session.require()
    session.each(lambda store: store.install(anchor))
    if session.changed:
        click.echo("\nRestart browsers and servers that run. To undo it: asgi-tls ca uninstall")
        click.echo("Apart from these stores (docs/development.md):")
        for who, variable in _APART:
            click.echo(f"    {who:<16} {variable}")
    session.end()


@ca.command()
@_options
def uninstall(host: Host | None, **how: Any) -> None:
    """Take this trust away again, from this CA and from those that were at its place before. Others stay.

    The CA itself and its certificates stay as well: `install` brings the trust back.
    """
    _refuse_sudo()
    certificate = LocalCA().certificate_path
    session = _Session(host or Host.here(), "trusts it no more", "did not trust it", **how)
    anchor = _anchor(certificate)
    session.each(lambda store: store.uninstall(family_of(certificate), anchor))
    if session.changed:
        click.echo("\nRestart browsers that run. To trust it again: asgi-tls ca install")
    session.end()


@dataclass
class _Session:
    """The stores one by one: what one of them cannot do keeps none of the others."""

    host: Host
    done: str
    nothing: str
    kinds: tuple[Kind, ...]
    yes: bool
    dry_run: bool
    changed: bool = False
    failed: bool = False

    def require(self) -> None:
        """What was asked for and is not there. A machine without browsers lacks none of their databases."""
        for kind in self.kinds or ("system",):
            if not find_stores(self.host, [kind]):
                self._fail(_MISSING[kind])

    def each(self, plan: Callable[[TrustStore], tuple[Command, ...]]) -> None:
        for store in find_stores(self.host, self.kinds or ("system", "nss")):
            try:
                self._one(store, plan)
            except TrustStoreError as error:
                self._fail(f"{store.name}: {error}")

    def _one(self, store: TrustStore, plan: Callable[[TrustStore], tuple[Command, ...]]) -> None:
        change = Change.planned(lambda: plan(store))
        lines = [f"    {self.host.shown(command)}" for command in change.commands]
        if not lines:
            click.echo(f"{store.name}: {self.nothing}")
            return
        if self.dry_run:
            click.echo("\n".join([f"{store.name}: would run", *lines]))
            return
        if change.needs_sudo(self.host):
            self._consent(store, lines)
        change.carry_out(self.host)
        self.changed = True
        click.echo("\n".join([f"{store.name}: {self.done}", *lines]))

    def _consent(self, store: TrustStore, lines: list[str]) -> None:
        by_hand = "\n".join(["run by hand, as root:", *(line.replace("sudo -- ", "", 1) for line in lines)])
        if self.host.program("sudo") is None:
            raise TrustStoreError("it takes root, and there is no sudo", fix=f"Let this be {by_hand}")
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise TrustStoreError(
                "it takes sudo, and there is nobody to ask", fix=f"Give --yes, or let this be {by_hand}"
            )
        click.echo("\n".join([f"{store.name}: it takes sudo, for", *lines]))
        if not click.confirm("Run them?"):
            raise TrustStoreError("left as it was", fix=f"To do it later, let this be {by_hand}")

    def _fail(self, message: str) -> None:
        self.failed = True
        click.echo(message, err=True)

    def end(self) -> None:
        if self.failed:
            sys.exit(1)


_MISSING = {
    "system": "System store: none that is known here (Debian's, Fedora's, Arch's, macOS', Windows'). "
    "Give clients the file that `asgi-tls ca path` prints.",
    "nss": "No database of Firefox or Chromium. Firefox makes one for each profile when it first runs.",
}


def _anchor(certificate: Path) -> Anchor | None:
    try:
        return Anchor.read(certificate)
    except (OSError, ValueError):
        return None


def _refuse_sudo() -> None:
    """Under sudo, HOME may be root's, and so would be the CA."""
    user = os.environ.get("SUDO_USER")
    if user and user != "root" and not os.environ.get("ASGI_TLS_HOME"):
        raise ConfigurationError(
            f"through sudo this would be root's CA, {LocalCA().certificate_path}, and not that of {user}",
            fix="Run it without sudo: it asks for it where it is needed. If root's is meant, set ASGI_TLS_HOME.",
        )
