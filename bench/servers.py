"""The servers that are measured, and how one of them is run.

CPU time is that of the operating system for all processes and threads of a server, in user and kernel mode.
"""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import load
import proxies
import psutil
from patience import PATIENCE
from pki import PKI
from servers import await_port

from asgi_tls import PEMFiles

HERE = Path(__file__).parent

# asyncio has a buffer of 256 KiB for each connection. Where it lies at the end of the heap, which chance decides for a
# process, glibc gives it back and takes it again each time: 100 us. With these no server does.
HEAP = {"MALLOC_TRIM_THRESHOLD_": "200000000", "MALLOC_MMAP_THRESHOLD_": "200000000"}


@dataclass(frozen=True)
class Setting:
    """What a server is run with: its files, its number of workers, more options, and a program that runs it."""

    directory: Path
    pair: PEMFiles
    workers: int = 1
    options: tuple[str, ...] = ()
    under: tuple[str, ...] = ()

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def client(self) -> ssl.SSLContext:
        """A client that trusts the CA."""
        return ssl.create_default_context(cafile=str(self.ca))


@contextlib.contextmanager
def certified() -> Iterator[Setting]:
    """A directory with a CA, and a pair for localhost (ECDSA P-256, with its intermediate)."""
    with tempfile.TemporaryDirectory() as name:
        directory, pki = Path(name), PKI("Bench")
        setting = Setting(directory, PEMFiles(*pki.leaf("localhost", "127.0.0.1").write(directory / "served")))
        setting.ca.write_bytes(pki.root_pem)
        yield setting


@dataclass(frozen=True)
class Server:
    """A server that answers on a port; `roots` are the processes that were started, each with its children.

    `start_s` is the time from the first process to the first answer, and `start_cpu_s` the CPU time until then.
    """

    port: int
    roots: tuple[int, ...]
    start_s: float = 0.0
    start_cpu_s: float = 0.0

    def processes(self) -> list[psutil.Process]:
        """All of them, those that end at the moment left out."""
        found = []
        for root in self.roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(root)
                found += [process, *process.children(recursive=True)]
        return found

    def cpu(self) -> float:
        """Seconds so far, those of children that have ended included."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                ended = process.cpu_times()
                # The clock of a process: clock_getcpuclockid(3) of its number.
                total += time.clock_gettime((~process.pid << 3) | 2) + ended.children_user + ended.children_system
        return total

    def memory(self) -> float:
        """Bytes that would be free if it ended."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().uss
        return float(total)

    def rest(self, seconds: float = 0.2) -> None:
        """Wait until it uses less than 2 % of a core."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(seconds)
            if self.cpu() - before < 0.02 * seconds:
                return


@dataclass(frozen=True)
class Contestant:
    """A server with the name that the tables give it. `base` is the plain server that ours is compared with."""

    name: str
    start: Callable[[Setting], AbstractContextManager[Server]] = field(repr=False)
    base: str | None = None


@contextlib.contextmanager
def _python(command: Callable[[Setting, int], list[str]], setting: Setting) -> Iterator[Server]:
    """A server that is a Python program, on a free port."""
    port, _ = proxies.two_ports()
    arguments = [*setting.under, sys.executable, "-P", "-m", *command(setting, port), *setting.options]
    started = time.monotonic()
    with _process(arguments) as process:
        server = Server(port, (process.pid,))
        _await_answer(server, setting, process)
        yield Server(port, server.roots, time.monotonic() - started, server.cpu())


@contextlib.contextmanager
def _process(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, from this directory; its output is shown if it does not start."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            arguments, cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        except RuntimeError as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace"))
            raise
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _await_answer(server: Server, setting: Setting, process: subprocess.Popen[bytes] | None) -> None:
    deadline, client = time.monotonic() + 10 * PATIENCE, setting.client()
    while True:
        with contextlib.suppress(OSError):
            load.visit(server.port, client)
            return
        if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
            raise RuntimeError(f"a server does not answer on port {server.port}")
        time.sleep(0.01)


@contextlib.contextmanager
def _proxy(program: str, setting: Setting) -> Iterator[Server]:
    """nginx or Caddy as `asgi-tls export` writes its file, in front of uvicorn on uvloop."""
    port, _ = proxies.two_ports()
    command = _uvicorn_without_files("uvloop", setting, port)
    started = time.monotonic()
    with (
        _process([sys.executable, "-P", "-m", *command]) as process,
        tempfile.TemporaryDirectory() as directory,
    ):
        await_port(port)
        upstream = f"--upstream=127.0.0.1:{port}"
        with proxies.running(program, Path(directory), setting.ca, setting.pair, upstream) as proxy:
            server = Server(proxy.tls, (proxy.pid, process.pid))
            _await_answer(server, setting, None)
            yield Server(proxy.tls, server.roots, time.monotonic() - started, server.cpu())


_KEEP_ALIVE = 75  # as nginx has it: gunicorn would end an idle connection after two seconds
_QUIET = ("--no-access-log", "--log-level=warning")


def _uvicorn(loop: str, setting: Setting, port: int) -> list[str]:
    files = [f"--ssl-certfile={setting.pair.certfile}", f"--ssl-keyfile={setting.pair.keyfile}"]
    return [*_uvicorn_without_files(loop, setting, port), *files]


def _uvicorn_without_files(loop: str, setting: Setting, port: int) -> list[str]:
    listen = [f"--port={port}", f"--workers={setting.workers}", f"--timeout-keep-alive={_KEEP_ALIVE}"]
    return ["uvicorn", "hello_app:app", "--app-dir=.", *_QUIET, f"--loop={loop}", *listen]


def _hypercorn(setting: Setting, port: int) -> list[str]:
    return ["hypercorn", "hello_app:app", "--worker-class=uvloop", *_bound(setting, port)]


def _gunicorn(setting: Setting, port: int) -> list[str]:
    return ["gunicorn", "hello_app:app", "--worker-class=asgi", "--log-level=warning", *_bound(setting, port)]


def _bound(setting: Setting, port: int) -> list[str]:
    """The options that hypercorn and gunicorn share."""
    files = [f"--certfile={setting.pair.certfile}", f"--keyfile={setting.pair.keyfile}"]
    return [f"--bind=127.0.0.1:{port}", f"--workers={setting.workers}", f"--keep-alive={_KEEP_ALIVE}", *files]


def _granian(setting: Setting, port: int) -> list[str]:
    files = [f"--ssl-certificate={setting.pair.certfile}", f"--ssl-keyfile={setting.pair.keyfile}"]
    return [
        "granian", "hello_app:app", "--interface=asgi", f"--port={port}", "--no-access-log", "--log-level=warning",
        f"--workers={setting.workers}", "--loop=uvloop", "--ssl-protocol-min=tls1.2", *files,
    ]  # fmt: skip


def _ours(command: Callable[[Setting, int], list[str]]) -> Callable[[Setting, int], list[str]]:
    return lambda setting, port: ["asgi_tls", *command(setting, port)]


_PLAIN: Mapping[str, Callable[[Setting, int], list[str]]] = {
    "uvicorn, asyncio": partial(_uvicorn, "asyncio"),
    "uvicorn, uvloop": partial(_uvicorn, "uvloop"),
    "hypercorn": _hypercorn,
    "gunicorn": _gunicorn,
}
PYTHON = tuple(
    contestant
    for name, command in _PLAIN.items()
    for contestant in (
        Contestant(name, partial(_python, command)),
        Contestant(f"asgi-tls {name}", partial(_python, _ours(command)), base=name),
    )
)
OTHERS = (
    Contestant("granian", partial(_python, _granian)),
    *(Contestant(f"{program} and uvicorn", partial(_proxy, program)) for program in ("nginx", "caddy")),
)
CONTESTANTS = (*PYTHON, *OTHERS)
BASES = {each.name: each.base for each in CONTESTANTS if each.base is not None}


def without_files(loop: str, setting: Setting) -> AbstractContextManager[Server]:
    """`asgi-tls uvicorn` that gets its certificates by an option."""
    return _python(_ours(partial(_uvicorn_without_files, loop)), setting)
