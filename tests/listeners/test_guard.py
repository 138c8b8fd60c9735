"""The guard on its own: what counts how much, who is blocked, for how long."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from typing import Any

import pytest
from patience import until

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import ClientErrorEvent, Event, GuardEvent, SessionEvent, SilentClientEvent
from asgi_tls.listeners import guard as module
from asgi_tls.listeners.counting import Shares, SlidingCounts
from asgi_tls.listeners.guard import HandshakeGuard, key_of

ONE, OTHER = "192.0.2.1", "198.51.100.1"


def failure(
    ip: str | None, code: str = "NO_SHARED_CIPHER", kind: type[ClientErrorEvent] = ClientErrorEvent
) -> ClientErrorEvent:
    return kind(ip=ip, port=1, code=code, msg="", alert=None, sni=None)


def success(ip: str) -> SessionEvent:
    return SessionEvent(
        ip=ip, port=1, protocol="TLSv1.3", cipher="", group=None, alpn=None, sni=None, resumed=False, duration_ms=1.0
    )


def started(guard: HandshakeGuard) -> list[GuardEvent]:
    told: list[GuardEvent] = []

    def tell(event: Event) -> None:
        assert isinstance(event, GuardEvent)
        told.append(event)

    guard.start(tell)
    return told


@pytest.mark.parametrize(
    ("code", "needed"),
    [("NO_SHARED_CIPHER", 5), ("WRONG_VERSION_NUMBER", 5), ("HANDSHAKE_TIMEOUT", 5), ("UNSUPPORTED_PROTOCOL", 20)],
)
def test_the_last_failure_that_is_allowed_blocks(code: str, needed: int) -> None:
    guard = HandshakeGuard(failures=5)
    told = started(guard)
    for _ in range(needed - 1):
        guard(failure(ONE, code))
        assert guard.admits(ONE)
    guard(failure(ONE, code))
    assert not guard.admits(ONE)
    assert guard.admits("192.0.2.2")
    assert [(event.ip, event.action) for event in told][:1] == [(ONE, "blocked")]
    assert told[0].failures == 5


FROM_BROWSERS: list[tuple[str, type[ClientErrorEvent]]] = [
    *((code, ClientErrorEvent) for code in (
        "UNRECOGNIZED_NAME",  # a link to another name with this address
        "HTTP_REQUEST",  # a link to http://host:443
        "STUN_REQUEST",  # RTCPeerConnection with a TURN server here
        "CONNECTION_CLOSED",  # fetch() that is aborted
        "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",  # the certificate is for another name
        "TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_UNSUPPORTED_EXTENSION", "TLSV1_UNRECOGNIZED_NAME",  # other alerts
        "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",  # of Firefox, to whom an OCSP response is stapled that has expired
        "UNKNOWN_ERROR",  # ech_required: the page's author publishes a key for ECH that this server lacks
        "PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED",  # the user has none, or an expired one
    )),
    ("NO_DATA", SilentClientEvent),
    ("HANDSHAKE_TIMEOUT", SilentClientEvent),  # <link rel=preconnect>
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), FROM_BROWSERS, ids=lambda value: getattr(value, "__name__", value))
def test_what_a_web_page_can_make_a_browser_do_blocks_nobody(code: str, kind: type[ClientErrorEvent]) -> None:
    guard = HandshakeGuard(failures=1)
    for _ in range(1000):
        guard(failure(ONE, code, kind))
    assert guard.admits(ONE)


def test_a_block_ends_and_tells_how_many_it_kept_out() -> None:
    guard = HandshakeGuard(failures=1, block=0.2)
    told = started(guard)
    guard(failure(ONE))
    refused = sum(not guard.admits(ONE) for _ in range(10))
    assert refused == 10
    until(lambda: guard.admits(ONE))
    assert told[0].action == "blocked"
    assert told[-1].action == "released"
    assert sum(event.connections for event in told) >= refused


def test_blocks_that_end_in_another_order_than_they_began() -> None:
    """As those of other servers do, whose settings may differ."""
    guard = HandshakeGuard(failures=1, block=0.1)
    started(guard)
    assert guard._live().take([(OTHER, 300.0)])  # what the fleet's thread calls
    for _ in range(2):
        guard(failure(ONE))
        assert not guard.admits(ONE)
        until(lambda: guard.admits(ONE))
    assert not guard.admits(OTHER)


def test_a_block_lasts_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    guard = HandshakeGuard(failures=1, block=300.0)
    told = started(guard)
    guard(failure(ONE))
    for now[0], admitted in ((1000.0, False), (1299.999, False), (1300.0, True)):
        assert guard.admits(ONE) is admitted
    assert [event.action for event in told] == ["blocked", "refused", "refused", "released"]
    assert sum(event.connections for event in told) == 2


def test_a_block_does_not_care_what_the_clock_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = HandshakeGuard(failures=2, block=0.2)
    started(guard)
    clock = time.time
    guard(failure(ONE))
    monkeypatch.setattr(time, "time", lambda: clock() + 86_400)
    guard(failure(ONE))
    monkeypatch.setattr(time, "time", clock)  # a day back
    assert not guard.admits(ONE)
    until(lambda: guard.admits(ONE))


def test_more_addresses_than_are_counted(recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]) -> None:
    guard = HandshakeGuard(failures=2)
    told = started(guard)
    for number in range(3 * module.MOST):
        guard(failure(address(number)))
    for _ in range(2):
        guard(failure(ONE))
    assert [(event.ip, event.action) for event in told] == [(ONE, "blocked")]
    assert not guard.admits(ONE)
    guard(failure(address(3 * module.MOST - 1)))  # the last ones are remembered
    assert not guard.admits(address(3 * module.MOST - 1))
    assert "Traceback" not in capfd.readouterr().err
    assert not recwarn.list
    assert not [thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_more_blocks_than_are_kept_end_those_that_would_end_first() -> None:
    guard = HandshakeGuard(failures=1)
    told = started(guard)
    for number in range(module.MOST + 1):
        guard(failure(address(number)))
    assert [(event.ip, event.action) for event in told[-2:]] == [
        (address(0), "released"),
        (address(module.MOST), "blocked"),
    ]
    assert guard.admits(address(0))
    assert not guard.admits(address(module.MOST))


def test_a_load_balancer_that_hides_its_clients_is_named_and_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    guard = HandshakeGuard(failures=5)
    told = started(guard)
    for _ in range(40):
        guard(success(ONE))
    for _ in range(50):
        guard(failure(ONE))
    assert guard.admits(ONE)
    assert told == []
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{ONE} is not blocked" in record.getMessage()
    assert f"--tls-guard-allow {ONE}" in record.getMessage()
    # Neither does a block of another server count here.
    assert not guard._live().take([(ONE, 300.0)])


def test_many_blocks_of_others_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    guard = HandshakeGuard(failures=5)
    told = started(guard)
    assert guard._live().take([(address(number), 300.0) for number in range(500)])
    assert told == []
    assert not guard.admits(address(499))
    assert [record.getMessage() for record in caplog.records] == [
        "500 addresses that other servers block are blocked here as well"
    ]


def test_an_address_of_many_is_blocked_though_it_had_successes() -> None:
    guard = HandshakeGuard(failures=5)
    started(guard)
    for number in range(200):
        guard(success(address(number)))
        if number % 10 == 0:
            guard(success(ONE))
    for _ in range(5):
        guard(failure(ONE))
    assert not guard.admits(ONE)


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
    guard(failure(OTHER))
    assert not guard.admits(OTHER)
    assert [event.ip for event in told][:1] == [OTHER]


def test_an_allowed_address_gets_in_where_its_network_is_blocked() -> None:
    guard = HandshakeGuard(failures=1, allow=["2001:db8::5"])
    told = started(guard)
    guard(failure("2001:db8::6"))
    assert not guard.admits("2001:db8::6")
    assert guard.admits("2001:db8::5")
    assert [(event.ip, event.action, event.connections) for event in told] == [
        ("2001:db8::/64", "blocked", 0),
        ("2001:db8::/64", "refused", 1),
    ]


def test_weights_are_the_users() -> None:
    guard = HandshakeGuard(failures=1, weights={"NO_SHARED_CIPHER": 0, "NO_DATA": 1})
    started(guard)
    for _ in range(50):
        guard(failure(ONE, "NO_SHARED_CIPHER"))
    assert guard.admits(ONE)
    guard(failure(ONE, "NO_DATA"))
    assert not guard.admits(ONE)


def test_it_travels_to_workers_without_its_counts_and_hides_its_password() -> None:
    guard = HandshakeGuard(failures=1, redis="redis://:secret@127.0.0.1:1/0")
    assert "secret" not in repr(guard)
    local = HandshakeGuard(failures=1)
    started(local)
    local(failure(ONE))
    copy = pickle.loads(pickle.dumps(local))
    assert copy == local
    assert copy.admits(ONE)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"failures": 0}, "must be finite and above 0"),
    ({"window": 0}, "must be finite and above 0"),
    ({"block": float("inf")}, "must be finite and above 0"),
    ({"weights": {"NO_DATA": -1}}, "a weight is negative"),
    ({"allow": ["nonsense"]}, "'nonsense' is not a valid address or network"),
]


@pytest.mark.parametrize(("how", "says"), BAD)
def test_settings_that_cannot_be(how: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        HandshakeGuard(**how)


BAD_URLS = [
    ("redis://:hunter2/x@127.0.0.1:6379/0", "has a /, \\? or # in its user name or password"),
    ("redis://:1234/hunter2@127.0.0.1:6379/0", "has a /"),
    ("redis://:1?hunter2@127.0.0.1:6379/0", "has a /"),
    ("redis://:1#hunter2@127.0.0.1:6379/0", "has a /"),
    ("redis://:hunter2@127.0.0.1:hunter2/0", "is not valid"),
    ("redis://:hunter2@127.0.0.1:99999/0", "is not valid"),
    ("redis://:[hunter2@127.0.0.1:6379/0", "is not valid"),
    ("redis://:hunter2@/0", "names no host"),
    ("redis://:hunter2@127.0.0.1/hunter2", "not the number of a database"),
    ("redis://:hunter2@127.0.0.1/0?hunter2=1", "is not valid"),
    ("redis://:hunter2@127.0.0.1/0?socket_timeout=hunter2", "is not valid"),
    ("http://:hunter2@127.0.0.1/", "is not valid"),
    ("unix://:hunter2@", "names no socket"),
    (":hunter2@127.0.0.1:6379", "is not valid"),
    ("", "is not valid"),
]


@pytest.mark.parametrize(("url", "says"), BAD_URLS)
def test_a_bad_redis_url_is_refused_at_once_and_never_repeated(url: str, says: str) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match=says) as caught:
        HandshakeGuard(redis=url)
    assert "ASGI_TLS_GUARD_REDIS" in str(caught.value)
    assert "%2F" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1", "rediss://user:p%2F%40@redis.example:6380/3", "unix:///run/redis.sock?db=1", "redis://[::1]:1/0"],
)  # fmt: skip
def test_good_redis_urls(url: str) -> None:
    assert HandshakeGuard(redis=url).redis == url


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


def test_counts_slide(clock: list[float]) -> None:
    counts = SlidingCounts(60.0, 2, lambda: clock[0])
    assert [counts.add("a", 1) for _ in range(3)] == [1, 2, 3]
    clock[0] += 75  # a quarter into the next window: three quarters of the last one count
    assert counts.add("a", 1) == 1 + 3 * 0.75
    clock[0] += 120
    assert counts.add("a", 1) == 1
    counts.add("b", 1)
    counts.add("c", 1)  # and the longest idle is forgotten
    assert counts.add("a", 1) == 1


def test_shares_find_who_is_frequent_among_very_many(clock: list[float]) -> None:
    shares = Shares(lambda: clock[0])
    for number in range(20_000):
        shares.add(str(number))
        if number % 3 == 0:
            shares.add("front")
    assert len(shares._counts) <= 64
    count, share = shares.of("front")
    assert 0.25 - 1 / 64 <= share <= 0.25
    assert shares.of("7") == (0.0, 0.0)
    clock[0] += 1800
    half, same = shares.of("front")
    assert half == count / 2
    assert same == pytest.approx(share)
    clock[0] += 10 * 1800
    assert shares.of("front")[0] < 10
