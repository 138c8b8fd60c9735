"""`asgi-tls ca`: the path of the local CA, and trust in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from asgi_tls.cli.common import SuggestingGroup
from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.stores import Anchor, Command, Host, Kind, TrustStore, family_of, find_stores
from asgi_tls.dev.stores.change import Change
from asgi_tls.errors import ConfigurationError, TrustStoreError

# Programs that read no trust store of this machine, and how to configure them. docs/development.md has more.
_APART = (
    ("httpx, requests", "SSL_CERT_FILE, REQUESTS_CA_BUNDLE"),
    ("Node", "NODE_EXTRA_CA_CERTS"),
    ("Java", "keytool -importcert"),
)


@click.group(cls=SuggestingGroup)
def ca() -> None:
    """Show the local CA, and make this machine trust it."""


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
        help="The system's store only, or the databases of Firefox and Chromium only. Repeatable; default: both.",
    )
    yes = click.option("--yes", is_flag=True, help="Use sudo without asking.")
    dry_run = click.option("--dry-run", is_flag=True, help="Print the commands without running them.")
    return click.pass_obj(stores(yes(dry_run(function))))


@ca.command()
@_options
def install(host: Host | None, **how: Any) -> None:
    """Make this machine and its browsers trust the local CA. Stores that trust it already are not changed."""
    _refuse_sudo()
    local = LocalCA()
    local.ensure()
    anchor = Anchor.read(local.certificate_path)
    click.echo(f"The local CA  {anchor.path}")
    click.echo(f"SHA-256       {anchor.fingerprint}")
    click.echo(f"Anyone who can read {local.key_path} can impersonate any site to clients that trust this CA.\n")
    session = _Session(host or Host.here(), "now trusts it", "already trusts it", **how)
    session.require()
    session.each(lambda store: store.install(anchor))
    if session.changed:
        click.echo("\nRestart running browsers and servers. To undo this: asgi-tls ca uninstall")
        click.echo("Programs that do not read these stores (docs/development.md):")
        for who, variable in _APART:
            click.echo(f"    {who:<16} {variable}")
    session.end()


@ca.command()
@_options
def uninstall(host: Host | None, **how: Any) -> None:
    """Remove the trust in the local CA, and in earlier CAs at the same path. Other CAs are not changed.

    The CA and its certificates are kept: `install` trusts it again.
    """
    _refuse_sudo()
    certificate = LocalCA().certificate_path
    session = _Session(host or Host.here(), "no longer trusts it", "did not trust it", **how)
    anchor = _anchor(certificate)
    session.each(lambda store: store.uninstall(family_of(certificate), anchor))
    if session.changed:
        click.echo("\nRestart running browsers. To trust it again: asgi-tls ca install")
    session.end()


@dataclass
class _Session:
    """Changes the stores one after the other: a failure of one does not affect the others."""

    host: Host
    done: str
    nothing: str
    kinds: tuple[Kind, ...]
    yes: bool
    dry_run: bool
    changed: bool = False
    failed: bool = False

    def require(self) -> None:
        """Report a requested store that does not exist. Databases of browsers are required only with --store nss."""
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
        by_hand = "\n".join(["Run as root:", *(line.replace("sudo -- ", "", 1) for line in lines)])
        if self.host.program("sudo") is None:
            raise TrustStoreError("changing it requires root, and sudo is not installed", fix=by_hand)
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise TrustStoreError(
                "changing it requires sudo, and there is no terminal to ask on", fix=f"Add --yes. Or: {by_hand}"
            )
        click.echo("\n".join([f"{store.name}: sudo is required for", *lines]))
        if not click.confirm("Run them?"):
            raise TrustStoreError("not changed", fix=f"To change it later: {by_hand}")

    def _fail(self, message: str) -> None:
        self.failed = True
        click.echo(message, err=True)

    def end(self) -> None:
        if self.failed:
            sys.exit(1)


_MISSING = {
    "system": "System store: none that asgi-tls supports (Debian, Fedora, Arch, macOS, Windows). "
    "Configure clients with the file that `asgi-tls ca path` prints.",
    "nss": "No database of Firefox or Chromium was found. Firefox creates one for each profile when it first runs.",
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
            f"under sudo this would be root's CA, {LocalCA().certificate_path}, and not that of {user}",
            fix="Run it without sudo: it uses sudo where required. To use root's CA, set ASGI_TLS_HOME.",
        )
