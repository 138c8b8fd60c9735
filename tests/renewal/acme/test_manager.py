"""Who orders when, in one process after another with the same storage, against a CA that says what a test wants."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from fake_ca import Answer, FakeCA, page, refused, token_of
from patience import until

from asgi_tls import ACME
from asgi_tls.certificate.challenges import challenges
from asgi_tls.events import ACMEEvent
from asgi_tls.renewal.acme.account import thumbprint
from asgi_tls.renewal.acme.agent import Presented
from asgi_tls.renewal.acme.board import Board
from asgi_tls.renewal.acme.dns import DNSCommand
from asgi_tls.renewal.acme.manager import Manager
from asgi_tls.renewal.acme.storage import DirectoryStorage, holding
from asgi_tls.renewal.acme.validation import challenge_pair

NAME = "www.example.test"


class Process:
    """One process's work: it orders at once what is due, and its thread looks until the test is over."""

    def __init__(self, source: ACME) -> None:
        self.source = source
        self.events: list[ACMEEvent] = []
        self.is_over = False
        self.beat: Callable[[], object] = lambda: None
        source.storage.check()
        self.manager = Manager([source], tell=self._tell, is_over=self._is_over, nudge=lambda: None)

    def _is_over(self) -> bool:
        self.beat()
        return self.is_over

    def _tell(self, event: Any) -> None:
        self.events.append(event)

    def order(self) -> list[tuple[str, str | None]]:
        self.events.clear()
        self.manager.order_now(force=False)
        return [(each.action, each.code) for each in self.events]


OBTAINED = [("obtaining", None), ("obtained", None)]


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[FakeCA]:
    with FakeCA(tmp_path) as started:
        yield started


def source(ca: FakeCA, tmp_path: Path, **more: Any) -> ACME:
    return ACME(
        NAME, directory=ca.ca.url, ca_file=ca.ca_file, storage=tmp_path / "storage", challenges=["http-01"], **more
    )


def test_a_certificate_that_is_lost_or_damaged_is_ordered_again_but_not_in_a_loop(ca: FakeCA, tmp_path: Path) -> None:
    made = source(ca, tmp_path)
    process = Process(made)
    assert process.order() == OBTAINED
    assert process.order() == []
    record = made.storage.local / made.record_entry
    for harm in (made.path.unlink, lambda: made.path.write_bytes(made.path.read_bytes()[:300])):
        harm()
        assert process.order() == []  # not a moment after the last one
        values = json.loads(record.read_text())
        record.write_text(json.dumps({**values, "issued": [at - 3600 for at in values["issued"]]}))
        assert process.order() == OBTAINED
        assert made.stored() is not None
    assert ca.asked("new-order") == 3


def test_who_changes_the_settings_does_not_wait_for_the_pause_of_the_wrong_ones(ca: FakeCA, tmp_path: Path) -> None:
    ca.always["new-order"] = refused("rejectedIdentifier", 403, detail="Not here.")
    failed = [("obtaining", None), ("failed", "acme-rejected")]
    assert Process(source(ca, tmp_path)).order() == failed
    same, other = Process(source(ca, tmp_path)), Process(source(ca, tmp_path, contact="me@example.test"))
    assert same.order() == []
    assert other.order() == failed
    assert (other.order(), same.order()) == ([], failed)  # each start once
    del ca.always["new-order"]
    assert Process(source(ca, tmp_path, contact="you@example.test")).order() == OBTAINED


HOUR = 3600.0
IN_TWO_HOURS = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)


@pytest.mark.parametrize(
    ("route", "answer", "code", "pause"),
    [
        ("new-order", refused("rateLimited", 429, retry_after="7200"), "acme-rate-limited", 2 * HOUR),
        ("new-order", refused("rateLimited", 429, retry_after=IN_TWO_HOURS), "acme-rate-limited", 2 * HOUR),
        ("new-order", page(502), "acme-unavailable", 60.0),
        ("finalize", refused("caa", 403), "acme-caa", 6 * HOUR),
    ],
)
def test_a_refusal_is_kept_with_its_pause(
    ca: FakeCA, tmp_path: Path, route: str, answer: Answer, code: str, pause: float
) -> None:
    ca.always[route] = answer
    process = Process(source(ca, tmp_path))
    assert process.order() == [("obtaining", None), ("failed", code)]
    again_at = process.events[-1].again_at
    assert again_at is not None
    assert (again_at - datetime.now(UTC)).total_seconds() == pytest.approx(pause, rel=0.25)
    assert process.order() == Process(source(ca, tmp_path)).order() == []
    assert ca.asked("new-order") == 1


@pytest.mark.parametrize("hours", [-12, 12])
def test_a_clock_that_is_off_leads_to_one_order_once_it_is_right(ca: FakeCA, tmp_path: Path, hours: int) -> None:
    ca.clock = timedelta(hours=hours)
    assert Process(source(ca, tmp_path)).order() == [("obtaining", None), ("failed", "acme-clock")]
    assert ca.asked("new-order") == 0
    ca.clock = timedelta()
    over(source(ca, tmp_path))
    process = Process(source(ca, tmp_path))
    assert process.order() == OBTAINED
    assert process.order() == Process(source(ca, tmp_path)).order() == []
    assert ca.asked("new-order") == 1


def test_a_certificate_that_is_not_valid_yet_by_our_clock_is_not_ordered_again(ca: FakeCA, tmp_path: Path) -> None:
    """Of a CA that says nothing of its own clock."""
    ca.pki.now += timedelta(days=2)
    process = Process(source(ca, tmp_path))
    assert process.order() == OBTAINED
    assert process.order() == Process(source(ca, tmp_path)).order() == []
    assert [each.code for each in process.source.load().warnings] == ["acme-expired"]


def over(made: ACME) -> None:
    """As if the pause behind the last failure were over."""
    record = made.storage.local / made.record_entry
    record.write_text(json.dumps({**json.loads(record.read_text()), "again_at": 0}))


def test_after_three_failures_the_fallback_issues_and_is_the_one_that_is_asked_about_it(
    ca: FakeCA, tmp_path: Path
) -> None:
    ca.always["directory"] = page(503)
    with FakeCA(tmp_path / "fallback") as other:
        made = source(ca, tmp_path, fallback=[replace(other.ca, name="the other")])
        process = Process(made)
        for _ in range(3):
            assert process.order() == [("obtaining", None), ("failed", "acme-unavailable")]
            over(made)
        assert process.order() == OBTAINED
        assert {each.directory for each in process.events} == {"the other"}
        process.manager.start()
        try:
            until(lambda: other.asked("renewal-info"))
        finally:
            process.is_over = True
        assert (ca.asked("new-order"), other.asked("new-order")) == (0, 1)


def test_one_of_several_sources_that_fails_keeps_no_other_from_its_certificate(ca: FakeCA, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"directory": ca.ca.url, "ca_file": ca.ca_file, "storage": tmp_path / "storage"}
    settings["challenges"] = ["http-01"]
    several = [ACME(name, **settings) for name in ("a.test", "b.test", "c.test")]
    several.append(ACME("c.test", key="rsa", **settings))
    several[0].storage.check()
    ca.say("new-order", refused("rejectedIdentifier", 403))
    Manager(several, tell=lambda _: None, is_over=lambda: False, nudge=lambda: None).order_now(force=False)
    assert [None if (one := each.stored()) is None else one.key_type for each in several] == [
        None, "ECDSA P-256", "ECDSA P-256", "RSA 2048",
    ]  # fmt: skip


class Looking(FakeCA):
    """It looks by tls-alpn-01 for what the servers of this storage answer."""

    def __init__(self, directory: Path, storage: DirectoryStorage) -> None:
        super().__init__(directory)
        self.storage = storage
        self.found: list[bool] = []

    def _challenge(self, number: int, payload: Any) -> Answer:
        (key,) = self.storage.keys("challenges/") or ("challenges/none",)
        if (data := self.storage.load(key)) is None:
            self.found.append(False)
            return refused("tls", 400)
        answer = x509.load_pem_x509_certificate(json.loads(data)["certificate"].encode())
        proof = answer.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")).value
        expected = f"{token_of(number)}.{thumbprint(self.storage.load('account.pem') or b'')}"
        assert isinstance(proof, x509.UnrecognizedExtension)
        self.found.append(proof.value[2:] == hashlib.sha256(expected.encode()).digest())
        return super()._challenge(number, payload)


def test_two_orders_for_one_name_do_not_take_each_others_answer_down(tmp_path: Path) -> None:
    """An ECDSA and an RSA certificate, ordered by two workers: for a name there is one answer at a time."""
    storage = DirectoryStorage(tmp_path / "storage")
    storage.check()
    ca = Looking(tmp_path, storage)
    with ca:
        settings: dict[str, Any] = {"directory": ca.ca.url, "ca_file": ca.ca_file, "storage": storage}
        both = [ACME(NAME, **settings), ACME(NAME, "other.test", key="rsa", **settings)]

        def work(made: ACME) -> None:
            manager = Manager([made], tell=lambda _: None, is_over=lambda: False, nudge=lambda: None)
            until(lambda: (manager.order_now(force=False), made.stored())[1])  # type: ignore[func-returns-value]

        with ThreadPoolExecutor() as workers:
            list(workers.map(work, both))
        assert ca.found == [True, True]


SERVES = """
import sys
from pathlib import Path
from asgi_tls import ACME
from asgi_tls.renewal.acme.manager import Manager
source = ACME("www.example.test", directory=sys.argv[1], ca_file=sys.argv[2], storage=sys.argv[3])
source.storage.check()
Manager([source], tell=print, is_over=lambda: False, nudge=lambda: None).order_now(force=False)
assert source.stored()
print(*{"acme", "josepy", "requests", "urllib3", "http.client"} & sys.modules.keys())
"""


def test_who_orders_imports_no_client(ca: FakeCA, tmp_path: Path) -> None:
    """Which takes most of a second: the event loop of the same process would stand still."""
    command = [sys.executable, "-P", "-c", SERVES, ca.ca.url, str(ca.ca_file), str(tmp_path / "storage")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == ""


ENDS = """
import sys, threading
from asgi_tls import ACME
from asgi_tls.renewal.acme import manager
from asgi_tls.renewal.acme.storage import DirectoryStorage
looked = threading.Event()
class Storage(DirectoryStorage):
    def refresh(self, keys):
        threading.main_thread().join()
        raise RuntimeError("can't register atexit after shutdown")
source = ACME("www.example.test", storage=Storage(sys.argv[1]))
manager.Manager([source], tell=print, is_over=looked.set, nudge=lambda: None).start()
(worker,) = (each for each in threading.enumerate() if each.name == "asgi_tls-acme")
def hold():
    while worker.is_alive() and not looked.wait(0.01):
        pass
threading.Thread(target=hold).start()
"""


def test_a_process_that_ends_reports_no_error(tmp_path: Path) -> None:
    """What a thread first imports while the interpreter ends fails, as redis did."""
    command = [sys.executable, "-P", "-c", ENDS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_each_process_says_once_when_the_next_renewal_is(
    ca: FakeCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that did not order: its metrics and its page would not know."""
    monkeypatch.setattr(challenges, "is_served", True)  # as in a server
    Process(source(ca, tmp_path)).order()
    process = Process(source(ca, tmp_path))
    process.manager.start()
    try:
        until(lambda: ca.asked("renewal-info"))
        until(lambda: len(process.events) > 1)
    finally:
        process.is_over = True
    assert [each.action for each in process.events] == ["scheduled", "scheduled"]
    assert "is planned for" in process.events[0].msg
    assert "wants it to be replaced at" in process.events[1].msg
    assert process.events[1].msg.endswith("; its reasons: https://ca.example/incident")
    assert all(each.renew_at is not None for each in process.events)


def test_a_server_that_waits_says_for_what(ca: FakeCA, tmp_path: Path) -> None:
    ca.say("new-order", refused("rejectedIdentifier", 403, detail="Not here."))
    Process(source(ca, tmp_path)).order()
    process = Process(source(ca, tmp_path))
    process.manager.start()
    try:
        until(lambda: process.events)
    finally:
        process.is_over = True
    (event,) = process.events
    assert (event.action, event.severity) == ("blocked", "warning")
    assert "Not here" in event.msg
    assert "--force" in event.msg
    assert event.again_at is not None


def test_each_time_that_the_storage_is_gone_is_told_and_that_it_is_back(
    ca: FakeCA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = source(ca, tmp_path)
    process = Process(made)
    assert process.order() == OBTAINED
    caplog.set_level("INFO", "asgi_tls")
    entry = made.storage.local / made.record_entry
    process.manager.start()
    try:
        for times in (1, 2):
            entry.rename(tmp_path / "away")
            entry.mkdir()
            until(lambda times=times: caplog.text.count("cannot be used: [Errno") == times)  # type: ignore[misc]
            entry.rmdir()
            (tmp_path / "away").rename(entry)
            until(lambda times=times: caplog.text.count(f"the ACME storage {made.storage} can be used again") == times)  # type: ignore[misc]
    finally:
        process.is_over = True


def test_the_challenge_of_an_order_that_was_stopped_does_not_stay(ca: FakeCA, tmp_path: Path) -> None:
    made = source(ca, tmp_path)
    process = Process(made)
    with holding(made.storage, made.identifier, 60.0) as fence:
        assert fence is not None
        left = Presented(
            name=NAME, challenge="tls-alpn-01", key_authorization="t.p", certificate=challenge_pair(NAME, "t.p")
        )
        Board(made.storage).put_up(left, fence)
    assert made.storage.keys("challenges/")
    assert process.order() == OBTAINED
    assert not made.storage.keys("challenges/")


def test_an_account_key_that_is_damaged_is_named_and_no_ca_is_asked(ca: FakeCA, tmp_path: Path) -> None:
    made = source(ca, tmp_path)
    process = Process(made)
    (made.storage.local / "account.pem").write_text("damaged")
    assert process.order() == [("obtaining", None), ("failed", "acme-refused")]
    assert "account.pem" in process.events[-1].msg
    assert "remove it" in process.events[-1].msg
    assert ca.requests == []


def test_what_ends_the_child_is_reported_in_its_own_words(
    ca: FakeCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme.py").write_text("raise RuntimeError('a broken package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = Process(source(ca, tmp_path))
    assert process.order() == [("obtaining", None), ("failed", "acme-refused")]
    assert "RuntimeError: a broken package" in process.events[-1].msg


SCRIPT = """#!/bin/sh
touch started
for i in $(seq 600); do test -e seen && exit 0; sleep 0.1; done
exit 1
"""


class Slow:
    """A provider of the user's own, which ends when its server has shown a sign of life."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def present(self, _name: str, _value: str) -> None:
        (self._directory / "started").touch()
        until((self._directory / "seen").exists)

    def clean(self, _name: str, _value: str) -> None:
        pass


@pytest.mark.parametrize("kind", ["a command", "an object"])
def test_a_dns_record_that_takes_long_keeps_its_order_alive(
    ca: FakeCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A lock ends where its holder shows no sign of life, and a child that says nothing is killed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").write_text(SCRIPT)
    provider = Slow(tmp_path) if kind == "an object" else DNSCommand("sh set")
    storage = tmp_path / "storage"
    made = ACME(NAME, directory=ca.ca.url, ca_file=ca.ca_file, storage=storage, dns=provider)
    process = Process(made)
    process.beat = lambda: (tmp_path / "started").exists() and (tmp_path / "seen").write_text("")
    assert process.order() == OBTAINED
