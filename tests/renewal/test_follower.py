"""The thread that follows the files: what it waits for, what it survives, and what it reports."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from files import Files
from patience import until
from renewals import CERT, Site

from asgi_tls import INTERMEDIATE
from asgi_tls.certificate import Certificate, CertificateSource, Purpose
from asgi_tls.errors import ASGITLSError, CertificateError
from asgi_tls.renewal.follower import Follower, between, settle
from asgi_tls.renewal.inventory import Inventory, Item, Offer, Round
from asgi_tls.renewal.state import GRACE


class Keeping:
    """A keeper that remembers, and that can refuse and be gone."""

    def __init__(self) -> None:
        self.served: list[bytes] = []
        self.reported: list[str] = []
        self.looks = 0
        self.confirmed = 0
        self.is_over = False
        self.refusal: ASGITLSError | None = None
        self.trouble: Exception | None = None

    def serve(self, offer: Offer, _found: Round) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.served.append(offer.names.groups["default"][0].leaf_der)

    def report(self, _item: Item[Any], error: ASGITLSError) -> None:
        self.reported.append(str(error))

    def unchanged(self) -> None:
        self.confirmed += 1

    def rest(self) -> None:
        self.looks += 1
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    keeping = Keeping()
    yield keeping
    keeping.is_over = True


def inventory_of(source: CertificateSource) -> Inventory:
    inventory = Inventory(profile=INTERMEDIATE, sources={"default": (source,)})
    inventory.load(time.monotonic())
    return inventory


def test_a_file_that_is_still_written_is_left_alone(files: Files, tmp_path: Path, keeping: Keeping) -> None:
    """Half a chain is a valid one: a leaf without its intermediate would be served."""
    site = Site(files.pki, tmp_path)
    inventory, pair = inventory_of(site.source), site.next_pair()
    leaf, intermediate = pair.cert_pem, pair.chain_pem.removeprefix(pair.cert_pem)
    parts = [intermediate[:200], intermediate[200:]]
    (site.mount / "privkey.pem").write_bytes(pair.key_pem)
    (site.mount / CERT).write_bytes(leaf)

    def write_more(_: float) -> None:
        if parts:
            with (site.mount / CERT).open("ab") as file:
                file.write(parts.pop(0))

    Follower(inventory, keeping, interval=60, sleep=write_more).look()
    assert keeping.served == [pair.der]
    assert inventory.names.groups["default"][0].chain_pem == pair.chain_pem


def test_settling_ends_when_two_looks_agree_and_never_lasts_for_long() -> None:
    seen, slept = [1, 2, 3, 3, 4], list[float]()
    settle(lambda: seen.pop(0), slept.append)
    assert seen == [4]
    assert len(slept) == 3
    counting = iter(range(1000))
    slept.clear()
    settle(lambda: next(counting), slept.append)
    assert sum(slept) == pytest.approx(0.5)


def test_the_same_failure_is_reported_once_however_long_it_lasts(
    files: Files, tmp_path: Path, keeping: Keeping
) -> None:
    site = Site(files.pki, tmp_path)
    follower = Follower(inventory_of(site.source), keeping, interval=0.01)
    follower.start()
    (site.mount / CERT).write_bytes(b"garbage")
    until(lambda: len(keeping.reported) == 1)
    reported, looks = time.monotonic(), keeping.looks
    until(lambda: time.monotonic() > reported + GRACE + 0.2 and keeping.looks > looks + 5)
    follower.wake()
    looks = keeping.looks
    until(lambda: keeping.looks > looks + 2)
    assert len(keeping.reported) == 1
    (site.mount / CERT).write_bytes(b"")
    until(lambda: len(keeping.reported) == 2)
    assert "is empty" in keeping.reported[1]


class Moody:
    """A source of the user's own whose very paths may fail."""

    def __init__(self, site: Site) -> None:
        self.site, self.moods = site, list[Exception]()

    @property
    def paths(self) -> tuple[Path, ...]:
        if self.moods:
            raise self.moods.pop()
        return self.site.source.paths

    def load(self, purpose: Purpose = "server") -> Certificate:
        return self.site.source.load(purpose)


def test_a_source_that_fails_holds_up_nobody(files: Files, tmp_path: Path, keeping: Keeping) -> None:
    site, other = Site(files.pki, tmp_path / "one"), Site(files.pki, tmp_path / "other")
    source = Moody(site)
    inventory = Inventory(profile=INTERMEDIATE, sources={"localhost": (source,), "default": (other.source,)})
    inventory.load(time.monotonic())
    follower = Follower(inventory, keeping, interval=0.01)
    source.moods += [RuntimeError("the weather")] * 10_000
    follower.start()
    pair = other.next_pair()
    other.write(pair, other.mount)
    until(lambda: keeping.served[-1:] == [pair.der])
    until(lambda: any("loading failed: RuntimeError" in text for text in keeping.reported))
    source.moods.clear()
    pair = site.next_pair()
    site.write(pair, site.mount)
    until(lambda: inventory.names.groups["localhost"][0].leaf_der == pair.der)


def test_whatever_goes_wrong_the_thread_goes_on(
    files: Files, tmp_path: Path, keeping: Keeping, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(files.pki, tmp_path)
    follower = Follower(inventory_of(site.source), keeping, interval=0.01)
    keeping.trouble = ZeroDivisionError("nobody thought of this")
    with caplog.at_level(logging.ERROR):
        follower.start()
        until(lambda: keeping.trouble is None)
        pair = site.next_pair()
        site.write(pair, site.mount)
        until(lambda: keeping.served[-1:] == [pair.der])
    assert any("reloading failed" in record.getMessage() for record in caplog.records)


def test_what_the_keeper_refuses_stays_out_and_is_tried_again(files: Files, tmp_path: Path, keeping: Keeping) -> None:
    site = Site(files.pki, tmp_path)
    inventory = inventory_of(site.source)
    served, pair = inventory.names.groups, site.next_pair()
    site.write(pair, site.mount)
    keeping.refusal = CertificateError("OpenSSL refuses the pair", fix="Order another.")
    follower = Follower(inventory, keeping, interval=60, sleep=lambda _: None)
    follower.look(at_once=True)
    assert inventory.names.groups == served
    assert keeping.reported == [str(keeping.refusal)]
    keeping.refusal = None
    follower.look()
    assert keeping.served == [pair.der]


def test_who_asks_for_a_reload_hears_that_nothing_has_changed(files: Files, tmp_path: Path, keeping: Keeping) -> None:
    site = Site(files.pki, tmp_path)
    follower = Follower(inventory_of(site.source), keeping, interval=60, sleep=lambda _: None)
    follower.look()
    assert keeping.confirmed == 0
    follower.look(at_once=True)
    assert (keeping.confirmed, keeping.served) == (1, [])
    site.write(site.next_pair(), site.mount)
    follower.look(at_once=True)
    assert (keeping.confirmed, len(keeping.served)) == (1, 1)


def test_it_ends_when_its_keeper_is_gone(files: Files, tmp_path: Path, keeping: Keeping) -> None:
    before = {*threading.enumerate()}
    Follower(inventory_of(Site(files.pki, tmp_path).source), keeping, interval=0.01).start()
    until(lambda: keeping.looks > 0)
    keeping.is_over = True
    until(lambda: not {*threading.enumerate()} - before)


@pytest.mark.parametrize(
    ("interval", "cost", "seconds"),
    [
        pytest.param(5.0, 0.0002, 5.0, id="a few files"),
        pytest.param(0.1, 0.009, 0.1, id="a few files, looked at often"),
        pytest.param(5.0, 0.027, 10.8, id="thousands"),
        pytest.param(5.0, 1.0, 30.0, id="a slow file system"),
        pytest.param(60.0, 0.027, 60.0, id="looked at rarely anyway"),
    ],
)
def test_looking_at_thousands_of_files_takes_little_of_a_core(interval: float, cost: float, seconds: float) -> None:
    assert between(interval, cost) == pytest.approx(seconds)
