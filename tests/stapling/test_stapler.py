"""What clients get, whatever the responder does: a good response or none, and never a failed handshake."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from files import Files
from patience import until
from pki import Pair
from responder import HOUR, Responder, respond, signer
from staples import stapled

from asgi_tls import INTERMEDIATE, PEMFiles, ServerTLS
from asgi_tls.certificate import PEMData
from asgi_tls.certificate.by_name import Sources
from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import StaplingError
from asgi_tls.events import Event, StaplingEvent
from asgi_tls.stapling.entry import Entry

SECOND = timedelta(seconds=1)

_TLS12 = ssl.TLSVersion.TLSv1_2
_REVOKED, _UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
_TRY_LATER = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)


class Heard:
    """The events of stapling, as they come."""

    def __init__(self) -> None:
        self.events: list[StaplingEvent] = []
        self._came = threading.Condition()

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, StaplingEvent):
            with self._came:
                self.events.append(event)
                self._came.notify_all()

    def wait(self, count: int = 1, seconds: float = 20.0) -> StaplingEvent:
        """The last event, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= count, seconds), self.events
            return self.events[count - 1]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def source(pair: Pair) -> PEMData:
    return PEMData(pair.chain_pem, pair.key_pem)


def serve(heard: Heard, *pairs: Pair, **how: Any) -> ServerContext:
    return ServerTLS([source(pair) for pair in pairs], listeners=[heard], **how).create_server_context()


def test_a_good_response_is_stapled_in_both_versions(responder: Responder, heard: Heard) -> None:
    pair = responder.leaf()
    context = serve(heard, pair)
    event = heard.wait()
    assert (event.status, event.severity) == ("good", "info")
    assert event.next_update is not None
    assert event.subject_alt_names == ("localhost", "127.0.0.1")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        response = stapled(context.ssl_context, minimum=version, maximum=version)
        assert response is not None
        single = ocsp.load_der_ocsp_response(response)
        assert single.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert single.serial_number == pair.certificate.serial_number
    assert responder.requests == [pair.certificate.serial_number]


def test_each_of_two_certificates_gets_its_own(responder: Responder, heard: Heard) -> None:
    pairs = {"ECDSA": responder.leaf(), "RSA": responder.leaf(key="rsa")}
    context = serve(heard, *pairs.values())
    heard.wait(2)
    for kind, pair in pairs.items():
        response = stapled(context.ssl_context, maximum=_TLS12, ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")
        assert response is not None
        assert ocsp.load_der_ocsp_response(response).serial_number == pair.certificate.serial_number


def test_each_name_gets_its_own(responder: Responder, files: Files, heard: Heard) -> None:
    one, other = responder.leaf("one.example"), responder.leaf("two.example")
    sources: dict[str, Sources] = {"one.example": source(one), "two.example": source(other), "default": files.ecdsa}
    context = ServerTLS(sources, listeners=[heard]).create_server_context()
    heard.wait(2)
    for name, pair in (("one.example", one), ("two.example", other)):
        response = stapled(context.ssl_context, server_name=name)
        assert response is not None
        assert ocsp.load_der_ocsp_response(response).serial_number == pair.certificate.serial_number
    assert stapled(context.ssl_context, server_name="localhost") is None


def _redirect(responder: Responder, to: str) -> None:
    responder.status, responder.headers["Location"] = 307, to


def _set(**values: Any) -> Callable[[Responder], None]:
    return lambda responder: vars(responder).update(values)


# name -> (what is changed of the responder, status, what the event says)
TABLE: dict[str, tuple[Callable[[Responder], None], str, str]] = {
    "down": (Responder.stop, "unreachable", "does not answer"),
    "garbage": (_set(answer=lambda _: b"<html>garbage</html>"), "invalid", "cannot be parsed"),
    "empty": (_set(answer=lambda _: b""), "invalid", "cannot be parsed"),
    "expired": (_set(life=(-2 * HOUR, -HOUR)), "expired", "expired on"),
    "wrong certificate": (
        lambda r: setattr(r, "answer", lambda _: respond(r.leaf().certificate, r.pki.intermediate)),
        "invalid",
        "another certificate",
    ),
    "wrong signer": (lambda r: setattr(r, "answer", r.made(by=r.pki.root)), "invalid", "the issuer did not sign"),
    "revoked": (lambda r: setattr(r, "answer", r.made(status=_REVOKED)), "revoked", "has revoked"),
    "unknown": (lambda r: setattr(r, "answer", r.made(status=_UNKNOWN)), "unknown", "does not know"),
    "1 MiB": (_set(answer=lambda _: bytes(1 << 20)), "invalid", "more than 64 KiB"),
    "HTTP 500": (_set(status=500), "invalid", "HTTP status 500"),
    "tryLater": (_set(answer=lambda _: _TRY_LATER), "refused", "try_later"),
    "redirect to a file": (lambda r: _redirect(r, "file:///etc/passwd"), "invalid", "to another host"),
}


@pytest.mark.parametrize(("change", "status", "says"), TABLE.values(), ids=TABLE)
def test_a_bad_responder(
    responder: Responder, heard: Heard, change: Callable[[Responder], None], status: str, says: str
) -> None:
    pair = responder.leaf()
    change(responder)
    context = serve(heard, pair)
    event = heard.wait()
    assert (event.status, event.next_update) == (status, None)
    assert re.search(says, event.msg)
    assert event.severity == ("error" if status == "revoked" else "warning")
    assert stapled(context.ssl_context) is None
    assert stapled(context.ssl_context, maximum=_TLS12) is None


@pytest.mark.system
def test_a_good_response_outlives_a_bad_responder_but_not_a_revocation(files: Files) -> None:
    """The whole table at once, since each takes as long as its response lives."""
    with contextlib.ExitStack() as stack:
        rows: list[tuple[str, Heard, ServerContext, bytes]] = []
        for name, (change, _, _) in TABLE.items():
            responder, heard = stack.enter_context(Responder(files.pki)), Heard()
            responder.life = (-SECOND, 6 * SECOND)  # so it is asked for again after about three seconds
            context = serve(heard, responder.leaf())
            assert heard.wait().status == "good"
            first = stapled(context.ssl_context)
            assert first is not None
            change(responder)
            rows.append((name, heard, context, first))
        for name, heard, context, first in rows:
            event = heard.wait(2)
            assert event.status == TABLE[name][1]
            if name == "revoked":
                assert event.next_update is None
                assert stapled(context.ssl_context) is None
            else:
                assert event.next_update == heard.events[0].next_update
                assert stapled(context.ssl_context) in {first, None}  # None once its six seconds are over
        for name, heard, context, _ in rows:
            if name != "revoked":
                assert heard.wait(3).status == "expired"
                assert stapled(context.ssl_context) is None


def test_it_is_refreshed_in_the_second_half_of_its_life(responder: Responder, heard: Heard) -> None:
    pair = responder.leaf()
    responder.life = (-SECOND, 5 * SECOND)
    context = serve(heard, pair)
    heard.wait()
    first = stapled(context.ssl_context)
    second = heard.wait(2)
    assert second.status == "good"
    elapsed = second.ts - heard.events[0].ts
    assert timedelta(seconds=1) < elapsed < timedelta(seconds=5)
    assert first is not None
    assert stapled(context.ssl_context) not in {first, None}
    assert len(responder.requests) == 2


def test_what_is_past_its_end_is_not_served_even_if_nobody_refreshes(responder: Responder, heard: Heard) -> None:
    """The thread hangs in a fetch: the look at the clock is in the handshake itself."""
    pair = responder.leaf()
    responder.life = (-SECOND, 3 * SECOND)
    context = serve(heard, pair)
    heard.wait()
    hanging = threading.Event()
    responder.before = lambda _: hanging.wait(8)
    try:
        until(lambda: len(responder.requests) == 2)
        assert stapled(context.ssl_context) is not None
        until(lambda: stapled(context.ssl_context) is None)
        assert len(heard.events) == 1
    finally:
        hanging.set()


def test_the_first_client_after_a_start_with_a_warm_cache(responder: Responder, heard: Heard, cache: Path) -> None:
    pair = responder.leaf()
    serve(heard, pair)
    heard.wait()
    until(lambda: any(cache.glob("*.der")))
    responder.stop()
    again = Heard()
    context = serve(again, pair)
    assert stapled(context.ssl_context) is not None
    assert again.wait().status == "good"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()} == {0o600}


@pytest.mark.parametrize("damage", [b"", b"garbage", bytes(100_000)], ids=["empty", "garbage", "large"])
def test_a_damaged_cache_costs_a_fetch(responder: Responder, heard: Heard, cache: Path, damage: bytes) -> None:
    pair = responder.leaf()
    serve(heard, pair)
    heard.wait()
    until(lambda: any(cache.glob("*.der")))
    for path in cache.glob("*.der"):
        path.write_bytes(damage)
    for path in cache.glob("*.lock"):
        path.with_suffix(".json").write_bytes(damage)
    again = Heard()
    context = serve(again, pair)
    assert again.wait().status == "good"
    assert stapled(context.ssl_context) is not None
    assert len(responder.requests) == 2


def test_without_a_directory_to_write_responses_stay_in_memory(
    responder: Responder, heard: Heard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        context = serve(heard, responder.leaf())
        assert heard.wait().status == "good"
        assert stapled(context.ssl_context) is not None
    said = [record.getMessage() for record in caplog.records if "in memory only" in record.getMessage()]
    assert len(said) == 1
    assert "XDG_CACHE_HOME" in said[0]


def test_systemds_directory(
    responder: Responder, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", f"{tmp_path}/app:{tmp_path}/other")
    (tmp_path / "app").mkdir()
    serve(heard, responder.leaf())
    heard.wait()
    until(lambda: any((tmp_path / "app" / "ocsp").glob("*.der")))


def test_off_asks_nobody(responder: Responder, heard: Heard) -> None:
    context = serve(heard, responder.leaf(must_staple=True), stapling="off")
    assert stapled(context.ssl_context) is None
    assert responder.requests == []


@pytest.mark.parametrize("intermediate", [True, False])
def test_without_a_responder_or_an_issuer_there_is_nothing_to_do(
    files: Files, responder: Responder, heard: Heard, intermediate: bool
) -> None:
    pair = files.pki.leaf() if intermediate else responder.leaf().alone()
    context = serve(heard, pair)
    assert stapled(context.ssl_context) is None
    assert (heard.events, responder.requests) == ([], [])


@pytest.mark.parametrize("stapling", ["auto", "required"])
def test_the_first_client_of_a_certificate_that_must_be_stapled(
    responder: Responder, heard: Heard, stapling: str
) -> None:
    context = serve(heard, responder.leaf(must_staple=True), stapling=stapling)
    assert stapled(context.ssl_context) is not None
    assert [event.status for event in heard.events] == [] or heard.events[0].status == "good"


@pytest.mark.parametrize("named", [True, False])
def test_must_staple_without_a_response_is_an_error(
    files: Files, responder: Responder, heard: Heard, named: bool
) -> None:
    pair = responder.leaf(must_staple=True) if named else files.pki.leaf(must_staple=True)
    responder.stop()
    context = serve(heard, pair)
    event = heard.wait()
    assert (event.status, event.severity) == ("unreachable" if named else "unavailable", "error")
    assert "RFC 7633" in event.msg
    assert stapled(context.ssl_context) is None


@pytest.mark.parametrize(("change", "status", "says"), TABLE.values(), ids=TABLE)
def test_required_without_a_good_response(
    responder: Responder, heard: Heard, change: Callable[[Responder], None], status: str, says: str
) -> None:
    pair = responder.leaf()
    change(responder)
    with pytest.raises(StaplingError, match=says):
        serve(heard, pair, stapling="required")


def test_required_without_a_responder_or_an_issuer(files: Files, responder: Responder, heard: Heard) -> None:
    with pytest.raises(StaplingError, match="names no OCSP responder"):
        serve(heard, files.pki.leaf(), stapling="required")
    with pytest.raises(StaplingError, match="the file does not contain its issuer"):
        serve(heard, responder.leaf().alone(), stapling="required")


def test_required_is_asked_for_before_anything_listens(responder: Responder, heard: Heard) -> None:
    """By the check of the parent; a worker then finds the response on disk."""
    tls = ServerTLS(source(responder.leaf()), stapling="required", listeners=[heard])
    tls.check()
    responder.stop()
    assert stapled(tls.create_server_context().ssl_context) is not None
    assert len(responder.requests) == 1


def test_delegated(responder: Responder, heard: Heard) -> None:
    pair = responder.leaf()
    responder.answer = responder.made(by=signer(responder.pki))
    context = serve(heard, pair)
    heard.wait()
    assert stapled(context.ssl_context) is not None


def test_a_response_of_an_older_date_does_not_take_the_place_of_a_newer(responder: Responder, heard: Heard) -> None:
    pair = responder.leaf()
    responder.life = (-SECOND, 4 * SECOND)
    context = serve(heard, pair)
    heard.wait()
    newer = stapled(context.ssl_context)
    responder.life = (-HOUR, HOUR)
    until(lambda: len(responder.requests) == 2)
    time.sleep(0.3)  # nothing is to happen
    assert stapled(context.ssl_context) == newer
    assert len(heard.events) == 1
    again = Heard()
    assert stapled(serve(again, pair).ssl_context) == newer  # from disk


def test_an_older_response_on_disk_holds_up_no_refresh(responder: Responder, heard: Heard, cache: Path) -> None:
    pair = responder.leaf()
    responder.life = (-SECOND, 4 * SECOND)
    context = serve(heard, pair)
    heard.wait()
    until(lambda: any(cache.glob("*.der")))
    (stored,) = cache.glob("*.der")
    responder.life = (-HOUR, HOUR)
    stored.write_bytes(responder.good(pair.certificate.serial_number))
    responder.life = (-SECOND, HOUR)
    until(lambda: len(heard.events) == 2)
    assert len(responder.requests) == 2
    until(lambda: stapled(context.ssl_context) == stored.read_bytes())


def test_an_exception_in_the_callback_ends_no_handshake(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    def find(_: str) -> bytes | None:
        raise RuntimeError("broken")

    context = ServerContext(INTERMEDIATE, find_staple=find)
    context.use({"default": [files.ecdsa.load()]})
    assert stapled(context.ssl_context) is None
    assert "no OCSP response could be stapled" in caplog.text


_WITHOUT_LIBSSL = """
import sys, time, types
sys.implementation = types.SimpleNamespace(**{**vars(sys.implementation), "name": "another"})
from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.errors import StaplingError
from asgi_tls.events import StaplingEvent

def listen(event):
    if isinstance(event, StaplingEvent):
        print(event.status, event.severity, event.msg, flush=True)

source = PEMFiles(*sys.argv[1:])
context = ServerTLS(source, allow_unsupported=True, listeners=[listen]).create_server_context()
try:
    ServerTLS(source, allow_unsupported=True, stapling="required").check()
except StaplingError as error:
    print("refused:", error.problem, flush=True)
"""


def test_without_libssl(responder: Responder, tmp_path: Path) -> None:
    """Where libssl is linked statically: said by an event, and refused where stapling is required."""
    files = PEMFiles(*responder.leaf().write(tmp_path / "pair"))
    command = [sys.executable, "-c", _WITHOUT_LIBSSL, str(files.certfile), str(files.keyfile)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.count("unavailable warning libssl cannot be reached: another has another layout of SSL objects") == 1
    assert re.search("refused: .*libssl cannot be reached", said)
    assert responder.requests == []


def test_the_thread_ends_with_its_context(responder: Responder, heard: Heard) -> None:
    before = _threads()
    context = serve(heard, responder.leaf())
    heard.wait()
    (thread,) = _threads() - before
    del context
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.system  # it takes the five seconds after which a responder counts as silent
def test_a_parent_forgets_certificates_that_were_renewed(
    responder: Responder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It serves nothing, so no thread of it looks what is still served."""
    monkeypatch.setattr("asgi_tls.stapling.stapler._LOADING", 0.0)
    before = entries()
    tls = ServerTLS(PEMFiles(*responder.leaf().write(tmp_path)), reload_interval=0.02, listeners=[])
    tls.check()
    with caplog.at_level("INFO"):
        tls.follow()
        for number in range(1, 6):
            responder.leaf().write(tmp_path)
            until(partial(lambda count: caplog.text.count("renewed; workers that start later get it") >= count, number))
    assert entries() - before <= 1


def entries() -> int:
    gc.collect()
    return sum(isinstance(each, Entry) for each in gc.get_objects())


def test_a_responder_that_hangs_does_not_hold_up_the_others(files: Files, responder: Responder, heard: Heard) -> None:
    responder.before = lambda _: time.sleep(30)
    with Responder(files.pki) as quick:
        names = {f"{number}.example": source(responder.leaf(f"{number}.example")) for number in range(5)}
        names["quick.example"] = source(quick.leaf("quick.example"))
        started = time.monotonic()
        context = ServerTLS(names, listeners=[heard]).create_server_context()
        until(lambda: stapled(context.ssl_context, server_name="quick.example") is not None)
        assert time.monotonic() - started < 12  # and not 25
        until(lambda: "unreachable" in {event.status for event in heard.events})


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "asgi_tls-stapling"}


def test_processes_take_turns(responder: Responder, cache: Path, tmp_path: Path) -> None:
    """Many that start at once: one of them asks."""
    files = PEMFiles(*responder.leaf(must_staple=True).write(tmp_path / "pair"))
    responder.before = lambda _: time.sleep(0.5)
    script = (
        "import sys; from asgi_tls import PEMFiles, ServerTLS\n"
        "context = ServerTLS(PEMFiles(*sys.argv[1:])).create_server_context()\n"
        "print(context._find_staple(next(iter(context.certificates.values()))[0].fingerprint_sha256) is not None)"
    )
    command = [sys.executable, "-c", script, str(files.certfile), str(files.keyfile)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in running] == ["True\n"] * 4
    assert len(responder.requests) == 1
