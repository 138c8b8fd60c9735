"""The directory that ACME keeps its account and certificates in: modes, locks, fences, hostile neighbours."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from storages import refuses, stores_the_last

from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.storage import DirectoryStorage, Storage, default_directory


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "acme")


def test_it_is_a_storage(storage: DirectoryStorage) -> None:
    assert isinstance(storage, Storage)


def test_what_is_stored_is_private_and_listed(storage: DirectoryStorage) -> None:
    fence = stores_the_last(storage)
    storage.store("account.pem", b"key", fence)
    assert storage.keys("certificates/") == ["certificates/a.pem"]
    assert storage.keys("nowhere/") == []
    modes = {stat.S_IMODE(path.stat().st_mode) for path in storage.path.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in storage.path.rglob("*") if path.is_dir()} == {0o700}
    storage.delete("certificates/a.pem", fence)
    storage.delete("certificates/a.pem", fence)
    assert storage.load("certificates/a.pem") is None


def test_a_lock_that_cannot_be_written_leaves_no_descriptor(storage: DirectoryStorage) -> None:
    """As on a full disk. Here no file may grow."""
    assert storage.lock("other", 60) is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = len([*Path("/proc/self/fd").iterdir()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.lock("site", 60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert storage.lock("site", 60) is not None


def test_one_holder_at_a_time(storage: DirectoryStorage) -> None:
    first = storage.lock("site", 60)
    assert first is not None
    assert storage.lock("site", 60) is None
    assert storage.lock("another", 60) is not None
    storage.unlock(first)
    second = storage.lock("site", 60)
    assert second is not None
    assert second.number > first.number
    storage.unlock(first)  # late: it takes nothing from the second
    assert storage.lock("site", 60) is None


def test_a_holder_that_hangs_is_replaced_and_cannot_write(storage: DirectoryStorage) -> None:
    end = time.time() + 1
    hung = storage.lock("site", 1)
    assert hung is not None
    storage.store("account.pem", b"its", hung)
    while (other := storage.lock("site", 60)) is None:
        assert time.time() < end + 60
        time.sleep(0.02)
    assert time.time() >= end
    storage.store("account.pem", b"other", other)
    refuses(storage, hung)
    assert storage.load("account.pem") == b"other"


def test_a_lease_is_extended(storage: DirectoryStorage) -> None:
    fence = storage.lock("site", 1)
    assert fence is not None
    storage.extend(fence, 60)
    time.sleep(1.1)
    assert storage.lock("site", 60) is None


HOLDER = """
import sys, time
from pathlib import Path
from asgi_tls.renewal.acme.storage import DirectoryStorage
fence = DirectoryStorage(Path(sys.argv[1])).lock("site", 3000)
print(fence.number, flush=True)
time.sleep(600)
"""


def test_a_holder_that_dies_is_replaced_at_once(storage: DirectoryStorage) -> None:
    command = [sys.executable, "-P", "-c", HOLDER, str(storage.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        number = int(holder.stdout.readline())
        assert storage.lock("site", 60) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        fence = storage.lock("site", 60)
    assert fence is not None
    assert fence.number == number + 1


RACER = """
import sys
from pathlib import Path
from asgi_tls.renewal.acme.storage import DirectoryStorage
storage = DirectoryStorage(Path(sys.argv[1]))
sys.stdin.readline()
for _ in range(50):
    fence = storage.lock("site", 60)
    if fence is not None:
        number = int(storage.load("accounts/count.json") or b"0")
        storage.store("accounts/count.json", str(number + 1).encode(), fence)
        print(fence.number)
        storage.unlock(fence)
"""


def test_a_herd_never_holds_it_together(storage: DirectoryStorage) -> None:
    command = [sys.executable, "-P", "-c", RACER, str(storage.path)]
    herd = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for each in herd:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    numbers = [line for each in herd for line in each.communicate(timeout=60)[0].split()]
    assert len(numbers) == len(set(numbers)) > 0
    assert storage.load("accounts/count.json") == str(len(numbers)).encode()


@pytest.mark.parametrize(
    "key", ["../account.pem", "/etc/passwd", "a/../b", "a/b/c", "", ".hidden", "a//b", "a\0b", "certificates/"]
)
def test_a_key_leaves_the_directory_nowhere(storage: DirectoryStorage, key: str) -> None:
    fence = storage.lock("site", 60)
    assert fence is not None
    with pytest.raises(ValueError, match="not a key"):
        storage.load(key)
    with pytest.raises(ValueError, match="not a key"):
        storage.store(key, b"", fence)
    with pytest.raises(ValueError, match="not a key"):
        storage.delete(key, fence)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_read(storage: DirectoryStorage) -> None:
    storage.check()
    path = storage.path / "account.pem"
    path.write_bytes(b"planted")
    os.chown(path, 65534, 65534)
    with pytest.raises(PermissionError):
        storage.load("account.pem")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(PermissionError):
        storage.load("account.pem")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"the ACME storage .*file/acme cannot be written: .*\n?.*chown"):
        DirectoryStorage(tmp_path / "file/acme").check()


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
@pytest.mark.parametrize(("part", "mode"), [("", 0o777), ("", 0o1777), ("certificates", 0o770), ("locks", 0o702)])
def test_a_directory_that_others_can_write_to_is_refused(storage: DirectoryStorage, part: str, mode: int) -> None:
    storage.check()
    directory = storage.path / part
    directory.chmod(mode)
    says = rf"the ACME storage {directory} can be written by others \(mode {mode:04o}\)\. chmod -R go-w {storage.path}$"
    with pytest.raises(ConfigurationError, match=says):
        storage.check()


def test_the_root_of_a_volume_may_be_its_groups(storage: DirectoryStorage) -> None:
    """Kubernetes opens it to the pod's fsGroup."""
    storage.path.mkdir()
    storage.path.chmod(0o2775)
    storage.check()


def test_where_it_is_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:{tmp_path}/other")
    assert default_directory() == tmp_path / "state/acme"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("ASGI_TLS_HOME", str(tmp_path / "home"))
    assert default_directory() == tmp_path / "home/acme"
