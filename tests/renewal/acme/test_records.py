"""What is stored about a certificate and an account is read again, and what was lost is not missed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from files import Files

from asgi_tls import ACME
from asgi_tls.renewal.acme.account import stored_as
from asgi_tls.renewal.acme.board import Board
from asgi_tls.renewal.acme.ca import CA
from asgi_tls.renewal.acme.records import forget_account, read_account, read_record, store_account, store_record
from asgi_tls.renewal.acme.schedule import Record, about
from asgi_tls.renewal.acme.storage import Fence

ONE, OTHER = (CA(name=name, url=f"https://{name}.test/directory") for name in ("one", "other"))


@pytest.fixture
def source(tmp_path: Path) -> ACME:
    return ACME("www.example.com", storage=tmp_path / "storage")


@pytest.fixture
def fence(source: ACME) -> Fence:
    source.storage.check()
    held = source.storage.lock("site", 60)
    assert held is not None
    return held


def test_a_record_is_read_again(source: ACME, fence: Fence) -> None:
    assert read_record(source) == Record()
    record = Record(failures=2, again_at=5.0, reason="down")
    store_record(source, record, fence)
    assert read_record(source) == record


def test_a_certificate_whose_record_is_lost_is_kept_for_its_time(source: ACME, fence: Fence, files: Files) -> None:
    leaf = files.pki.leaf("www.example.com")
    source.storage.store(source.certificate_entry, leaf.key_pem + leaf.chain_pem, fence)
    times = [each.timestamp() for each in (leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc)]
    assert read_record(source) == about(Record(), *times)
    of_another = replace(about(Record(), 1.0, 2.0), turn=1)
    store_record(source, of_another, fence)
    assert read_record(source) == about(of_another, *times)
    known = replace(about(of_another, *times), certificate_id="a.b")
    store_record(source, known, fence)
    assert read_record(source) == known


def test_a_record_whose_certificate_is_lost_says_so(source: ACME, fence: Fence) -> None:
    store_record(source, replace(about(Record(), 1.0, 2.0), turn=1), fence)
    assert read_record(source) == Record(turn=1, issued=(1.0,))


DAMAGED = {
    "deep": b"[" * 3000,
    "deep objects": b'{"a":' * 800,
    "a number that is none": b'{"url": 1, "name": "x", "fence": Infinity, "until": 0, "certificate": "", "key": ""}',
    "a large number": b'{"name": "x", "fence": 1, "until": 1%s, "certificate": "", "key": ""}' % (b"0" * 400),
    "a list": b"[1]",
    "not UTF-8": b"\xff",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_holds_up_nothing(source: ACME, fence: Fence, data: bytes) -> None:
    storage = source.storage
    storage.store(stored_as(OTHER.url), data, fence)
    assert read_account(storage, OTHER) in {None, "1"}
    storage.store("challenges/x.json", data, fence)
    Board(storage).mirror()
    (storage.local / "locks/other.json").write_bytes(data)
    assert storage.lock("other", 60) is not None


def test_each_ca_has_an_account_of_its_own(source: ACME, fence: Fence) -> None:
    storage = source.storage
    assert read_account(storage, ONE) is None
    store_account(storage, ONE, "https://one.test/account/1", fence)
    store_account(storage, OTHER, "https://other.test/account/2", fence)
    assert read_account(storage, ONE) == "https://one.test/account/1"
    assert read_account(storage, OTHER) == "https://other.test/account/2"
    forget_account(storage, ONE, fence)
    assert read_account(storage, ONE) is None
    assert read_account(storage, OTHER) == "https://other.test/account/2"


def test_the_accounts_file_stays_where_earlier_versions_stored_it(source: ACME, fence: Fence) -> None:
    place = f"accounts/{hashlib.sha256(b'https://one.test/directory').hexdigest()[:16]}.json"
    source.storage.store(place, b'{"url": "https://one.test/account/1"}', fence)
    assert read_account(source.storage, ONE) == "https://one.test/account/1"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"5", b"\xff", b'{"URL": "x"}'])
def test_what_is_not_an_account_is_none(source: ACME, fence: Fence, data: bytes) -> None:
    store_account(source.storage, ONE, "https://one.test/account/1", fence)
    (place,) = source.storage.keys("accounts/")
    source.storage.store(place, data, fence)
    assert read_account(source.storage, ONE) is None
