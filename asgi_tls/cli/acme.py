"""`asgi-tls acme`: what is stored about the certificates that the server orders, and the few things that one does by
hand. Any server with the same storage answers the challenges.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from asgi_tls.cli.common import GroupedCommand, SuggestingGroup
from asgi_tls.cli.options import options, taken
from asgi_tls.errors import ConfigurationError
from asgi_tls.servers.given import read
from asgi_tls.servers.settings import GROUPS

if TYPE_CHECKING:
    from asgi_tls.events import ACMEEvent
    from asgi_tls.renewal.acme.schedule import Record
    from asgi_tls.renewal.acme.source import ACME
    from asgi_tls.renewal.acme.storage import Fence

_SETTINGS: Final = [setting.name for setting in GROUPS["Automatic HTTPS"]]
_PATIENCE: Final = 100.0  # longer than a server's lease
_REASONS: Final = {"unspecified": 0, "key-compromise": 1, "superseded": 4, "cessation": 5}  # RFC 5280 section 5.3.1
_ORDERING: Final = "Another process is ordering: see `asgi-tls acme status`."
_CAA: Final = {
    # What each CA's documentation says stands in a CAA record for it.
    "letsencrypt": "letsencrypt.org",
    "letsencrypt-staging": "letsencrypt.org",
    "zerossl": "sectigo.com",
    "google": "pki.goog",
}


@click.group(cls=SuggestingGroup)
def acme() -> None:
    """See and change what the server orders by ACME."""


def _with_source(function: Callable[..., None]) -> Callable[..., None]:
    """The settings of ACME, from wherever a server takes them: the command gets `source`.

    Raises ConfigurationError.
    """

    @functools.wraps(function)
    def with_source(**parameters: Any) -> None:
        from asgi_tls.servers.acme_settings import ordered

        given = read(taken(parameters))
        with given.spelled():
            # As with --tls-redirect-port 80: `issue` answers http-01 there.
            source = ordered({"redirect_port": 80, **given.values})
            try:
                function(source=source, **parameters)
            except OSError as error:
                raise ConfigurationError(
                    f"the ACME storage {source.storage} cannot be used: {error}",
                    fix="Run the command as the user of the server, and give the same {acme_storage}.",
                    settings=("acme_storage",),
                ) from None

    own = getattr(function, "__click_params__", [])
    with_source.__click_params__ = [*own, *reversed(options([*_SETTINGS, "config"]))]  # type: ignore[attr-defined]
    return with_source


@acme.command(cls=GroupedCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_with_source
def status(source: ACME, as_json: bool) -> None:
    """Show the certificate and the plan for the next one.

    The exit status is 1 if there is no certificate that is valid now.
    """
    from asgi_tls.renewal.acme.records import read_record
    from asgi_tls.renewal.acme.schedule import decide

    record, now = read_record(source), time.time()
    is_valid = (
        record.not_before is not None and record.not_after is not None and record.not_before <= now < record.not_after
    )
    if as_json:
        values = {"names": source.names, "storage": str(source.storage.local), "valid": is_valid}
        click.echo(json.dumps({**values, **dataclasses.asdict(record)}, indent=2))
        sys.exit(0 if is_valid else 1)
    decision = decide(record, now)
    rows = [
        ("names", ", ".join(source.names)),
        ("CA", record.ca or source.directory),
        ("storage", str(source.storage.local)),
        ("certificate", f"valid until {_shown(record.not_after)}" if is_valid else "none that is valid now"),
        ("renewal", _shown(record.renew_at)),
    ]
    if record.window is not None:
        rows.append(("CA's window", f"{_shown(record.window.start)} to {_shown(record.window.end)}"))
    if record.failures:
        rows.append(("failures", f"{record.failures} in a row; the last one: {record.reason}"))
    if decision.action == "order":
        rows.append(("next step", "a running server orders now"))
    elif decision.action == "blocked":
        rows.append(("next step", f"no order before {_shown(decision.until)}: {decision.why}"))
    elif record.failures:
        rows.append(("next step", f"the next try at {_shown(decision.until)}"))
    for label, text in rows:
        click.echo(f"{label:12}  {text}")
    sys.exit(0 if is_valid else 1)


@acme.command(cls=GroupedCommand)
@click.option("--force", is_flag=True, help="Order although nothing is due, which CAs limit.")
@_with_source
def issue(source: ACME, force: bool) -> None:
    """Order the certificate now, if it is due.

    A running server with the same storage answers the challenges. Without one, port 80 is opened for http-01. The exit
    status is 1 if there is no new certificate.
    """
    from asgi_tls.renewal.acme.manager import Manager
    from asgi_tls.renewal.acme.records import read_record
    from asgi_tls.renewal.acme.start import prepare

    _check_owner(source)
    prepare([source])
    events: list[ACMEEvent] = []

    def tell(event: Any) -> None:
        events.append(event)
        click.echo(event.msg)

    manager = Manager([source], tell=tell, is_over=lambda: False, nudge=lambda: None)
    if force:
        with _lock_of(source):  # until a server that asks the CA about this certificate, or orders, has done so
            pass
    with _port_80() if "http-01" in source.challenges else contextlib.nullcontext():
        manager.order_now(force=force)
    if not events:
        click.echo(_ORDERING if force else _why_nothing(read_record(source), time.time()))
    sys.exit(0 if any(event.action == "obtained" for event in events) else 1)


@acme.command(cls=GroupedCommand)
@click.option("--reason", type=click.Choice(list(_REASONS)), default="unspecified", help="Why, for the CA.")
@click.confirmation_option(prompt="Clients will refuse the certificate. Revoke it?")
@_with_source
def revoke(source: ACME, reason: str) -> None:
    """Revoke the certificate. A running server orders another one at once, with a new key.

    The exit status is 3 if there is no certificate, and 1 if it is revoked while another process orders: then nothing
    orders the next one by itself.
    """
    from asgi_tls.renewal.acme.start import check_package

    check_package()
    _check_owner(source)
    from asgi_tls.renewal.acme.orders import revoke as revoke_by
    from asgi_tls.renewal.acme.records import read_record, store_record

    record, pem = read_record(source), source.storage.load(source.certificate_entry)
    ca = next((each for each in source.cas if record.ca in {each.url, None}), None)
    if pem is None or ca is None:
        raise ConfigurationError(
            f"there is no certificate for {', '.join(source.names)} in {source.storage.local}",
            fix="Give the same settings as to the server; `asgi-tls acme status` shows what there is.",
        )
    revoke_by(ca, pem, _REASONS[reason])
    with _lock_of(source) as fence:
        if fence is None:
            click.echo("Revoked. A process is ordering, and keeps its lock: then run `asgi-tls acme issue --force`.")
            sys.exit(1)
        # No break behind the last order: a person asks for this one.
        renewed = dataclasses.replace(read_record(source), renew_at=0.0, again_at=0.0, issued=())
        store_record(source, renewed, fence)
    click.echo(f"Revoked. A running server orders another certificate for {', '.join(source.names)} now.")


@contextlib.contextmanager
def _lock_of(source: ACME) -> Iterator[Fence | None]:
    """Wait for it: a server may ask the CA about this certificate, or order, at the same time."""
    from asgi_tls.renewal.acme.storage import holding

    deadline = time.monotonic() + _PATIENCE
    while True:
        with holding(source.storage, source.identifier, 60.0) as fence:
            if fence is not None or time.monotonic() >= deadline:
                yield fence
                return
        time.sleep(0.2)


@acme.command("dns-record", cls=GroupedCommand)
@_with_source
def dns_record(source: ACME) -> None:
    """Print DNS records that let this account, and nobody else, get certificates for the names.

    CAA records (RFC 8659) with the account and the challenges (RFC 8657); and for dns-01 where its TXT records go.
    """
    from asgi_tls.renewal.acme.records import read_account

    issuer = _CAA.get(source.directory)
    if issuer is None:
        click.echo(f"; The documentation of {source.directory} says what CAA records for it contain.")
        issuer = "CA"
    url = read_account(source.storage, source.cas[0])
    account = "" if url is None else f"; accounturi={url}"
    if not account:
        click.echo("; The account is registered with the first order: then its URL is added here.")
    methods = f"; validationmethods={','.join(source.challenges)}"
    for name in dict.fromkeys(name.removeprefix("*.") for name in source.names):
        # "issue" counts for wildcards as well where there is no "issuewild", and "issuewild" for nothing else.
        for kind, ordered in (("issue", name), ("issuewild", f"*.{name}")):
            if ordered in source.names:
                click.echo(f'{name}. CAA 0 {kind} "{issuer}{account}{methods}"')
        if "dns-01" in source.challenges:
            click.echo(f"; {source.directory} looks for TXT records at _acme-challenge.{name}.")


def _check_owner(source: ACME) -> None:
    """What root writes, the server of another user cannot read: its renewals would end. Raises ConfigurationError."""
    local = source.storage.local
    if not hasattr(os, "geteuid") or not local.exists() or (owner := local.stat().st_uid) == os.geteuid():
        return
    raise ConfigurationError(
        f"the ACME storage {local} belongs to another user (uid {owner}), who could not read what this command writes",
        fix=f"Run it as that user: sudo -u '#{owner}' asgi-tls acme …",
        settings=("acme_storage",),
    )


@contextlib.contextmanager
def _port_80() -> Iterator[None]:
    """Answer http-01 there, unless it is taken: then a running server does."""
    from asgi_tls.middleware import redirect_app
    from asgi_tls.servers import plain
    from asgi_tls.servers.addresses import Address

    try:
        sockets = plain.listening(Address("", 80))  # a CA comes from anywhere, and over IPv6 first
    except ConfigurationError:
        sockets = []
    app = redirect_app(hosts=["*"])
    with plain.in_thread([(sock, app) for sock in sockets]):
        yield


def _why_nothing(record: Record, now: float) -> str:
    from asgi_tls.renewal.acme.schedule import decide

    decision = decide(record, now)
    if decision.action == "order":
        return _ORDERING
    if decision.action == "blocked":
        return f"No order before {_shown(decision.until)}: {decision.why}. --force orders now."
    if record.failures:
        return (
            f"The last order failed: {record.reason}. The next try is at {_shown(decision.until)}. --force orders now."
        )
    return f"Nothing is due before {_shown(decision.until)}. --force orders now."


def _shown(moment: float | None) -> str:
    return "not known yet" if not moment else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
