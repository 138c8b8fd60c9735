"""ACME's storage in a real Redis: what the directory does, for several hosts."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from acme_servers import issuer, options, serial_of, settings_for, until_issued
from fake_ca import Answer, FakeCA
from launch import Launch
from namespace import alone
from patience import until
from pebble import NAME, pebble
from ports import free_ports
from redis import Redis
from redis_server import redis
from servers import APP_DIRECTORY, asgi_tls, run, serve
from storages import refuses, stores_the_last

from asgi_tls import ACME
from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.board import MIRROR_SECONDS
from asgi_tls.renewal.acme.manager import Manager
from asgi_tls.renewal.acme.redis import RedisStorage
from asgi_tls.renewal.acme.storage import StaleFenceError, Storage

pytestmark = pytest.mark.system


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[RedisStorage]:
    (port,) = free_ports(1)
    with redis(tmp_path, port, save="1 1"):
        yield RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")


def test_what_is_stored_is_listed_and_mirrored(storage: RedisStorage) -> None:
    assert isinstance(storage, Storage)
    fence = stores_the_last(storage)
    storage.store("challenges/b.json", b"{}", fence)
    assert storage.keys("challenges/") == ["challenges/b.json"]
    assert (storage.local / "certificates/a.pem").read_bytes() == b"two"
    assert (storage.local / "certificates/a.pem").stat().st_mode & 0o777 == 0o600
    storage.delete("challenges/b.json", fence)
    assert storage.keys("challenges/") == []
    with pytest.raises(ValueError, match="not a key"):
        storage.load("../account.pem")


def test_a_holder_that_hangs_is_replaced_and_cannot_write(storage: RedisStorage) -> None:
    hung = storage.lock("site", 1)
    assert hung is not None
    assert storage.lock("site", 60) is None
    storage.extend(hung, 1)
    until(lambda: storage.lock("site", 60) is not None)
    refuses(storage, hung)
    assert storage.load("account.pem") is None
    storage.unlock(hung)  # late: it takes nothing from the other one
    assert storage.lock("site", 60) is None


def test_a_client_that_is_paused_beyond_its_lease(tmp_path: Path) -> None:
    """The write waits in the socket of a stopped Redis, and arrives when another holder has the lock."""
    (port,) = free_ports(1)
    with redis(tmp_path, port, save="1 1") as server:
        storage = RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")
        held = storage.lock("site", 0.5)
        assert held is not None
        server.send_signal(signal.SIGSTOP)
        with pytest.raises(OSError, match="Redis"):
            storage.store("account.pem", b"late", held)
        server.send_signal(signal.SIGCONT)
        other = None
        deadline = time.monotonic() + 60
        while other is None and time.monotonic() < deadline:
            other = storage.lock("site", 60)
            time.sleep(0.05)
        assert other is not None
        storage.store("account.pem", b"other", other)
        with pytest.raises(StaleFenceError):
            storage.store("account.pem", b"late", held)
        assert storage.load("account.pem") == b"other"


def test_a_redis_that_is_not_there_and_no_secret_in_the_words(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    storage = RedisStorage(f"redis://:very-secret@127.0.0.1:{port}/0", directory=tmp_path / "mirror")
    with pytest.raises(ConfigurationError, match="cannot be used: Redis: ConnectionError") as caught:
        storage.check()
    assert "very-secret" not in str(caught.value) + repr(storage) + repr(caught.value.__cause__)
    with pytest.raises(ConfigurationError) as wrong:
        RedisStorage("redis://:very/secret@127.0.0.1/0")
    assert "very" not in str(wrong.value)


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ("~* +ping", "Redis: NoPermissionError"),
        ("~other:* +@read +@write +eval", "Redis: NoPermissionError"),
        ("~asgi_tls:acme:* +@read +@write", "Redis: NoPermissionError"),
        ("~asgi_tls:acme:* +@read +@write +eval", None),  # as the fix says
    ],
)
def test_a_redis_that_does_not_let_its_user_order(tmp_path: Path, rights: str, says: str | None) -> None:
    (port,) = free_ports(1)
    with redis(tmp_path, port), Redis(port=port) as admin:
        admin.execute_command("ACL", "SETUSER", "site", "on", ">very-secret", *rights.split())
        storage = RedisStorage(f"redis://site:very-secret@127.0.0.1:{port}/0", directory=tmp_path / "mirror")
        if says is None:
            storage.check()
            fence = storage.lock("site", 60)
            assert fence is not None
            storage.store("account.pem", b"key", fence)
            storage.delete("account.pem", fence)
            assert storage.load("account.pem") is None
            return
        with pytest.raises(ConfigurationError, match=says) as caught:
            storage.check()
        assert rights != "~* +ping" or "~asgi_tls:acme:* +@read +@write +eval" in caught.value.fix


def test_a_replica_is_refused_at_the_start(tmp_path: Path) -> None:
    port, source = free_ports(2)
    (tmp_path / "source").mkdir()
    with redis(tmp_path / "source", source), redis(tmp_path, port), Redis(port=port) as admin:
        admin.replicaof("127.0.0.1", source)
        storage = RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")
        with pytest.raises(ConfigurationError, match="Redis: ReadOnlyError"):
            storage.check()


class Asking(FakeCA):
    """It asks another host, which has what it mirrors from the storage."""

    def __init__(self, directory: Path, other: RedisStorage) -> None:
        super().__init__(directory)
        self.other = other
        self.known: list[bool] = []

    def _challenge(self, number: int, payload: Any) -> Answer:
        self.known.append((self.other.local / "account.pem").exists())
        return super()._challenge(number, payload)


def manager_of(ca: FakeCA, storage: RedisStorage) -> Manager:
    made = ACME(NAME, directory=ca.ca.url, ca_file=ca.ca_file, storage=storage, challenges=["http-01"])
    storage.check()
    return Manager([made], tell=lambda _: None, is_over=lambda: False, nudge=lambda: None)


def test_a_ca_asks_once_every_host_knows_the_new_account(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url, over = f"redis://127.0.0.1:{port}/0", threading.Event()
    with redis(tmp_path, port):
        one, two = (RedisStorage(url, directory=tmp_path / name) for name in ("one", "two"))

        def mirror() -> None:
            while not over.wait(1.5 * MIRROR_SECONDS):
                two.refresh(["account.pem"])

        ca = Asking(tmp_path, two)
        with ca:
            two.check()
            thread = threading.Thread(target=mirror)
            thread.start()
            try:
                manager_of(ca, one).order_now(force=False)
            finally:
                over.set()
                thread.join()
        assert ca.known == [True]


def test_a_redis_that_has_lost_everything_costs_no_order(tmp_path: Path) -> None:
    """As one without persistence that was started again."""
    (port,) = free_ports(1)
    with FakeCA(tmp_path) as ca:
        for _ in range(2):
            with redis(tmp_path, port):
                storage = RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")
                manager_of(ca, storage).order_now(force=False)
        assert ca.asked("new-order") == 1
    assert list((tmp_path / "mirror/certificates").glob("*.pem"))


class Interrupting(FakeCA):
    """Something happens while it is asked to validate."""

    def __init__(self, directory: Path, happens: Callable[[], None]) -> None:
        super().__init__(directory)
        self.happens = happens

    def _challenge(self, number: int, payload: Any) -> Answer:
        self.happens()
        return super()._challenge(number, payload)


def test_a_redis_that_is_stopped_and_started_in_an_order(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as running:
        running.enter_context(redis(tmp_path, port, save="1 1"))

        def restart() -> None:
            running.close()
            running.enter_context(redis(tmp_path, port, save="1 1"))

        with Interrupting(tmp_path, restart) as ca:
            storage = RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")
            for _ in range(2):  # the second time there is nothing to do
                manager_of(ca, storage).order_now(force=False)
            assert (ca.asked("new-order"), ca.asked("finalize"), ca.asked("certificate")) == (1, 1, 1)
        (key,) = [each for each in storage.keys("certificates/") if each.endswith(".pem")]
        assert storage.load(key) == (tmp_path / "mirror" / key).read_bytes()


def test_a_redis_that_stays_away_in_an_order(tmp_path: Path) -> None:
    """The order is given up before anything is issued. Another one follows once the lease is over."""
    (port,) = free_ports(1)
    with ExitStack() as running:
        running.enter_context(redis(tmp_path, port, save="1 1"))
        ca = Interrupting(tmp_path, running.close)
        with ca:
            storage = RedisStorage(f"redis://127.0.0.1:{port}/0", directory=tmp_path / "mirror")
            manager = manager_of(ca, storage)
            with pytest.raises(OSError, match="Redis"):
                manager.order_now(force=False)
            assert ca.asked("finalize") == 0
            running.enter_context(redis(tmp_path, port, save="1 1"))
            ca.happens = lambda: None
            client = Redis(port=port)
            client.delete(*client.keys(f"{storage.prefix}lock:*"))  # as if the lease were over
            manager.order_now(force=False)
            assert (ca.asked("new-order"), ca.asked("finalize"), ca.asked("certificate")) == (2, 1, 1)


def test_two_hosts_with_networks_of_their_own(tmp_path: Path) -> None:
    """Each orders once, and the CA can only ask the other one."""
    status, said = run(alone([sys.executable, str(APP_DIRECTORY / "two_hosts.py"), str(tmp_path)]))
    assert status == 0, said
    first, second = (json.loads(line) for line in said.splitlines()[-2:])
    assert (first["orders"], second["orders"]) == (1, 2)
    (one,) = first["issued"]
    assert first["served"] == [one, one]
    assert second["issued"][0] == one
    assert second["served"] == [second["issued"][1]] * 2


def test_two_hosts_order_once_and_both_answer(tmp_path: Path) -> None:
    """Two servers with directories of their own. The CA asks the second one, whoever orders."""
    (port,) = free_ports(1)
    ready, _ = Launch("uvicorn", "uvloop").readiness()
    with pebble(tmp_path) as ca, redis(tmp_path, port, save="1 1") as server:
        settings = settings_for(ca, Path("unused"), acme_storage=f"redis://127.0.0.1:{port}/0")
        first, second = Launch("uvicorn", "uvloop", 2), Launch("hypercorn", "asyncio")
        without = {name: value for name, value in settings.items() if name != "redirect_port"}
        ca.pause()  # it asks at the second one's port, so the first must not order before that listens
        with (
            serve(
                first.command(None, without), ready=ready, count=3, env={"ASGI_TLS_HOME": str(tmp_path / "one")}
            ) as one,
            serve(
                second.command(None, settings, port=ca.tls_port),
                ready="Running on https",
                env={"ASGI_TLS_HOME": str(tmp_path / "two")},
            ) as two,
        ):
            ca.go_on()
            for host in (one, two):
                until_issued(host.port, host)
            assert (ca.orders, len(ca.issued)) == (1, 1)
            # A third one orders: the CA asks the second, which knows the account and nothing of the order.
            serials = {serial_of(host.port) for host in (one, two)}
            command = asgi_tls("acme", "issue", "--force", "--tls-acme-challenge=http-01", *options(settings))
            status, said = run(command, env={"ASGI_TLS_HOME": str(tmp_path / "three")})
            assert status == 0, said
            until(lambda: serials.isdisjoint({serial_of(host.port) for host in (one, two)}), one)
            assert (ca.orders, len(ca.issued)) == (2, 2)
            # Redis goes: both serve on.
            server.send_signal(signal.SIGSTOP)
            assert "Pebble" in issuer(one.port)
            server.send_signal(signal.SIGCONT)
            assert "Traceback" not in one.text + two.text
    assert (tmp_path / "one/acme/redis/certificates").is_dir()
    assert (tmp_path / "two/acme/redis/certificates").is_dir()
