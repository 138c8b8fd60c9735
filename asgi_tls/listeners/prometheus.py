"""Metrics for Prometheus (`pip install 'asgi-tls[prometheus]'`).

    ServerTLS(..., listeners=[log_events, PrometheusMetrics()])
    app.mount("/metrics", prometheus_client.make_asgi_app())

or, on a port of its own, `PrometheusMetrics(address="127.0.0.1:9464")`. With several workers, prometheus_client needs
the directory PROMETHEUS_MULTIPROC_DIR before it is imported; any worker then answers for all.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import math
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import (
    ACMEEvent,
    CertificateLoadedEvent,
    ClientErrorEvent,
    Event,
    GuardEvent,
    NamesRemovedEvent,
    ReloadFailedEvent,
    SessionEvent,
    StaplingEvent,
)
from asgi_tls.files import check_directory
from asgi_tls.hostnames import checked_authority
from asgi_tls.listeners import shared_metrics
from asgi_tls.listeners.shared_metrics import MULTIPROCESS

logger = logging.getLogger("asgi_tls")

# Label values come from OpenSSL and our own configuration, never from a peer; these bounds hold even so.
_MOST_CODES: Final = 64
_MOST_NAMES: Final = 256
_OTHER: Final = "other"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BIND_AGAIN: Final = 2.0
# How often another program must be found at the address: while a worker starts or ends there, nothing answers.
_FOREIGN: Final = 3
# Seconds, and bytes, for the answer of what listens at the address.
_PATIENCE: Final = 2.0
_MOST_BYTES: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class PrometheusMetrics:
    """Counts events in prometheus_client's default registry.

    `address` is "host:port" for an endpoint of its own, in plain HTTP: keep it on loopback or a private network.

    Raises ConfigurationError.
    """

    address: str | None = None

    def __post_init__(self) -> None:
        try:
            import prometheus_client  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "PrometheusMetrics needs the package prometheus_client",
                fix="Install it: `pip install 'asgi-tls[prometheus]'`.",
            ) from None
        if self.address is not None:
            parse_address(self.address)

    def start(self, _tell: Callable[[Event], None], /) -> None:
        """Make the metrics, and serve them where an address is given.

        Raises ConfigurationError for a directory of metrics that another user can write to, or this one cannot.
        """
        if directory := os.environ.get(MULTIPROCESS):
            try:
                check_directory(Path(directory))
                with tempfile.TemporaryFile(dir=directory):
                    pass
            except OSError as error:
                raise ConfigurationError(
                    f"{MULTIPROCESS}={directory}: {error.strerror}",
                    fix="Set it to a directory of this user's own (mkdir -m 0700), or leave it unset.",
                ) from None
        _metrics()
        if self.address is not None:
            _serve_once(self.address)

    def __call__(self, event: Event, /) -> None:
        """Count it."""
        _metrics().count(event)


class _Metrics:
    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        self._sessions: dict[tuple[str, str, str | None, bool], Any] = {}
        self._codes: set[str] = set()
        self._reload_codes: set[str] = set()  # of their own: clients choose how many of the others there are
        self._handshakes = Counter(
            "asgi_tls_handshakes", "Handshakes that succeeded.", ["protocol", "cipher", "group", "resumed"]
        )
        self._duration = Histogram(
            "asgi_tls_handshake_duration_seconds",
            "Seconds from the connection to the end of the handshake.",
            buckets=_BUCKETS,
        )
        self._failures = Counter("asgi_tls_handshake_failures", "Handshakes that failed, by reason.", ["code"])
        self._not_after = _ByName(
            "asgi_tls_certificate_not_after_timestamp_seconds",
            "Expiry of the certificate that is served for a name.",
            multiprocess_mode="livemostrecent",
        )
        self._loads = Counter("asgi_tls_certificate_loads", "Certificates loaded, including reloads.")
        self._reload_failures = Counter(
            "asgi_tls_reload_failures", "Files that could not be used, by reason.", ["code"]
        )
        self._staple = _ByName(
            "asgi_tls_staple_next_update_timestamp_seconds",
            "Expiry of the OCSP response that is stapled for a name; 0 without one.",
            multiprocess_mode="livemostrecent",
        )
        self._stapling = Counter("asgi_tls_stapling", "Requests for OCSP responses, by result.", ["status"])
        self._acme = Counter(
            "asgi_tls_acme", "Steps of ACME orders, by action and code of the failure.", ["action", "code"]
        )
        self._acme_success = _ByName(
            "asgi_tls_acme_success_timestamp_seconds",
            "When a certificate was last issued for a name.",
            multiprocess_mode="mostrecent",
        )
        self._acme_renewal = _ByName(
            "asgi_tls_acme_renewal_timestamp_seconds",
            "When the certificate for a name will be renewed; 0 if that is not known.",
            multiprocess_mode="mostrecent",
        )
        self._blocks = Counter("asgi_tls_guard_blocks", "Addresses that were blocked.")
        self._refused = Counter("asgi_tls_guard_refused_connections", "Connections closed because of a block.")

    def count(self, event: Event) -> None:
        if isinstance(event, SessionEvent):
            self._session(event)
        elif isinstance(event, ClientErrorEvent):
            self._failures.labels(_bounded(event.code, self._codes, _MOST_CODES)).inc()
        elif isinstance(event, CertificateLoadedEvent):
            self._loads.inc()
            self._not_after.set(event.source, event.subject_alt_names, event.not_after)
            self._staple.keep(event.source, event.subject_alt_names)
        elif isinstance(event, NamesRemovedEvent):
            self._not_after.remove(event.names)
            self._staple.remove(event.names)
        elif isinstance(event, ReloadFailedEvent):
            self._reload_failures.labels(_bounded(event.code, self._reload_codes, _MOST_CODES)).inc()
        elif isinstance(event, StaplingEvent):
            self._stapling.labels(event.status).inc()
            self._staple.set(event.source, event.subject_alt_names, event.next_update)
        elif isinstance(event, ACMEEvent):
            self._acme.labels(event.action, event.code or "").inc()
            order = ", ".join(event.names)
            self._acme_renewal.set(order, event.names, event.renew_at)
            if event.action == "obtained":
                self._acme_success.set(order, event.names, event.ts)
        elif isinstance(event, GuardEvent):
            self._refused.inc(event.connections)
            self._blocks.inc(event.action == "blocked")

    def _session(self, event: SessionEvent) -> None:
        key = (event.protocol, event.cipher, event.group, event.resumed)
        child = self._sessions.get(key)
        if child is None:
            resumed = "true" if event.resumed else "false"
            child = self._handshakes.labels(event.protocol, event.cipher, event.group or "unknown", resumed)
            self._sessions[key] = child
        child.inc()
        self._duration.observe(event.duration_ms / 1e3)


class _ByName:
    """A gauge of moments with a label for each name, from which names go that no source has any more.

    prometheus_client cannot remove a label from what several processes share. The newest value counts there, so it is
    set to NaN, which `AllWorkers` leaves out, and which PromQL's `min` and comparisons pass over.
    """

    def __init__(self, metric: str, text: str, *, multiprocess_mode: Literal["mostrecent", "livemostrecent"]) -> None:
        from prometheus_client import Gauge

        self._gauge = Gauge(metric, text, ["name"], multiprocess_mode=multiprocess_mode)
        self._lock = threading.Lock()
        self._sources: dict[str, tuple[frozenset[str], float]] = {}  # the last that said something is the last here
        self._names: set[str] = set()

    def set(self, source: str, names: tuple[str, ...], moment: datetime | None) -> None:
        """From now on the source has these names, with this moment."""
        value = 0.0 if moment is None else moment.timestamp()
        self.keep(source, names)
        with self._lock:
            before, _ = self._sources.pop(source, (frozenset[str](), value))
            self._sources[source] = before.union(names), value
            for name in names:
                self._set(name, value)

    def keep(self, source: str, names: tuple[str, ...]) -> None:
        """Of its names, the source has these still.

        With others alone it is another certificate: sources in memory all say the same of themselves.
        """
        with self._lock:
            before, value = self._sources.get(source, (frozenset[str](), 0.0))
            if names and before.isdisjoint(names):
                return
            self._sources[source] = before.intersection(names), value
            for name in before.difference(names):
                others = [value for held, value in self._sources.values() if name in held]
                if others:
                    self._set(name, others[-1])
                else:
                    self._remove(name)

    def remove(self, names: tuple[str, ...]) -> None:
        """No source has these any more."""
        with self._lock:
            left = {source: (held.difference(names), value) for source, (held, value) in self._sources.items()}
            self._sources = {source: of for source, of in left.items() if of[0]}
            for name in names:
                self._remove(name)

    def _set(self, name: str, value: float) -> None:
        if _bounded(name, self._names, _MOST_NAMES) != _OTHER:
            self._gauge.labels(name).set(value)

    def _remove(self, name: str) -> None:
        if name in self._names:
            self._names.remove(name)
            if MULTIPROCESS in os.environ:
                self._gauge.labels(name).set(math.nan)
            else:
                self._gauge.remove(name)


@functools.cache
def _metrics() -> _Metrics:
    shared_metrics.use_numbers()
    return _Metrics()


def _bounded(value: str, known: set[str], most: int) -> str:
    if value not in known:
        if len(known) >= most:
            return _OTHER
        known.add(value)
    return value


def parse_address(address: str) -> tuple[str, int]:
    """Read `HOST:PORT` or `:PORT`, which is that of this machine. Raises ConfigurationError."""
    return checked_authority("the metrics address", f"127.0.0.1{address}" if address.startswith(":") else address)


@functools.cache
def _serve_once(address: str) -> None:
    threading.Thread(target=_serve, args=parse_address(address), name="asgi_tls metrics", daemon=True).start()


def _serve(host: str, port: int) -> None:
    """Answer on this address, or take over from the worker that does when it ends."""
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

    registry = REGISTRY
    if MULTIPROCESS in os.environ:
        registry = CollectorRegistry()
        registry.register(shared_metrics.AllWorkers())
    tries, settled = 0, False  # settled: another worker answers there, or the problem is in the log
    while True:
        try:
            start_http_server(port, host, registry)
        except OSError as error:
            if not settled:
                tries += 1
                in_use = error.errno == errno.EADDRINUSE
                ours = in_use and are_served(host, port)
                settled = ours or not in_use or tries == _FOREIGN
                if settled and not ours:
                    logger.log(
                        logging.WARNING if in_use else logging.ERROR,
                        "cannot serve metrics on %s port %d: %s. Trying again every two seconds",
                        host,
                        port,
                        error.strerror,
                    )
            time.sleep(_BIND_AGAIN)
        else:
            return


def are_served(host: str, port: int) -> bool:
    """Whether a server of ours answers there with its metrics."""
    deadline, answer = time.monotonic() + _PATIENCE, b""
    with contextlib.suppress(OSError), socket.create_connection((host, port), _PATIENCE) as sock:
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        while time.monotonic() < deadline and len(answer) < _MOST_BYTES and (more := sock.recv(1 << 16)):
            answer += more
            if b"asgi_tls_" in answer:
                return True
    return False
