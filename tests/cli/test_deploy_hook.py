"""The hook signals the server, and never makes a renewal fail."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import asgi_tls, run

WAITER = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [1]); print(flush=True); signal.sigwait([1])"


def hook(tmp_path: Path, *options: str) -> Path:
    path = tmp_path / "hook it's.sh"
    status, text = run(asgi_tls("deploy-hook", *options, f"--output={path}"))
    assert status == 0, text
    return path


def test_it_sends_sighup(tmp_path: Path) -> None:
    pid_file = tmp_path / "a server's.pid"
    path = hook(tmp_path, f"--pid-file={pid_file}")
    assert path.stat().st_mode & 0o777 == 0o755
    with subprocess.Popen([sys.executable, "-c", WAITER], stdout=subprocess.PIPE, text=True) as waiter:
        assert waiter.stdout is not None
        waiter.stdout.readline()
        pid_file.write_text(str(waiter.pid))  # as hypercorn writes it, without a line end
        assert run([str(path)]) == (0, "")
        assert waiter.wait(10) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "is not there"), ("", "holds no process number"), ("-1", "no process number"), ("1\n", "no process number"),
     ("12 34", "no process number"), ("99999999", "takes no signal")],
)  # fmt: skip
def test_it_succeeds_without_a_server(tmp_path: Path, content: str | None, says: str) -> None:
    pid_file = tmp_path / "server.pid"
    if content is not None:
        pid_file.write_text(content)
    status, text = run([str(hook(tmp_path, f"--pid-file={pid_file}"))])
    assert status == 0
    assert says in text


@pytest.mark.parametrize("options", [[], ["--pid-file=a", "--unit=b"]])
def test_it_signals_one_server(options: list[str]) -> None:
    status, text = run(asgi_tls("deploy-hook", *options))
    assert status == 3
    assert "one server" in text


def test_a_unit_is_quoted_and_the_script_parses(tmp_path: Path) -> None:
    status, text = run(asgi_tls("deploy-hook", "--unit=app; rm -rf x.service"))
    assert status == 0
    assert "'app; rm -rf x.service'" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert signal.SIGHUP.name in text
