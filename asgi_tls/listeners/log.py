"""One log record for each event: in words, with the fields in `extra`."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime
from typing import Any, Final

from asgi_tls.events import (
    CertificateExpiringEvent,
    CertificateLoadedEvent,
    ClientErrorEvent,
    Event,
    ReloadFailedEvent,
    SessionEvent,
)

logger = logging.getLogger("asgi_tls")

_LEVELS: Final[dict[type[Event], int]] = {
    SessionEvent: logging.DEBUG,
    ClientErrorEvent: logging.INFO,
    CertificateLoadedEvent: logging.INFO,
    ReloadFailedEvent: logging.ERROR,
}

_WORDS: Final[dict[type[Event], str]] = {
    SessionEvent: "{ip} connected: {protocol}, {cipher}, {group}",
    ClientErrorEvent: "{ip} failed to connect: {code}: {msg}",
    CertificateLoadedEvent: "serving {source} for {subject_alt_names} until {not_after}",
    ReloadFailedEvent: "kept the old certificate: {msg}",
    CertificateExpiringEvent: "{source} expires on {not_after}: {days_left} days left",
}


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of an event as a log line has them: JSON's own types, times in ISO 8601."""
    fields = {"event": event.event}
    return fields | {name: _plain(value) for name, value in dataclasses.asdict(event).items()}


def log_events(event: Event, /) -> None:
    """The listener that every server has by default."""
    level = _level(event)
    if logger.isEnabledFor(level):
        fields = fields_of(event)
        words = _WORDS.get(type(event), "{event}").format_map({**fields, "subject_alt_names": _names(fields)})
        # In `extra` the field `msg` is called `reason`: logging keeps the name `msg` for itself.
        if "msg" in fields:
            fields["reason"] = fields.pop("msg")
        # A message of its own, without arguments: what a peer sent is data, never a format.
        logger.log(level, "%s", words, extra=fields)


def _level(event: Event) -> int:
    if isinstance(event, CertificateExpiringEvent):
        return logging.getLevelNamesMapping()[event.severity.upper()]
    return _LEVELS.get(type(event), logging.INFO)


def _names(fields: dict[str, Any]) -> str:
    return ", ".join(fields.get("subject_alt_names", ()))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return list(value) if isinstance(value, tuple) else value
