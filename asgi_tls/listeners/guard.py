"""HandshakeGuard: an address whose handshakes keep failing is closed at accept for a while, before any TLS work.

    ServerTLS(..., listeners=[log_events, HandshakeGuard(failures=20, window=60.0, block=300.0)])

Counting is the `limits` library's (`pip install 'asgi-tls[guard]'`). Each process counts for itself, in memory, and
acts on that. With Redis, a thread also adds every failure to a count that a whole fleet shares, and fetches the
fleet's blocks once a second: a Redis that is slow or gone never holds up a connection.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import ClientErrorEvent, Event, GuardEvent

logger = logging.getLogger("asgi_tls")

# What a client does that is out of date, misconfigured or on a bad line. The rest is what scanners do.
LIGHT: Final = 0.25
_LIGHT_CODES: Final = frozenset({"CONNECTION_CLOSED", "NO_DATA", "HTTP_REQUEST"})
_ALERT_FROM_CLIENT: Final = "_ALERT_"  # "TLSV1_ALERT_UNKNOWN_CA": OpenSSL's reasons for alerts that it received
_UNITS: Final = 4  # `limits` counts in whole numbers: a failure is this many

# Addresses that are counted, and blocked, at the same time. IPv6 is counted by /64, the least that one customer gets.
_MOST: Final = 10_000
_PREFIX: Final = 64
_REFUSED_EVERY: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class HandshakeGuard:
    """Blocks an address for `block` seconds after `failures` failed handshakes within `window` seconds.

    `allow` are addresses and networks that are never blocked ("10.0.0.0/8"): load balancers, monitoring. `weights` say
    how much of a failure a code of `tls_client_error` is; by default the client's own alerts, cut connections and plain
    HTTP are a quarter. `redis` is a URL.

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
            raise ConfigurationError(f"{self!r} never ends or never begins", fix="Give numbers above 0.")
        for text in self.allow:
            _network(text)
        for module in ("limits",) if self.redis is None else ("limits", "redis"):
            if importlib.util.find_spec(module) is None:
                raise ConfigurationError(
                    f"HandshakeGuard needs the package {module}", fix="pip install 'asgi-tls[guard,redis]'."
                )

    def start(self, tell: Callable[[Event], None], /) -> None:
        """Begin to count in this process."""
        self._live().tell = tell

    def __call__(self, event: Event, /) -> None:
        """Count a failure."""
        if isinstance(event, ClientErrorEvent) and event.ip is not None:
            self._live().failed(event.ip, event.code)

    def admits(self, ip: str, /) -> bool:
        """Whether this address is not blocked."""
        return self._live().admits(ip)

    def weight(self, code: str) -> float:
        """How much of a failure this code is."""
        light = code in _LIGHT_CODES or _ALERT_FROM_CLIENT in code
        return self.weights.get(code, LIGHT if light else 1.0)

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
    """The counts and blocks of one process."""

    def __init__(self, guard: HandshakeGuard) -> None:
        from limits import storage, strategies

        self.guard = guard
        self.tell: Callable[[Event], None] = _nobody
        self._allow = tuple(_network(text) for text in guard.allow)
        self._limit = limit_of(guard)
        self._storage = storage.MemoryStorage()
        self._counter = strategies.SlidingWindowCounterRateLimiter(self._storage)
        self._blocked: dict[str, float] = {}  # until when, the first to be released first
        self._refused: dict[str, int] = {}
        self._refused_told = 0.0
        self._lock = threading.Lock()  # the fleet's thread adds to the blocks
        self._fleet: Any = None
        if guard.redis is not None:
            from asgi_tls.listeners.fleet import Fleet

            self._fleet = Fleet(guard.redis, self._limit, guard.block, self.block)

    def admits(self, ip: str) -> bool:
        if not self._blocked:
            return True
        now = time.time()
        self._release(now)
        key = key_of(ip)
        if self._blocked.get(key, 0.0) <= now:
            return True
        self._refused[key] = self._refused.get(key, 0) + 1
        if now - self._refused_told > _REFUSED_EVERY:
            self._tell_refused(now)
        return False

    def failed(self, ip: str, code: str) -> None:
        cost = round(self.guard.weight(code) * _UNITS)
        key = key_of(ip)
        if not cost or key in self._blocked or self._is_allowed(ip):
            return
        if len(self._storage.expirations) > 2 * _MOST:
            self._storage.reset()
        if not self._counter.hit(self._limit, key, cost=cost):
            until = time.time() + self.guard.block
            self.block(key, until)
            if self._fleet is not None:
                self._fleet.block(key, until)
        elif self._fleet is not None:
            self._fleet.failed(key, cost)

    def block(self, key: str, until: float) -> None:
        """Keep an address out. Called from the loop, and from the fleet's thread."""
        address = key.partition("/")[0]
        with self._lock:
            if key in self._blocked or self._is_allowed(address):
                return
            if len(self._blocked) >= _MOST:
                del self._blocked[next(iter(self._blocked))]
            self._blocked[key] = until
        self._tell(key, "blocked")

    def _release(self, now: float) -> None:
        while True:
            with self._lock:
                key = next(iter(self._blocked), None)
                if key is None or self._blocked[key] > now:
                    return
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


def limit_of(guard: HandshakeGuard) -> Any:
    """The limit in the terms of `limits`: the unit that reaches `failures` is the first that does not fit."""
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(guard.failures * _UNITS - 1, max(1, round(guard.window)), namespace="asgi_tls")


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
            f"{text!r} is no address and no network", fix="Write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32."
        ) from None


def _nobody(_event: Event) -> None:
    pass
