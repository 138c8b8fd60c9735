"""Real servers in processes of their own, on a port that the system chooses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forks import COMMAND, Fork
from patience import PATIENCE

APP_DIRECTORY = Path(__file__).parent
"""Where `facts_app.py` lies: servers run with it as their working directory."""

_PORT = re.compile(r"(?:running on|Running on|Listening at:|serving on) (?:https?|ssl)://\S+?:(\d+)")


@dataclass
class Server:
    """A running server. `log` grows while it runs."""

    process: subprocess.Popen[str] | Fork
    log: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def text(self) -> str:
        """All that it has printed so far."""
        return "".join(self.log)


def asgi_tls(*arguments: str) -> list[str]:
    """The command line `asgi-tls …` of the Python that runs the tests."""
    return [*COMMAND, *arguments]


@contextlib.contextmanager
def serve(
    command: Sequence[str],
    *,
    ready: str,
    count: int = 1,
    cwd: Path = APP_DIRECTORY,
    env: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Server]:
    """Start a server, wait until `ready` has matched `count` lines of its output, and stop it afterwards."""
    server = Server(_start(command, cwd, {"PYTHONUNBUFFERED": "1", **(env or {})}, stdin, new_session=True))
    process = server.process
    started = threading.Event()
    reader = threading.Thread(target=_read, args=(server, re.compile(ready), count, started), daemon=True)
    reader.start()
    try:
        if not started.wait(timeout) or process.poll() is not None:
            raise AssertionError(f"{' '.join(command)} did not start:\n{server.text}")
        _wait_until_it_listens(server)
        yield server
    finally:
        _stop(process)
        reader.join(5)
        assert process.stdout is not None
        process.stdout.close()


def run(command: Sequence[str], *, cwd: Path = APP_DIRECTORY, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command that ends by itself: its exit status and all that it printed."""
    process = _start(command, cwd, env or {}, subprocess.DEVNULL, new_session=False)
    assert process.stdout is not None
    limit = threading.Timer(PATIENCE, process.send_signal, [signal.SIGKILL])
    limit.start()
    with process.stdout:
        printed = process.stdout.read()
    status = process.wait()
    limit.cancel()
    assert status != -signal.SIGKILL, f"{' '.join(command)} did not end:\n{printed}"
    return status, printed


def _start(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: int, *, new_session: bool
) -> subprocess.Popen[str] | Fork:
    env = {**os.environ, **env}
    if Fork.can(command, env):
        return Fork(command, cwd=cwd, env=env, stdin=stdin, new_session=new_session)
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=new_session,
    )


def await_port(port: int, timeout: float = 10.0, *, host: str = "127.0.0.1") -> None:
    """Until something accepts on the port: the system tells nobody when that is."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _read(server: Server, ready: re.Pattern[str], count: int, started: threading.Event) -> None:
    assert server.process.stdout is not None
    left = count
    for line in server.process.stdout:
        server.log.append(line)
        # Once it serves, a port is that of another server, which the application has started.
        if not started.is_set() and (found := _PORT.search(line)) and "QUIC" not in line:
            server.port = int(found[1])
        if left and ready.search(line):
            left -= 1
            if not left:
                started.set()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(5)  # its output has ended, and so will it: the caller looks
    started.set()


def _wait_until_it_listens(server: Server) -> None:
    """Servers with workers print that they are ready a moment before they listen. Asks the kernel: a connection would
    be an event."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not server.port or server.process.poll() is not None:
            return
        network = Path("/proc", str(server.process.pid), "net")  # that of the process, which may have one of its own
        tables = [(network / name).read_text(encoding="ascii").splitlines()[1:] for name in ("tcp", "tcp6")]
        sockets = (line.split() for table in tables for line in table)
        if any(local.endswith(f":{server.port:04X}") and state == "0A" for _, local, _, state, *_ in sockets):
            return
        time.sleep(0.005)
    raise AssertionError(f"it does not listen on port {server.port}:\n{server.text}")


def _stop(process: subprocess.Popen[str] | Fork) -> None:
    """Ask the server, then its whole session: workers must not outlive a test."""
    if process.poll() is None:
        process.terminate()
    deadline = time.monotonic() + 5
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(deadline - time.monotonic())
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
