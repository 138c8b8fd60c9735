"""What several servers know together of failing addresses, in Redis: one count, and one list of blocks.

Everything is done in a thread: the event loop only puts into a queue. When Redis is gone, the processes go on with what
each of them counts, and one line of the log says so.

Counts are keys that expire. Blocks are entries of a stream (Redis 5.0), so a server reads each of them once, by an id
that Redis makes: its clock says how old an entry is, and no jump of any clock brings one back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from asgi_tls.errors import ConfigurationError

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("asgi_tls")

OnBlocks = Callable[[Sequence[tuple[str, float]]], bool]

_BLOCKS: Final = "asgi_tls:blocks"
_MOST_BLOCKS: Final = 10_000
_POLL: Final = 1.0
_TIMEOUT: Final = 1.0
_RETRY: Final = 5.0
_WAITING: Final = 1000

_FIX: Final = (
    "Write redis://:PASSWORD@HOST:6379/0, rediss:// for TLS, or unix:///PATH. In the password write %2F for /, %3F for "
    "?, %23 for #, %40 for @ and %25 for %."
)
_NAMES: Final = "the guard's Redis URL (--tls-guard-redis, ASGI_TLS_GUARD_REDIS, redis= of HandshakeGuard)"


def check_url(url: str, names: str = _NAMES) -> None:
    """Refuse what is not a Redis URL, without connecting. Nothing of the URL is repeated: it may hold a password.

    `names` says what it is of. Raises ConfigurationError.
    """
    problem = _problem(url, names)
    if problem is not None:
        raise ConfigurationError(f"{names} {problem}", fix=_FIX)


def _problem(url: str, names: str) -> str | None:
    try:
        from redis import ConnectionPool
    except ImportError:
        raise ConfigurationError(
            f"{names} needs the package redis", fix="Install it: `pip install 'asgi-tls[redis]'`."
        ) from None
    try:
        parts = urlsplit(url)
        number = parts.path.strip("/")
        if parts.scheme in {"redis", "rediss"}:
            if "@" in parts.path + parts.query + parts.fragment:
                return "has a /, ? or # in its user name or password"
            if not parts.hostname:
                return "names no host"
            if number and not number.isdecimal():
                return "has a path that is not the number of a database"
        elif parts.scheme == "unix" and not number:
            return "names no socket"
        ConnectionPool.from_url(url).make_connection()  # checks the rest, and connects to nothing
    except Exception:  # noqa: BLE001 -- ValueError, TypeError, and what else redis raises; their texts quote the URL
        return "is not valid"
    return None


class Fleet:
    """The shared count in the Redis at `url`: `failures` within `window` seconds block an address for `block` seconds.

    `on_blocks` is called from the thread with addresses to block, each with the seconds that are left, and says whether
    it has blocked one. The thread ends with the object.
    """

    def __init__(self, url: str, failures: float, window: float, block: float, on_blocks: OnBlocks) -> None:
        self._failures, self._window, self._block = failures, window, block
        self._on_blocks = on_blocks
        self._work: queue.Queue[tuple[str, float]] = queue.Queue(_WAITING)
        self._url = url
        self._redis: Redis | None = None
        self._last = ""  # the id of the last entry that was read
        self._next_look = 0.0
        self._is_down = False
        threading.Thread(target=_run, args=(weakref.ref(self), self._work), name="asgi_tls fleet", daemon=True).start()

    def failed(self, key: str, weight: float) -> None:
        """Count a failure for everybody."""
        self._later(key, weight)

    def block(self, key: str) -> None:
        """Tell everybody that an address is blocked."""
        self._later(key, math.inf)

    def _later(self, key: str, weight: float) -> None:
        if not self._is_down:
            try:
                self._work.put_nowait((key, weight))
            except queue.Full:  # more failures than Redis takes: what this process counts is enough to act on
                return

    def turn(self, item: tuple[str, float] | None) -> float:
        """Do one thing that waits, if any, and look for new blocks if it is time. Returns when to come back at last."""
        try:
            if item is not None:
                self._send(*item)
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + _POLL
                self._fetch()
                if self._is_down:
                    self._is_down = False
                    logger.info("Redis answers again: failed handshakes are counted for all servers")
        except Exception as error:  # noqa: BLE001 -- redis raises many kinds, and none may end this
            self._fail(error)
        return self._next_look

    def _client(self) -> Redis:
        if self._redis is None:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            self._redis = Redis.from_url(
                self._url,
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            )
        return self._redis

    def _send(self, key: str, weight: float) -> None:
        if weight == math.inf:
            self._publish(key)
            return
        windows = time.time() / self._window
        now, before = (f"asgi_tls:failed:{key}:{int(windows) - back}" for back in (0, 1))
        with self._client().pipeline(transaction=False) as pipe:
            pipe.incrbyfloat(now, weight)
            pipe.expire(now, math.ceil(2 * self._window))
            pipe.get(before)
            current, _, earlier = pipe.execute()
        # What was counted in the window before is taken as spread evenly over it.
        if float(current) + float(earlier or 0) * (1 - windows % 1) >= self._failures:
            self._client().delete(now, before)
            if self._on_blocks([(key, self._block)]):
                self._publish(key)

    def _publish(self, key: str) -> None:
        with self._client().pipeline(transaction=False) as pipe:
            pipe.xadd(_BLOCKS, {"key": key, "seconds": self._block}, maxlen=_MOST_BLOCKS)
            pipe.expire(_BLOCKS, math.ceil(self._block))
            pipe.execute()

    def _fetch(self) -> None:
        """Take up the blocks that are new, or all that still count where none was read yet."""
        seconds, microseconds = self._client().time()
        now = seconds + microseconds / 1e6
        if not self._last:
            self._last = str(max(0, int((now - self._block) * 1000)))
        entries: Any = self._client().xrange(_BLOCKS, min=self._last, count=_MOST_BLOCKS)
        new = [(number, fields) for number, fields in entries if number != self._last]
        if new:
            self._last = new[-1][0]
            found = (_read(number, fields, now) for number, fields in new)
            self._on_blocks([(key, left) for key, left in found if 0 < left < math.inf])

    def _fail(self, error: Exception) -> None:
        self._next_look, self._last = time.monotonic() + _RETRY, ""
        while not self._work.empty():
            self._work.get_nowait()
        if not self._is_down:
            self._is_down = True
            logger.warning(
                "Redis does not answer, so each process counts failed handshakes for itself: %s", self._words(error)
            )

    def _words(self, error: Exception) -> str:
        """What may be said of it: a server may quote the command that it does not like, and so the password."""
        from redis import exceptions

        kind, text = type(error).__name__, str(error)
        secret = None if self._redis is None else self._redis.connection_pool.connection_kwargs.get("password")
        if (secret and secret in text) or not isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError)):
            return kind
        return f"{kind}: {text}"


def _read(number: str, fields: dict[str, str], now: float) -> tuple[str, float]:
    """The address of an entry, and for how many seconds more it is blocked: 0 where the entry is not one of ours."""
    try:
        key, seconds = str(ip_network(fields["key"])), float(fields["seconds"])
        age = now - int(number.partition("-")[0]) / 1000
    except (KeyError, ValueError):
        return "", 0.0
    return key.removesuffix("/32"), seconds - max(0.0, age)


def _run(owner: weakref.ref[Fleet], work: queue.Queue[tuple[str, float]]) -> None:
    back = 0.0
    while True:
        item = None
        with contextlib.suppress(queue.Empty):
            item = work.get(timeout=max(back - time.monotonic(), 0.01))
        fleet = owner()
        if fleet is None:
            return
        back = fleet.turn(item)
        del fleet
