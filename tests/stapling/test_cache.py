"""The directory of OCSP responses: ours is used, anybody else's and anything odd in ours is left alone."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from asgi_tls.stapling.cache import Attempt, Cache

NAME = "ab" * 32
ATTEMPT = Attempt(status="revoked", msg="the CA has revoked the certificate", failures=1, at=1.0, again_at=2.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One in which something is stored."""
    Cache(tmp_path / "ocsp").store(NAME, b"response")
    Cache(tmp_path / "ocsp").fail(NAME, ATTEMPT, drop=False)
    return tmp_path / "ocsp"


def test_what_is_stored_is_found_by_the_next_process(directory: Path) -> None:
    assert Cache(directory).response(NAME) == b"response"
    assert Cache(directory).attempt(NAME) == ATTEMPT
    Cache(directory).store(NAME, b"another")
    assert Cache(directory).attempt(NAME) is None
    Cache(directory).fail(NAME, ATTEMPT, drop=True)
    assert Cache(directory).response(NAME) is None


def give_away(directory: Path) -> None:
    for path in (directory, *directory.iterdir()):
        os.chown(path, 65534, 65534)


def give_the_files_away(directory: Path) -> None:
    for path in directory.iterdir():
        os.chown(path, 65534, 65534)


def open_directory(directory: Path) -> None:
    directory.chmod(0o777)


def open_files(directory: Path) -> None:
    for path in directory.iterdir():
        path.chmod(0o666)


def links(directory: Path) -> None:
    for path in [*directory.glob("*.*")]:
        path.rename(directory.parent / path.name)
        path.symlink_to(directory.parent / path.name)


UNTRUSTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "writable": (open_directory, "can be written by others"),
    "its files are writable": (open_files, "can be written by others"),
    "its files are links": (links, "is a symbolic link"),
}
if os.geteuid() == 0:
    UNTRUSTED["another user's"] = (give_away, r"belongs to another user \(uid 65534\)")
    UNTRUSTED["its files are another user's"] = (give_the_files_away, "belongs to another user")


@pytest.mark.parametrize(("change", "words"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_what_another_can_have_planted_is_not_read(
    directory: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], object], words: str
) -> None:
    change(directory)
    cache = Cache(directory)
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        assert cache.response(NAME) is None
        assert cache.attempt(NAME) is None
        assert cache.response(NAME) is None
    (record,) = caplog.records
    assert "OCSP responses are kept in memory only" in record.getMessage()
    assert re.search(f"{directory}.*: {words}", record.getMessage())


def test_nothing_is_written_to_a_directory_that_others_can_write_to(directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.iterdir()}
    directory.chmod(0o1777)
    cache = Cache(directory)
    cache.store(NAME, b"new")
    cache.fail(NAME, ATTEMPT, drop=True)
    with cache.locked("cd" * 32, 0.1):
        pass
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("name", [f"{NAME}.der", f"{NAME}.json"])
def test_a_pipe_holds_up_nothing(directory: Path, name: str) -> None:
    (directory / name).unlink()
    os.mkfifo(directory / name)
    assert Cache(directory).response(NAME) in {None, b"response"}
    assert Cache(directory).attempt(NAME) in {None, ATTEMPT}


def test_a_lock_that_is_a_pipe_or_a_link_holds_up_nothing(directory: Path) -> None:
    os.mkfifo(directory / f"{'1' * 64}.lock")
    (directory / f"{'2' * 64}.lock").symlink_to("/dev/null")
    for name in ("1" * 64, "2" * 64):
        with Cache(directory).locked(name, 0.1):
            pass


def fields(**changes: object) -> str:
    return json.dumps({"status": "revoked", "msg": "x", "failures": 1, "at": 1.0, "again_at": 2.0, **changes})


DAMAGED = {
    "empty": "",
    "no JSON": "garbage",
    "no object": "[1]",
    "deep": "[" * 60_000,
    "deep objects": '{"a":' * 12_000,
    "NaN": fields(again_at=float("nan")),
    "infinite": fields(at=float("inf")),
    "a text that is a number": fields(at="NaN"),
    "1e999": fields().replace("2.0", "1e999"),
    "more than a float holds": fields(at=10**400),
    "more digits than Python reads": fields().replace("1.0", "1" * 6000),
    "no status": fields(status="fine"),
    "a status that is a list": fields(status=["revoked"]),
    "no failures": fields(failures=0),
    "failures that are text": fields(failures="many"),
    "a field that is missing": "{}",
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_note_of_the_last_attempt_counts_for_nothing(directory: Path, text: str) -> None:
    path = directory / f"{NAME}.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert path.stat().st_size <= 64 << 10  # larger ones are not read at all
    assert Cache(directory).attempt(NAME) is None


def test_only_our_own_files_are_forgotten(directory: Path, tmp_path: Path) -> None:
    """And none through a link."""
    ours = {f"{NAME}.der", f"{NAME}.json", f"{'cd' * 32}.lock", f".{NAME}.der-x1y2"}
    others = {"README", "key.pem", "ABCD.der", f"{NAME}.der.bak", "x.der", "link.der", f"{'ef' * 32}.der"}
    precious = tmp_path / "precious"
    precious.write_text("of somebody")
    os.utime(precious, (1, 1))
    for name in ours | others - {"link.der", f"{'ef' * 32}.der"}:
        (directory / name).touch()
    for name in ("link.der", f"{'ef' * 32}.der"):
        (directory / name).symlink_to(precious)
    (directory / f"{'01' * 32}.der").mkdir()
    young = directory / f"{'23' * 32}.der"
    young.touch()
    for path in directory.iterdir():
        if path != young:
            os.utime(path, (1, 1), follow_symlinks=False)
    Cache(directory).store(f"{'45' * 32}", b"new")  # the first write of a process
    left = {path.name for path in directory.iterdir()}
    assert left == others | {f"{'01' * 32}.der", young.name, f"{'45' * 32}.der"}
    assert precious.read_text() == "of somebody"
