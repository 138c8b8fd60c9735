"""The hook signals the server and nothing else, and never makes a renewal fail."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from servers import asgi_tls, run

from asgi_tls.cli import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the hook looks at processes in /proc")

# Each prints a line when it is ready. How servers take SIGHUP: by a handler, or blocked and waited for.
WAITS = """
import os, signal, threading, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
threading.Thread(target=lambda: os._exit(signal.sigwait([signal.SIGHUP]) - signal.SIGHUP), daemon=True).start()
print(flush=True)
time.sleep(60)
"""
HANDLES = """
import signal, sys, threading
done = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: done.set())
print(threading.get_native_id(), flush=True)
done.wait(60)
"""
# These would end.
DEFAULT = "import time; print(flush=True); time.sleep(60)"
IN_A_THREAD = """
import threading, time
thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
thread.start()
import signal
signal.signal(signal.SIGHUP, lambda *_: None)
print(thread.native_id, flush=True)
time.sleep(60)
"""

SHELLS = [each for each in ("/bin/sh", "/bin/bash", "/bin/busybox") if Path(each).exists()]


def hook(tmp_path: Path, *options: str) -> Path:
    path = tmp_path / "hook it's.sh"
    done = CliRunner().invoke(main, ["deploy-hook", *options, f"--output={path}"])
    assert done.exit_code == 0, done.output
    return path


@contextlib.contextmanager
def process(
    script: str, *, uid: int | None = None, program: str = sys.executable
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the line that it prints; it is killed afterwards."""
    with subprocess.Popen([program, "-c", script], stdout=subprocess.PIPE, text=True, user=uid) as started:
        try:
            assert started.stdout is not None
            yield started, started.stdout.readline()
        finally:
            started.kill()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", [WAITS, HANDLES], ids=["blocked", "handled"])
def test_it_sends_sighup(tmp_path: Path, script: str, shell: str) -> None:
    pid_file = tmp_path / "a server's.pid"
    path = hook(tmp_path, f"--pid-file={pid_file}")
    assert path.stat().st_mode & 0o777 == 0o755
    command = [shell, "sh"] if shell.endswith("busybox") else [shell]
    with process(script) as (server, _):
        pid_file.write_text(str(server.pid))  # as hypercorn writes it, without a line end
        assert run([*command, str(path)]) == (0, "")
        assert server.wait(10) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        *((content, "does not contain the process ID of a server") for content in (
            b"", b"\n", b"0", b"00", b"000\n", b"01", b"001\n", b"1", b"1\n", b" 1 ", b"\t1", b"+1", b"-1", b"-0",
            b"0x1", b"1e1", b"12 34", b"12\n34\n", b"7\r\n", b"abc", b"$(id)", b"`id`", b"*", b"9" * 11, b"9" * 30,
            b"18446744073709551617", b"\x001", b"1\x002", "\u0661".encode(), b"1" * 1_000_000,
        )),
        (b"4194305", "which is not running"),
        (b"4294967295", "which is not running"),
        (b"9999999999", "which is not running"),
    ],
)  # fmt: skip
def test_a_pid_file_without_a_server(tmp_path: Path, content: bytes | None, says: str) -> None:
    pid_file = tmp_path / "server.pid"
    if content is not None:
        pid_file.write_bytes(content)
    status, text = run([str(hook(tmp_path, f"--pid-file={pid_file}"))])
    assert status == 0
    assert text.startswith(f"asgi-tls: {pid_file} ")
    assert says in text
    assert text.count("\n") == 1


def symbolic_link(path: Path, pid: int) -> None:
    (path.parent / "real").write_text(str(pid))
    path.symlink_to(path.parent / "real")


def dangling_link(path: Path, pid: int) -> None:
    path.symlink_to("nowhere")


def fifo(path: Path, pid: int) -> None:
    os.mkfifo(path)


def directory(path: Path, pid: int) -> None:
    path.mkdir()


def for_everybody(path: Path, pid: int) -> None:
    path.write_text(str(pid))
    path.chmod(0o646)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (symbolic_link, "is a symbolic link"),
        (dangling_link, "is a symbolic link"),
        (fifo, "is not a regular file"),
        (directory, "is not a regular file"),
        (for_everybody, "can be written by every user"),
    ],
)
def test_a_pid_file_of_another_kind(tmp_path: Path, make: Callable[[Path, int], None], says: str) -> None:
    pid_file = tmp_path / "server.pid"
    with process(HANDLES) as (server, _):
        make(pid_file, server.pid)
        status, text = run([str(hook(tmp_path, f"--pid-file={pid_file}"))])
        assert status == 0
        assert says in text
        assert server.poll() is None


@pytest.mark.parametrize(
    ("script", "program", "says"),
    [
        (DEFAULT, sys.executable, "which SIGHUP would end"),
        (IN_A_THREAD, sys.executable, "which SIGHUP would end"),
        ("trap : HUP; echo; while :; do sleep 0.1; done", "/bin/sh", "which is not a Python server"),
    ],
    ids=["no handler", "a thread", "another program"],
)
def test_a_process_that_is_no_server(tmp_path: Path, script: str, program: str, says: str) -> None:
    pid_file = tmp_path / "server.pid"
    with process(script, program=program) as (other, line):
        pid_file.write_text(line.strip() or str(other.pid))
        status, text = run([str(hook(tmp_path, f"--pid-file={pid_file}"))])
        assert status == 0
        assert says in text
        assert other.poll() is None


def test_the_processes_that_run_the_hook_are_not_signalled(tmp_path: Path) -> None:
    pid_file = tmp_path / "server.pid"
    path = hook(tmp_path, f"--pid-file={pid_file}")
    caller = f"""
import os, pathlib, signal, subprocess
signal.signal(signal.SIGHUP, lambda *_: os._exit(9))
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
subprocess.run(["sh", "-c", '"$0"; exit $?', {str(path)!r}])
"""
    status, text = run([sys.executable, "-c", caller])
    assert status == 0
    assert "which runs this hook" in text
    # Its own number is known only once it runs.
    path.write_text(path.read_text().replace("pid=$(", 'echo $$ > "$pid_file"; pid=$(', 1))
    assert "which runs this hook" in run([str(path)])[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
@pytest.mark.parametrize(
    ("owner", "mode", "user", "signalled"),
    [
        (0, 0o644, 65534, True),  # gunicorn's, which was started by root and has changed its user
        (65534, 0o644, 65534, True),
        (65534, 0o664, 65534, True),
        (65534, 0o644, 0, False),  # a server's user would have root signal any process
        (65534, 0o644, 65533, False),
        (0, 0o664, 65534, False),
    ],
)
def test_a_pid_file_counts_for_processes_of_its_owner(
    tmp_path: Path, owner: int, mode: int, user: int, signalled: bool
) -> None:
    pid_file = tmp_path / "server.pid"
    with process(HANDLES, uid=user, program="/usr/bin/python3") as (server, _):
        pid_file.write_text(str(server.pid))
        pid_file.chmod(mode)
        os.chown(pid_file, owner, owner)
        status, text = run([str(hook(tmp_path, f"--pid-file={pid_file}"))])
        assert status == 0
        assert (text == "") == signalled, text
        if signalled:
            assert server.wait(10) == 0
        else:
            assert server.poll() is None


@pytest.mark.parametrize("options", [[], ["--pid-file=a", "--unit=b"], ["--unit="]])
def test_it_signals_one_server(options: list[str]) -> None:
    status, text = run(asgi_tls("deploy-hook", *options))
    assert status == 3
    assert "one server" in text
    assert "--pid-file /run/app.pid" in text


def test_a_unit_is_quoted_and_the_script_parses() -> None:
    status, text = run(asgi_tls("deploy-hook", "--unit=app; rm -rf x.service"))
    assert status == 0
    assert "-- 'app; rm -rf x.service'" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert signal.SIGHUP.name in text


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    status, text = run(asgi_tls("deploy-hook", "--unit=a", f"--output={tmp_path}/missing/hook.sh"))
    assert status == 3
    assert f"--output: cannot write {tmp_path}/missing/hook.sh: No such file" in text


def test_the_tools_of_the_script_are_there() -> None:
    assert all(map(shutil.which, ("head", "tr", "sed", "ls")))
