"""HandshakeGuard: an address whose handshakes keep failing is closed at accept for a while, before any TLS work.

    ServerTLS(..., listeners=[log_events, HandshakeGuard(failures=20, window=60.0, block=300.0)])

Nothing that a web page can make its visitors' browsers do counts as a failure: the page's author would choose who is
blocked. Each process counts for itself, in memory, and acts on that. With Redis (`pip install 'asgi-tls[redis]'`), a
thread also adds every failure to a count that all servers share, and fetches their blocks once a second: a Redis that
is slow or gone never delays a connection.
"""

from __future__ import annotations

import heapq
import ipaddress
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import ClientErrorEvent, Event, GuardEvent, SessionEvent, SilentClientEvent
from asgi_tls.listeners.counting import Shares, SlidingCounts

logger = logging.getLogger("asgi_tls")

# What a page can make a browser do, by links, fetch(), preconnect, WebRTC, or by the user's own certificate.
_FROM_BROWSERS: Final = frozenset(
    {
        "CERTIFICATE_VERIFY_FAILED",
        "CONNECTION_CLOSED",
        "HTTPS_PROXY_REQUEST",
        "HTTP_REQUEST",
        "NO_APPLICATION_PROTOCOL",
        "NO_DATA",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "REFUSED",
        "STUN_REQUEST",
        "UNRECOGNIZED_NAME",
        # An alert that OpenSSL has no words for, as ech_required: a page's author can publish a key for Encrypted
        # Client Hello that this server does not have.
        "UNKNOWN_ERROR",
    }
)
# OpenSSL's reasons for alerts that it received: "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE".
_ALERTS_FROM_CLIENT: Final = ("SSLV3_ALERT_", "TLSV1_", "TLSV13_")
# What out-of-date clients do, and scanners as well.
_FROM_OLD_CLIENTS: Final = frozenset({"UNSUPPORTED_PROTOCOL"})
_LIGHT: Final = 0.25

# Addresses that are blocked, and twice as many that are counted. IPv6 goes by /64, the least that one customer gets.
MOST: Final = 10_000
_PREFIX: Final = 64
_REFUSED_EVERY: Final = 1.0
_TOLD_EACH: Final = 100  # blocks of others, at a start

# An address that so large a share of all handshakes comes from, and so many, is a load balancer's or a large network's:
# to block it would keep out more clients than attackers.
_SHARED: Final = 0.2
_ENOUGH: Final = 10
_SPARED_EVERY: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class HandshakeGuard:
    """Blocks an address for `block` seconds after `failures` failed handshakes within `window` seconds.

    `allow` are addresses and networks that are never blocked ("10.0.0.0/8"): load balancers, monitoring. An address
    that a fifth of all handshakes comes from is not blocked either, and a warning says so. `weights` say how much of a
    failure a code of `tls_client_error` is: by default 0 for what a web page can make a browser do, 0.25 for
    UNSUPPORTED_PROTOCOL, else 1. `redis` is a URL: "redis://:password@host:6379/0", "rediss://…", "unix:///path".

    Raises ConfigurationError.
    """

    failures: int = 20
    window: float = 60.0
    block: float = 300.0
    allow: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    redis: str | None = field(default=None, repr=False)  # it may hold a password

    def __post_init__(self) -> None:
        if self.failures < 1 or not all(0 < seconds < math.inf for seconds in (self.window, self.block)):
            raise ConfigurationError(
                f"{self!r}: failures, window and block must be finite and above 0", fix="Give 20, 60.0 and 300.0."
            )
        if not all(0 <= weight < math.inf for weight in self.weights.values()):
            raise ConfigurationError(
                f"{self!r}: a weight is negative or not finite", fix="Give 0 for a code that is to count nothing."
            )
        for text in self.allow:
            _network(text)
        if self.redis is not None:
            from asgi_tls.listeners.fleet import check_url

            check_url(self.redis)

    def start(self, tell: Callable[[Event], None], /) -> None:
        """Begin to count in this process."""
        self._live().tell = tell

    def __call__(self, event: Event, /) -> None:
        """Count a failure, or a handshake that succeeded."""
        if isinstance(event, SessionEvent) and event.ip is not None:
            self._live().succeeded(event.ip)
        elif isinstance(event, ClientErrorEvent) and event.ip is not None:
            weight = self.weight("NO_DATA" if isinstance(event, SilentClientEvent) else event.code)
            if weight:
                self._live().failed(event.ip, weight)

    def admits(self, ip: str, /) -> bool:
        """Whether this address is not blocked."""
        return self._live().admits(ip)

    def weight(self, code: str) -> float:
        """How much of a failure this code is."""
        if code in self.weights:
            return self.weights[code]
        if code in _FROM_BROWSERS or code.startswith(_ALERTS_FROM_CLIENT):
            return 0.0
        return _LIGHT if code in _FROM_OLD_CLIENTS else 1.0

    def _live(self) -> _Live:
        live: _Live | None = self.__dict__.get("_state")
        if live is None:
            live = _Live(self)
            object.__setattr__(self, "_state", live)
        return live

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Live:
    """The counts and blocks of one process. Threads share it: those of blocking servers, and the fleet's."""

    def __init__(self, guard: HandshakeGuard) -> None:
        self.guard = guard
        self.tell: Callable[[Event], None] = _nobody
        self._allow = tuple(_network(text) for text in guard.allow)
        self._failures = SlidingCounts(guard.window, 2 * MOST)
        self._successes = Shares()
        self._blocked: dict[str, float] = {}  # until when
        self._ends: list[tuple[float, str]] = []  # the same as a heap
        self._refused: dict[str, int] = {}
        self._refused_told = self._spared_told = -math.inf
        self._lock = threading.RLock()
        self._fleet: Any = None
        if guard.redis is not None:
            from asgi_tls.listeners.fleet import Fleet

            self._fleet = Fleet(guard.redis, guard.failures, guard.window, guard.block, self.take)

    def admits(self, ip: str) -> bool:
        if not self._blocked:
            return True
        key, now = key_of(ip), time.monotonic()
        with self._lock:
            self._release(now)
            if key not in self._blocked or self._is_allowed(ip):  # allowed by itself, in a network that is not
                return True
            self._refused[key] = self._refused.get(key, 0) + 1
            if now - self._refused_told > _REFUSED_EVERY:
                self._tell_refused(now)
            return False

    def succeeded(self, ip: str) -> None:
        with self._lock:
            self._successes.add(key_of(ip))

    def failed(self, ip: str, weight: float) -> None:
        key = key_of(ip)
        with self._lock:
            self._release(time.monotonic())
            if key in self._blocked or self._is_allowed(ip):
                return
            total = self._failures.add(key, weight)
        if total >= self.guard.failures:
            if self.take([(key, self.guard.block)]) and self._fleet is not None:
                self._fleet.block(key)
        elif self._fleet is not None:
            self._fleet.failed(key, weight)

    def take(self, blocks: Sequence[tuple[str, float]]) -> bool:
        """Block each of these addresses for so many seconds, and say whether there was one that may be blocked.

        Called from the fleet's thread, too.
        """
        taken = [key for key, seconds in blocks if self._block(key, seconds)]
        if len(taken) > _TOLD_EACH:
            logger.warning("%d addresses that other servers block are blocked here as well", len(taken))
        else:
            for key in taken:
                self._tell(key, "blocked")
        return bool(taken)

    def _block(self, key: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        with self._lock:
            if key in self._blocked or self._is_allowed(key.partition("/")[0]) or self._is_shared(key):
                return False
            self._failures.forget(key)
            if len(self._blocked) >= MOST:
                self._end_first()
            self._blocked[key] = until
            heapq.heappush(self._ends, (until, key))
            return True

    def _release(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._end_first()

    def _end_first(self) -> None:
        key = heapq.heappop(self._ends)[1]
        del self._blocked[key]
        self._tell(key, "released", self._refused.pop(key, 0))

    def _tell_refused(self, now: float) -> None:
        self._refused_told = now
        refused, self._refused = self._refused, {}
        for key, count in refused.items():
            self._tell(key, "refused", count)

    def _tell(self, key: str, action: Any, connections: int = 0) -> None:
        guard = self.guard
        self.tell(
            GuardEvent(ip=key, action=action, failures=guard.failures, window_s=guard.window, connections=connections)
        )

    def _is_allowed(self, ip: str) -> bool:
        if not self._allow:
            return False
        address = ipaddress.ip_address(ip)
        return any(address in network for network in self._allow)

    def _is_shared(self, key: str) -> bool:
        count, share = self._successes.of(key)
        if count < _ENOUGH or share < _SHARED:
            return False
        now = time.monotonic()
        if now - self._spared_told > _SPARED_EVERY:
            self._spared_told = now
            logger.warning(
                "%s is not blocked, though its handshakes keep failing: %.0f %% of all handshakes come from it, so it "
                "may be a load balancer that hides its clients. If it is, name it: --tls-guard-allow %s",
                key,
                100 * share,
                key,
            )
        return True


def key_of(ip: str) -> str:
    """What is counted: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in ip:
        return ip
    network = int(ipaddress.IPv6Address(ip)) >> (128 - _PREFIX) << (128 - _PREFIX)
    return f"{ipaddress.IPv6Address(network)}/{_PREFIX}"


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a valid address or network", fix="Write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32."
        ) from None


def _nobody(_event: Event) -> None:
    pass
