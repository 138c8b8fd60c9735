"""Directories and files of our own: what is read from them, what is not, and how they are written."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from asgi_tls import files
from asgi_tls.errors import ConfigurationError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_where_data_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASGI_TLS_HOME", "")
    assert files.data_directory() == tmp_path / ".local/share/asgi-tls"
    assert files.user_directory("cache") == tmp_path / ".cache"
    assert files.user_directory("config") == tmp_path / ".config"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert files.data_directory() == Path("/data/asgi-tls")
    monkeypatch.setenv("ASGI_TLS_HOME", "/srv/ca")
    assert files.data_directory() == Path("/srv/ca")


def test_a_relative_path_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG base directory specification: it is to be ignored. Old versions of platformdirs do not."""
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    try:
        found = files.user_directory("data")
    except ConfigurationError:
        found = Path("/refused")
    assert found.is_absolute()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # who is in no /etc/passwd
    with pytest.raises(ConfigurationError, match="no home directory.*XDG_DATA_HOME"):
        files.user_directory("data")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"x")
    path.symlink_to("elsewhere")


def foreign(path: Path) -> None:
    path.write_bytes(b"x")
    os.chown(path, NOBODY, NOBODY)


def writable(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(b"x")
        path.chmod(mode)

    return make


NOT_READ: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "No such file"),
    "pipe": (fifo, "is a pipe, a socket or a device"),
    "socket": (unix_socket, "is a pipe, a socket or a device|No such device"),
    "directory": (Path.mkdir, "is a directory$|is a directory: "),
    "link": (link, "is a symbolic link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "is a symbolic link"),
    "large": (lambda path: path.write_bytes(bytes(101)), "is larger than 100 bytes"),
    "its group may write": (writable(0o620), r"can be written by others \(mode 0620; chmod go-w\)"),
    "all may write": (writable(0o602), r"can be written by others \(mode 0602"),
}


@pytest.mark.parametrize(("make", "words"), NOT_READ.values(), ids=NOT_READ)
def test_what_is_not_read(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError, match=words) as caught:
        files.read_own(tmp_path / "file", 100)
    assert caught.value.filename == str(tmp_path / "file")


@needs_root
def test_what_belongs_to_another_user(tmp_path: Path) -> None:
    foreign(tmp_path / "file")
    with pytest.raises(PermissionError, match=f"belongs to another user \\(uid {NOBODY}\\)"):
        files.read_own(tmp_path / "file", 100)
    # Those that an operator names may belong to anybody: certbot's do.
    assert files.read_regular(tmp_path / "file", 100)[0] == b"x"
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to another user"):
        files.check_directory(tmp_path)


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    for mode in (0o600, 0o644, 0o400):
        (tmp_path / "file").chmod(mode)
        assert files.read_own(tmp_path / "file", 100) == bytes(100)


def test_a_directory_that_others_can_write_to(tmp_path: Path) -> None:
    files.check_directory(tmp_path)
    for mode in (0o770, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(PermissionError, match="can be written by others"):
            files.check_directory(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        files.check_directory(tmp_path / "file")


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (None, None),
        (0o600, None),
        (0o440, None),
        (0o640, None),
        (0o660, "its group"),
        (0o604, "everyone"),
        (0o602, "everyone"),
    ],
)
def test_who_else_has_access(mode: int | None, who: str | None) -> None:
    assert files.others_with_access(mode) == who


def test_directories_are_made_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_private(tmp_path / "a/b")
        files.replace_files(tmp_path / "a/b", {"secret": (b"1", 0o600), "public": (b"2", 0o644)})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "secret": 0o600, "public": 0o644}


def test_a_file_is_replaced_where_it_is(tmp_path: Path) -> None:
    for name, mode in (("new", 0o644), ("old", 0o600), ("linked", 0o664)):
        path = tmp_path / name
        if name != "new":
            path.write_bytes(b"before")
            path.chmod(mode)
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(path)
        files.replace_file(tmp_path / "link" if name == "linked" else path, b"after")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"after", mode)
        assert (tmp_path / "link").is_symlink()
    files.replace_file(Path(os.devnull), b"after")
    assert not Path(os.devnull).is_file()
    with pytest.raises(FileNotFoundError, match="none"):
        files.replace_file(tmp_path / "none/file", b"after")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    files.replace_files(tmp_path, {"one": (b"old", 0o600)})
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "full").touch()
    with pytest.raises(OSError, match="[Dd]irectory"):
        files.replace_files(tmp_path, {"two": (b"new", 0o600), "one": (b"new", 0o600)})
    assert (tmp_path / "one").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    link(tmp_path / "file")
    files.replace_files(tmp_path, {"file": (b"new", 0o600)})
    assert (tmp_path / "elsewhere").read_bytes() == b"x"
    assert files.read_own(tmp_path / "file", 10) == b"new"


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()
    order: list[object] = []

    def first() -> None:
        with files.locked(tmp_path / "lock") as held:
            order.append(held)
            entered.set()
            leave.wait(20)
            order.append("left")

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(20)
    with files.locked(tmp_path / "lock", 0.1) as held:
        assert not held
    leave.set()
    with files.locked(tmp_path / "lock") as held:
        order.append(held)
    thread.join()
    assert order == [True, "left", True]
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    link(tmp_path / "lock")
    with pytest.raises(OSError, match="symbolic"), files.locked(tmp_path / "lock"):
        pass


def killed(prefix: str, directory: Path) -> Path:
    """What a process leaves that has no time to remove it."""
    code = (
        f"import os; from asgi_tls import files; print(files.temporary_directory({prefix!r}), flush=True); os._exit(0)"
    )
    env = {**os.environ, "TMPDIR": str(directory)}
    printed = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
    return Path(printed.strip())


def test_a_temporary_directory_that_nobody_uses_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "asgi-tls-test-"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Somebody else's, or an older version's: there is nothing in it by which to know whether it is in use.
    (tmp_path / f"{prefix}unknown").mkdir()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "in-use.lock").touch()
    (tmp_path / f"{prefix}link").symlink_to(elsewhere)
    (hollow := tmp_path / f"{prefix}hollow").mkdir()
    (hollow / "in-use.lock").symlink_to(elsewhere / "in-use.lock")
    (tmp_path / f"{prefix}file").touch()
    kept = {path.name for path in tmp_path.iterdir()}
    left, of_a_worker = killed(prefix, tmp_path), killed(prefix, tmp_path)
    assert not left.exists()  # the second has removed it
    lock = files.lock_now(of_a_worker / "worker-0.lock")
    assert lock is not None
    own = Path(files.temporary_directory(prefix))
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == kept | {of_a_worker.name, own.name}
    os.close(lock)
    other = Path(files.temporary_directory(prefix))
    assert {path.name for path in tmp_path.iterdir()} == kept | {own.name, other.name}
    assert elsewhere.joinpath("in-use.lock").exists()


@needs_root
def test_a_temporary_directory_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that root has made for workers of another user is root's to remove."""
    prefix = "asgi-tls-test-"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    foreign = killed(prefix, tmp_path)
    os.chown(foreign / "in-use.lock", NOBODY, NOBODY)
    handed_over = killed(prefix, tmp_path)
    os.chown(handed_over, NOBODY, NOBODY)
    own = Path(files.temporary_directory(prefix))
    assert {path.name for path in tmp_path.iterdir()} == {foreign.name, own.name}
