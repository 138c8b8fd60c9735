"""The guard on its own: what counts how much, who is blocked, for how long."""

from __future__ import annotations

import pickle
import time

import pytest

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import ClientErrorEvent, Event, GuardEvent
from asgi_tls.listeners.guard import HandshakeGuard, key_of


def failure(ip: str | None, code: str = "NO_SHARED_CIPHER") -> ClientErrorEvent:
    return ClientErrorEvent(ip=ip, port=1, code=code, msg="", alert=None, sni=None)


def started(guard: HandshakeGuard) -> list[GuardEvent]:
    told: list[GuardEvent] = []

    def tell(event: Event) -> None:
        assert isinstance(event, GuardEvent)
        told.append(event)

    guard.start(tell)
    return told


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("NO_SHARED_CIPHER", 5),
        ("HANDSHAKE_TIMEOUT", 5),
        ("TLSV1_ALERT_UNKNOWN_CA", 20),
        ("CONNECTION_CLOSED", 20),
        ("NO_DATA", 20),
        ("HTTP_REQUEST", 20),
    ],
)
def test_the_last_failure_that_is_allowed_blocks(code: str, needed: int) -> None:
    guard = HandshakeGuard(failures=5)
    told = started(guard)
    for _ in range(needed - 1):
        guard(failure("192.0.2.1", code))
        assert guard.admits("192.0.2.1")
    guard(failure("192.0.2.1", code))
    assert not guard.admits("192.0.2.1")
    assert guard.admits("192.0.2.2")
    assert [(event.ip, event.action) for event in told][:1] == [("192.0.2.1", "blocked")]
    assert told[0].failures == 5


def test_a_block_ends_and_tells_how_many_it_kept_out() -> None:
    guard = HandshakeGuard(failures=1, block=0.2)
    told = started(guard)
    guard(failure("192.0.2.1"))
    refused = sum(not guard.admits("192.0.2.1") for _ in range(10))
    assert refused == 10
    deadline = time.monotonic() + 5
    while not guard.admits("192.0.2.1"):
        assert time.monotonic() < deadline
    assert told[0].action == "blocked"
    assert told[-1].action == "released"
    assert sum(event.connections for event in told) >= refused


def test_ipv6_is_counted_by_network() -> None:
    guard = HandshakeGuard(failures=2)
    started(guard)
    guard(failure("2001:db8:1:2::1"))
    guard(failure("2001:db8:1:2:ffff::2"))
    assert not guard.admits("2001:db8:1:2:3::4")
    assert guard.admits("2001:db8:1:3::1")
    assert key_of("2001:db8:1:2::1") == "2001:db8:1:2::/64"


def test_what_is_allowed_is_never_blocked() -> None:
    guard = HandshakeGuard(failures=1, allow=["192.0.2.0/24", "2001:db8::/32"])
    told = started(guard)
    for ip in ("192.0.2.7", "2001:db8::1", None):
        guard(failure(ip))
    assert guard.admits("192.0.2.7")
    assert guard.admits("2001:db8::1")
    guard(failure("198.51.100.1"))
    assert not guard.admits("198.51.100.1")
    assert [event.ip for event in told][:1] == ["198.51.100.1"]


def test_weights_are_the_users() -> None:
    guard = HandshakeGuard(failures=1, weights={"HTTP_REQUEST": 0, "NO_DATA": 1})
    started(guard)
    for _ in range(50):
        guard(failure("192.0.2.1", "HTTP_REQUEST"))
    assert guard.admits("192.0.2.1")
    guard(failure("192.0.2.1", "NO_DATA"))
    assert not guard.admits("192.0.2.1")


def test_it_travels_to_workers_without_its_counts_and_hides_its_password() -> None:
    guard = HandshakeGuard(failures=1, redis="redis://:secret@127.0.0.1:1/0")
    assert "secret" not in repr(guard)
    local = HandshakeGuard(failures=1)
    started(local)
    local(failure("192.0.2.1"))
    copy = pickle.loads(pickle.dumps(local))
    assert copy == local
    assert copy.admits("192.0.2.1")


@pytest.mark.parametrize("how", [{"failures": 0}, {"window": 0}, {"block": float("inf")}, {"allow": ["nonsense"]}])
def test_settings_that_cannot_be(how: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        HandshakeGuard(**how)  # type: ignore[arg-type]
