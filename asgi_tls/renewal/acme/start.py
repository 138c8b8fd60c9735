"""What a server with ACME sources needs before it listens, and in each process that serves."""

from __future__ import annotations

import asyncio
import os
import shlex
import ssl
import weakref
from collections.abc import Sequence
from importlib.util import find_spec

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import Listener, Notice
from asgi_tls.listeners.dispatch import in_loop
from asgi_tls.renewal.acme.ca import CA
from asgi_tls.renewal.acme.dns import DNSCommand, DNSLexicon
from asgi_tls.renewal.acme.source import ACME
from asgi_tls.renewal.acme.storage import ACCOUNT
from asgi_tls.renewal.reloader import Reloader


def prepare(sources: Sequence[ACME]) -> list[Notice]:
    """Check what only settings can mend, and answer http-01 in this process. Returns warnings.

    Raises ConfigurationError, and CertificateError for the file of an external account.
    """
    check_package()
    for source in sources:
        for ca in source.cas:
            _check_ca_file(ca)
        if isinstance(source.dns, DNSCommand | DNSLexicon):
            source.dns.check()
    storage = sources[0].storage
    if any(source.storage != storage for source in sources):
        raise ConfigurationError(
            "the ACME sources of one server have several storages", fix="Give all of them the same storage."
        )
    storage.check()
    storage.refresh([ACCOUNT, *(source.certificate_entry for source in sources)])
    from asgi_tls.renewal.acme.board import answer_by

    answer_by(storage)
    accounts = [ca.external_account for source in sources for ca in source.cas if ca.external_account is not None]
    return [*dict.fromkeys(notice for account in accounts for notice in account.warnings())]


def check_package() -> None:
    """Raises ConfigurationError where the extra is not installed."""
    if find_spec("acme") is None:
        raise ConfigurationError("ACME needs certbot's package acme", fix="Install it: `pip install 'asgi-tls[acme]'`.")


def _check_ca_file(ca: CA) -> None:
    if ca.ca_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca.ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = "it has no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"{{acme_ca_file}} is {ca.ca_file}, which cannot be used: {reason}",
            fix="Name a PEM file with the certificate of the CA that signs for the directory's URL.",
            settings=("acme_ca_file",),
        ) from None


def hand_over(sources: Sequence[ACME], uid: int, gid: int) -> None:
    """Before workers of another user start: an empty storage becomes theirs. Raises ConfigurationError for one with
    contents of somebody else's.
    """
    if os.name != "posix" or uid == os.geteuid():
        return
    directory = sources[0].storage.local
    inside = [directory, *directory.rglob("*")]
    if all(path.stat().st_uid == uid for path in inside):
        return
    if any(path.is_file() and path.stat().st_size for path in inside):
        raise ConfigurationError(
            f"the ACME storage {directory} belongs to another user than the workers (uid {uid})",
            fix=f"chown -R {uid}:{gid} {shlex.quote(str(directory))}",
            settings=("acme_storage",),
        )
    for path in inside:
        os.chown(path, uid, gid)


def keep_alive(
    sources: Sequence[ACME], reloader: Reloader, *, tell: Listener, loop: asyncio.AbstractEventLoop | None
) -> None:
    """Order and renew for as long as the reloader works."""
    from asgi_tls.renewal.acme.manager import Manager

    living = weakref.ref(reloader)

    def is_over() -> bool:
        found = living()
        return found is None or found.is_over

    def nudge() -> None:
        if (found := living()) is not None:
            found.nudge()

    Manager(sources, tell=in_loop(loop, tell), is_over=is_over, nudge=nudge).start()
