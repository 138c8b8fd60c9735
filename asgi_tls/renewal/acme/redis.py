"""ACME's storage in a Redis, for several hosts behind one name (`pip install 'asgi-tls[acme,redis]'`).

Each host has what it serves in a directory of its own as well, and brings it up to date each second: no handshake waits
for Redis, and a Redis that is gone takes nothing away.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.listeners.fleet import check_url
from asgi_tls.renewal.acme.storage import (
    ACCOUNT,
    DirectoryStorage,
    Fence,
    StaleFenceError,
    checked_key,
    default_directory,
)

if TYPE_CHECKING:
    from redis import Redis

_NAMES: Final = "the Redis URL of the ACME storage (--tls-acme-storage, ASGI_TLS_ACME_STORAGE, storage= of ACME)"
_TIMEOUT: Final = 5.0
_LARGEST: Final = 1 << 20
_MOST_KEYS: Final = 10_000

# A script is one step for Redis. KEYS: the lock, the number of its last holder, what is written, and the set of all
# keys of that kind: a search through the whole of Redis would take long.
_LOCK: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local number = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], number, 'PX', ARGV[1])
return number
"""
_HELD: Final = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end\n"
_STORE: Final = _HELD + "redis.call('SET', KEYS[3], ARGV[2]) redis.call('SADD', KEYS[4], ARGV[3]) return 1"
_DELETE: Final = _HELD + "redis.call('DEL', KEYS[3]) redis.call('SREM', KEYS[4], ARGV[2]) return 1"
_EXTEND: Final = _HELD + "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
_UNLOCK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


@dataclass(frozen=True)
class RedisStorage:
    """The Redis at `url`, which must keep what it has: with persistence, and without an eviction of keys.

    Its keys begin with `prefix`. `directory` is this host's own, by default `redis` below the usual one. The account's
    key and the certificates' keys are in Redis: protect it by a password and TLS (`rediss://`).

    Raises ConfigurationError, which repeats nothing of the URL.
    """

    url: str = field(repr=False)
    prefix: str = "asgi_tls:acme:"
    directory: Path = field(default_factory=lambda: default_directory() / "redis")

    def __post_init__(self) -> None:
        check_url(self.url, _NAMES)
        object.__setattr__(self, "directory", Path(self.directory).absolute())

    def __str__(self) -> str:
        return f"in Redis, mirrored in {self.directory}"

    @property
    def local(self) -> Path:
        return self.directory

    def check(self) -> None:
        try:
            self._mirror.check()
        except ConfigurationError as error:
            raise ConfigurationError(
                error.problem,
                fix="Set ASGI_TLS_HOME to a directory that this user can write: it has a copy of what is served.",
            ) from None
        try:  # whatever an order needs: a replica, a cluster and a user with few rights answer PING
            self.refresh([ACCOUNT])
            self.keys("")
            if (fence := self.lock("check", 1.0)) is not None:
                self.unlock(fence)
        except OSError as error:
            raise ConfigurationError(
                f"the Redis of {{acme_storage}} cannot be used: {error.strerror}",
                fix="Check the host, the port and the password of the URL, that Redis runs and is not full, and that "
                "it is neither a replica nor a cluster. Its user needs EVAL, and all keys that begin with "
                f"{self.prefix}: in the rules of its ACL '~{self.prefix}* +@read +@write +eval'.",
                settings=("acme_storage",),
            ) from None

    def refresh(self, keys: Sequence[str]) -> None:
        with self._asking() as redis:
            found: Any = redis.mget([self._name(key) for key in keys])
        changed = {
            key: data
            for key, data in zip(keys, found, strict=True)
            if data is not None and len(data) <= _LARGEST and data != self._mirror.load(key)
        }
        if not changed or (fence := self._mirror.lock("mirror", 10.0)) is None:
            return  # another process of this host does it
        try:
            for key, data in changed.items():
                self._mirror.store(key, data, fence)
        except StaleFenceError:
            pass
        finally:
            self._mirror.unlock(fence)

    def load(self, key: str) -> bytes | None:
        with self._asking() as redis:
            found: Any = redis.get(self._name(key))
        return None if found is None or len(found) > _LARGEST else bytes(found)

    def keys(self, prefix: str) -> list[str]:
        with self._asking() as redis:
            found: Any = redis.sscan_iter(self._index(prefix), count=1000)
            names = [bytes(name).decode("utf-8", "replace") for name in itertools.islice(found, _MOST_KEYS)]
        return sorted(name for name in names if name.startswith(prefix))

    def store(self, key: str, data: bytes, fence: Fence) -> None:
        self._held(_STORE, fence, data, key, key=key)
        self.refresh([key])

    def delete(self, key: str, fence: Fence) -> None:
        self._held(_DELETE, fence, key, key=key)

    def lock(self, name: str, lease: float) -> Fence | None:
        with self._asking() as redis:
            number: Any = redis.eval(_LOCK, 2, *self._lock_names(name), int(lease * 1000))
        return None if number is None else Fence(name, int(number))

    def extend(self, fence: Fence, lease: float) -> None:
        self._held(_EXTEND, fence, int(lease * 1000))

    def unlock(self, fence: Fence) -> None:
        with self._asking() as redis:
            redis.eval(_UNLOCK, 2, *self._lock_names(fence.name), fence.number)

    def _held(self, script: str, fence: Fence, *values: Any, key: str | None = None) -> None:
        names = [*self._lock_names(fence.name), *([] if key is None else [self._name(key), self._index(key)])]
        with self._asking() as redis:
            done: Any = redis.eval(script, len(names), *names, fence.number, *values)
        if done is None:
            raise StaleFenceError(fence.name)

    def _lock_names(self, name: str) -> tuple[str, str]:
        return f"{self.prefix}lock:{name}", f"{self.prefix}fence:{name}"

    def _index(self, key: str) -> str:
        return f"{self.prefix}index:{key.rpartition('/')[0]}"

    def _name(self, key: str) -> str:
        return self.prefix + checked_key(key)

    @functools.cached_property
    def _mirror(self) -> DirectoryStorage:
        return DirectoryStorage(self.directory)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Redis]:
        """The client of this process. What goes wrong is an OSError, whose text has nothing of the URL."""
        from redis import RedisError

        try:
            yield _client(self.url, os.getpid())
        except RedisError as error:
            raise OSError(errno.EIO, f"Redis: {type(error).__name__}") from None


@functools.lru_cache(maxsize=8)
def _client(url: str, _pid: int) -> Redis:
    """One for each process: a connection must not be shared by a fork."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0))
