"""What is stored about the certificate of a source and the account with a CA, whatever became of it."""

from __future__ import annotations

import contextlib
import json

from asgi_tls.certificate import Certificate
from asgi_tls.files import DAMAGED
from asgi_tls.renewal.acme.account import stored_as
from asgi_tls.renewal.acme.ca import CA
from asgi_tls.renewal.acme.schedule import Record, about, from_json, to_json
from asgi_tls.renewal.acme.source import ACME
from asgi_tls.renewal.acme.storage import Fence, Storage


def read_record(source: ACME) -> Record:
    """Its record, as one about the certificate that is stored. What was copied there is not ordered before its time,
    and what is lost or damaged is.

    Raises OSError.
    """
    record = from_json(source.storage.load(source.record_entry))
    if _is_about(record, source.stored()):
        return record
    # This host's copy may be older than the storage; and it is what is left where a Redis has lost everything.
    found = source.read(source.storage.load(source.certificate_entry)) or source.stored()
    if found is None:
        return about(record, None, None)
    return about(record, found.not_before.timestamp(), found.not_after.timestamp())


def _is_about(record: Record, found: Certificate | None) -> bool:
    if found is None:
        return record.not_after is None
    return (record.not_before, record.not_after) == (found.not_before.timestamp(), found.not_after.timestamp())


def store_record(source: ACME, record: Record, fence: Fence) -> None:
    """Raises OSError and StaleFenceError."""
    source.storage.store(source.record_entry, to_json(record), fence)


def issuer_of(source: ACME, record: Record) -> CA | None:
    """Who issued the certificate, if it is one of the source's CAs."""
    return next((each for each in source.cas if each.url == record.ca), None)


def read_account(storage: Storage, ca: CA) -> str | None:
    """The URL of the account with this CA; None where none is known. Raises OSError."""
    data = storage.load(stored_as(ca.url))
    with contextlib.suppress(*DAMAGED):
        return str(json.loads(data or b"")["url"])
    return None


def store_account(storage: Storage, ca: CA, url: str, fence: Fence) -> None:
    """Raises OSError and StaleFenceError."""
    storage.store(stored_as(ca.url), json.dumps({"url": url}).encode("ascii"), fence)


def forget_account(storage: Storage, ca: CA, fence: Fence) -> None:
    """The CA does not know it any more. Raises OSError and StaleFenceError."""
    storage.delete(stored_as(ca.url), fence)
