"""One log record for each event: in words, with the fields in `extra`; and `JSONFormatter` for one object a line.

    handler.setFormatter(JSONFormatter())
    logging.getLogger("asgi_tls").addHandler(handler)

In `extra` the field `msg` is called `reason`, because logging keeps the name `msg` for itself.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from asgi_tls.errors import some
from asgi_tls.events import (
    ACMEEvent,
    CertificateExpiringEvent,
    CertificateLoadedEvent,
    ClientCAExpiringEvent,
    ClientErrorEvent,
    CRLExpiringEvent,
    Event,
    GuardEvent,
    NamesRemovedEvent,
    Notice,
    ReloadFailedEvent,
    SessionEvent,
    StaplingEvent,
)

logger = logging.getLogger("asgi_tls")


class _Kept:
    """`logging.config` disables each logger that it does not name, by default. The message that a renewal failed must
    not be lost that way. To switch this logger off, set its level.
    """

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None: ...


# An application may have set a class of its own for loggers.
logger.__class__ = type("Logger", (_Kept, type(logger)), {})

T = TypeVar("T")

_LEVELS: Final[dict[type[Event], int]] = {
    SessionEvent: logging.DEBUG,
    ClientErrorEvent: logging.INFO,
    CertificateLoadedEvent: logging.INFO,
    ReloadFailedEvent: logging.ERROR,
    GuardEvent: logging.WARNING,
}
# Load balancers check every few seconds whether a port is open.
_QUIET_CODES: Final = frozenset({"NO_DATA"})
# Names in one line: thousands of pairs may go at once.
_MANY: Final = 20

_WORDS: Final[dict[type[Event], str]] = {
    SessionEvent: "{ip} connected: {protocol}, {cipher}, {group}",
    ClientErrorEvent: "{ip} failed to connect: {code}: {msg}",
    CertificateLoadedEvent: "serving {source} for {subject_alt_names} until {not_after}",
    ReloadFailedEvent: "{outcome}: {msg} More: asgi-tls explain {code}",
    NamesRemovedEvent: "no longer served, because no certificate has these names any more: {names}",
    CertificateExpiringEvent: "{source} expires on {not_after}: {days_left} days left",
    ClientCAExpiringEvent: "{msg} More: asgi-tls explain tls-client-ca-expiring",
    CRLExpiringEvent: "{msg} More: asgi-tls explain tls-crl-expiring",
    StaplingEvent: "OCSP response for {source}: {status}: {msg}",
    ACMEEvent: "ACME for {names}: {msg}",
    GuardEvent: "{ip} is {action}: {failures:g} failed handshakes in {window_s:g} s, {connections} connections closed",
}
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of an event as in a log line: JSON's own types, times in ISO 8601."""
    return {"event": event.event} | {name: _plain(value) for name, value in vars(event).items()}


def log_events(event: Event, /) -> None:
    """Log the event: the listener that every server has by default."""
    level = _level(event)
    if logger.isEnabledFor(level):
        fields = fields_of(event)
        words = _of(_WORDS, event, "{event}").format_map(
            {**fields, "ip": fields.get("ip") or "a client", "outcome": _outcome(fields.get("kept")), **_listed(fields)}
        )
        # In `extra` the field `msg` is called `reason`: logging keeps the name `msg` for itself.
        if "msg" in fields:
            fields["reason"] = fields.pop("msg")
        # A message of its own, without arguments: what a peer sent is data, never a format.
        logger.log(level, "%s", words, extra=fields)


def log_notices(notices: Iterable[Notice]) -> None:
    """Log the warnings of a start, each once, with the code that `--tls-quiet` takes."""
    for notice in dict.fromkeys(notices):
        logger.warning("%s (%s)", notice, notice.code, extra={"notice": notice.code})


def _hears_sessions() -> bool:
    return logger.isEnabledFor(_LEVELS[SessionEvent])


# Called for each handshake, so that no record is made that nobody would see.
log_events.hears_sessions = _hears_sessions  # type: ignore[attr-defined]


def _level(event: Event) -> int:
    if (severity := getattr(event, "severity", None)) is not None:
        return logging.getLevelNamesMapping()[severity.upper()]
    if isinstance(event, ClientErrorEvent) and event.code in _QUIET_CODES:
        return logging.DEBUG
    if isinstance(event, GuardEvent) and event.action == "refused":
        return logging.DEBUG
    return _of(_LEVELS, event, logging.INFO)


class JSONFormatter(logging.Formatter):
    """One JSON object for each record: the fields of an event, or `event` "log" with `level` and `msg` for the rest."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. It contains no line break."""
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if "event" not in fields:
            moment = datetime.fromtimestamp(record.created, UTC)
            fields = {"event": "log", "ts": _plain(moment), "level": record.levelname, "msg": record.getMessage()}
            if record.exc_info:
                fields["traceback"] = self.formatException(record.exc_info)
        elif "reason" in fields:
            fields["msg"] = fields.pop("reason")
        return json.dumps(fields, default=str)


class JSONLog:
    """The listener of `--tls-log-json`: every event on stderr, sessions included, however `logging` is configured."""

    def start(self, _tell: Callable[[Event], None], /) -> None:
        """Configure the logger: its records go nowhere else."""
        if not any(isinstance(handler.formatter, JSONFormatter) for handler in logger.handlers):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(JSONFormatter())
            logger.handlers = [handler]
            logger.propagate = False
            logger.setLevel(logging.DEBUG)

    def __call__(self, event: Event, /) -> None:
        """Log it."""
        log_events(event)


def _of(table: Mapping[type[Event], T], event: Event, default: T) -> T:
    """What the table has for the kind of event, or for one that it is a kind of."""
    return next((table[kind] for kind in type(event).__mro__ if kind in table), default)


def _outcome(kept: str | None) -> str:
    return "nothing is served for the new pair" if kept is None else f"kept the old {kept}"


def _listed(fields: dict[str, Any]) -> dict[str, str]:
    """What is a list of names, as words."""
    return {name: some(fields[name], _MANY) for name in ("subject_alt_names", "names") if name in fields}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return list(value) if isinstance(value, tuple) else value
