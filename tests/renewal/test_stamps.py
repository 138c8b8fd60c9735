"""Whether files have changed: by status, by content, and where neither can be seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from exhausted import no_descriptor_left
from nobody import as_nobody

from asgi_tls.renewal.stamps import NO_STAMP, Stamp, digest_of, is_closed, stamp_of, status_of


def _replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"other")
    new.replace(path)


def _with_its_times(path: Path) -> None:
    times = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _linked_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    path.unlink()
    path.symlink_to(other)


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


OTHERS: dict[str, Callable[[Path], object]] = {
    "written": lambda path: path.write_bytes(b"other"),
    "replaced": _replaced,
    "times put back": _with_its_times,
    "another link": _linked_elsewhere,
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "a directory": _a_directory,
    "another mode": lambda path: path.chmod(0o644),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_change_is_seen_by_status_and_by_stamp(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    path.chmod(0o600)
    before = stamp_of([path])
    assert before.still(stamp_of([path])) == before
    change(path)
    assert status_of([path]) != before.status
    assert before.still(stamp_of([path])) is None


def test_a_file_that_a_mount_shows_after_its_end_is_seen(tmp_path: Path) -> None:
    """As in a container whose mount of one file went stale. Here a descriptor keeps it."""
    (tmp_path / "file").write_bytes(b"first")
    with (tmp_path / "file").open() as kept:
        path = Path(f"/proc/self/fd/{kept.fileno()}")
        before = stamp_of([path])
        (tmp_path / "file").unlink()
        assert stamp_of([path]).digest == before.digest
        assert before.still(stamp_of([path])) is None


def test_the_same_content_in_another_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    path.chmod(0o600)
    before = stamp_of([path])
    (tmp_path / "copy").write_bytes(b"first")
    (tmp_path / "copy").chmod(0o600)
    (tmp_path / "copy").replace(path)
    now = stamp_of([path])
    assert now.status != before.status
    assert before.still(now) == now


def test_another_link_to_a_file_and_another_disk_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    before = stamp_of([path])
    path.with_name("link").hardlink_to(path)
    now = stamp_of([path])
    assert before.still(now) == now
    ((mode, deleted, disk, *others),) = now.status
    moved = Stamp(((mode, deleted, disk + 1, *others),), now.digest)
    assert before.still(moved) == moved


def test_a_file_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the directories above it are closed to others
    ours, closed, directory, none = (Path(name) for name in ("ours", "closed", "directory", "none"))
    directory.mkdir()
    for path in (ours, closed, directory / "file"):
        path.write_bytes(b"first")
    ours.chmod(0o444)
    before = stamp_of([closed])
    closed.chmod(0)
    directory.chmod(0)
    with as_nobody():
        hidden = status_of([directory / "file"])
        assert hidden == ((-1,),)
        assert [is_closed(path) for path in (ours, closed, directory / "file", none)] == [False, True, True, False]
        assert status_of([none]) == ((),)
        assert stamp_of([closed]) == Stamp(status_of([closed]))
        assert stamp_of([ours, directory / "file"]).digest is None
        assert before.still(stamp_of([closed])) is None  # its mode is another
    directory.chmod(0o755)
    before = Stamp(status_of([directory / "file"]), "digest")
    assert before.still(Stamp(hidden)) is None  # its directory was closed meanwhile
    assert before.seen_from(hidden).still(Stamp(hidden)) == Stamp(hidden, "digest")


def test_content_is_compared_where_the_status_lies(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    before = stamp_of([path])
    path.write_bytes(b"other")
    assert before.still(Stamp(before.status, digest_of([path]))) is None


def test_without_a_descriptor_nothing_is_known_and_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    before = stamp_of([path])
    with no_descriptor_left():
        blind = stamp_of([path])
    assert blind == Stamp(before.status, None)
    assert before.still(blind) == before
    path.write_bytes(b"other")
    with no_descriptor_left():
        assert before.still(stamp_of([path])) is None


def test_what_a_parent_could_read_counts_until_its_status_is_another() -> None:
    file, other, hidden = (0o100600, 1, 2, 3, 4, 5), (0o100600, 1, 9, 3, 6, 7), (-1,)
    parent = Stamp((file,), "digest")
    assert parent.still(Stamp((file,), None)) == parent
    assert parent.seen_from((hidden,)) == Stamp((hidden,), "digest")  # not even its directory may be searched
    assert parent.seen_from((other,)) == parent
    assert parent.still(Stamp((other,), None)) is None
    assert NO_STAMP.seen_from((file,)) == NO_STAMP
    assert Stamp((hidden,), "digest").still(Stamp((hidden,), None)) == Stamp((hidden,), "digest")
    assert NO_STAMP.still(Stamp((hidden,), None)) is None
