"""What is stored about the certificate of a source, whatever became of it."""

from __future__ import annotations

from asgi_tls.renewal.acme.schedule import Record, from_json, recovered
from asgi_tls.renewal.acme.source import ACME


def read_record(source: ACME) -> Record:
    """Its record. A certificate whose record is lost, or that was copied there, is not ordered again before its time.

    Raises OSError.
    """
    record = from_json(source.storage.load(f"certificates/{source.identifier}.json"))
    if record == Record() and (found := source.stored()) is not None:
        return recovered(found.not_before.timestamp(), found.not_after.timestamp())
    return record
