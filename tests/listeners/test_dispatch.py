"""How events reach listeners: in order, without stalling whoever tells them, and without harm from one that fails."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest

from asgi_tls.events import ClientErrorEvent, Event, SessionEvent, listening
from asgi_tls.listeners.dispatch import Dispatcher
from asgi_tls.listeners.log import JSONFormatter, log_events


def failure(number: int = 0, msg: str = "broken") -> ClientErrorEvent:
    return ClientErrorEvent(ip="192.0.2.1", port=number, code="NO_SHARED_CIPHER", msg=msg, alert=None, sni="a.example")


def test_a_slow_listener_does_not_hold_up_whoever_tells() -> None:
    go, seen = threading.Event(), []

    def slow(event: Event) -> None:
        go.wait(60)
        seen.append(event)

    dispatcher = Dispatcher([slow])
    told = [failure(number) for number in range(100)]
    for event in told:
        dispatcher.tell(event)
    assert not dispatcher.flush(0.1)
    assert seen == []
    go.set()
    assert dispatcher.flush(10)
    assert seen == told


def test_a_listener_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []

    def broken(_event: Event) -> None:
        raise RuntimeError("the listener is broken")

    dispatcher = Dispatcher([broken, seen.append])
    dispatcher.tell(failure())
    assert dispatcher.flush(10)
    assert len(seen) == 1
    assert "the listener is broken" in caplog.text


def test_a_flood_is_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    go, seen = threading.Event(), []

    def slow(event: Event) -> None:
        go.wait(10)
        seen.append(event)

    dispatcher = Dispatcher([slow])
    for number in range(15_000):
        dispatcher.tell(failure(number))
    go.set()
    assert dispatcher.flush(10)
    assert 10_000 <= len(seen) <= 10_100
    assert "events were dropped" in caplog.text


def test_json_is_one_object_a_line_whatever_the_peer_says() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("asgi_tls")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        log_events(failure(7, 'a\n"b"\x1b[31m'))
        logger.warning("in %s words", "plain")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("ts").endswith("Z")
    assert first == {
        "event": "tls_client_error", "ip": "192.0.2.1", "port": 7, "code": "NO_SHARED_CIPHER",
        "msg": 'a\n"b"\x1b[31m', "alert": None, "sni": "a.example",
    }  # fmt: skip
    assert second["event"] == "log"
    assert (second["level"], second["msg"]) == ("WARNING", "in plain words")


def test_an_application_hears_events_while_it_listens() -> None:
    dispatcher = Dispatcher([])
    seen: list[Event] = []
    assert not dispatcher.wants_sessions()
    dispatcher.tell(failure(0))
    with listening(seen.append):
        assert dispatcher.wants_sessions()
        with listening(seen.append):
            dispatcher.tell(failure(1))
            assert dispatcher.flush(10)
        assert seen == [seen[0], seen[0]]
        facts = {"protocol": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "group": None, "alpn": None, "sni": None}
        dispatcher.tell_session({"ip": "192.0.2.1", "port": 2, **facts, "resumed": False, "duration_ms": 1.0})
        assert dispatcher.flush(10)
    assert [event.port for event in seen if isinstance(event, SessionEvent | ClientErrorEvent)] == [1, 1, 2]
    assert not dispatcher.wants_sessions()
    dispatcher.tell(failure(3))
    assert dispatcher.flush(10)
    assert len(seen) == 3
