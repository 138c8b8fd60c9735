"""`python -m asgi_tls …`, forked from a process that has imported what it needs: a start is mostly imports.

What is forked is like the command's own process, but for what Python and OpenSSL read before its first line: `Fork.can`
says where that counts. The commands of the documents run as whole processes, in `make test-system`. Run as a program,
this is the process that forks.
"""

from __future__ import annotations

import functools
import gc
import importlib
import io
import json
import multiprocessing.process
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

COMMAND = (sys.executable, "-P", "-m", "asgi_tls")
"""The command line `asgi-tls` of the Python that runs the tests."""

_READ_BEFORE = ("PYTHON", "LD_", "OPENSSL_", "WEB", "FORWARDED_ALLOW_IPS", "PORT", "SENDFILE")
# That of the processes that fork, whatever a test sets later.
_ENVIRONMENT = dict(os.environ)
# Of each command, what it or the applications of the tests import in any case, but nothing that reads the working
# directory or another part of the environment when it is imported, as prometheus_client does.
_IMPORTED = {
    "uvicorn": (
        *("asgi_tls.servers.uvicorn", "uvicorn.main", "uvicorn.lifespan.on", "uvicorn.protocols.http.auto"),
        *("uvicorn.protocols.websockets.auto", "uvloop", "concurrent.futures.thread"),
    ),
    "hypercorn": ("asgi_tls.servers.hypercorn", "hypercorn.__main__", "hypercorn.asyncio", "hypercorn.run"),
    "gunicorn": ("asgi_tls.servers.gunicorn", "gunicorn.app.wsgiapp", "gunicorn.arbiter", "gunicorn.workers.gasgi"),
}
_IMPORTED_BY_ALL = (
    *("asgi_tls.cli.serve", "asgi_tls.dev.ca", "asgi_tls.middleware", "asgi_tls.servers.worker"),
    *("cryptography.hazmat.backends.openssl", "cryptography.hazmat.primitives.kdf.hkdf", "encodings.idna"),
    *("platformdirs", "starlette.responses", "starlette.routing"),
)


class Fork:
    """A process, with what the tests use of `subprocess.Popen`. Its output and its errors are one text stream."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: int, new_session: bool
    ) -> None:
        self.args = [*command]
        self.returncode: int | None = None
        output, its_output = os.pipe()
        self._status, its_status = os.pipe()
        weakref.finalize(self, os.close, self._status)
        self._reading = threading.Lock()
        its_input = os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else os.dup(stdin)
        passed = [its_input, its_output, its_status]
        arguments = self.args[len(COMMAND) :]
        request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "new_session": new_session}
        try:
            socket.send_fds(_forker(arguments[0])[0], [json.dumps(request).encode()], passed)
        finally:
            for each in passed:
                os.close(each)
        self.stdout: TextIO = os.fdopen(output, encoding="utf-8", errors="surrogateescape")
        self.pid = int(os.read(self._status, 8))

    @staticmethod
    def can(command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Whether a fork is like the process that this command makes."""
        return (
            sys.platform == "linux"
            and len(command) > len(COMMAND)
            and (*command[: len(COMMAND)],) == COMMAND
            and all(
                _ENVIRONMENT.get(name) == env.get(name)
                for name in {*env, *_ENVIRONMENT} - {"PYTHONUNBUFFERED"}
                if name.startswith(_READ_BEFORE)
            )
        )

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended; TimeoutExpired if it has not."""
        end = select.poll()
        end.register(self._status, select.POLLIN)
        if self.returncode is None and not end.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        with self._reading:  # of several threads that wait, one
            if self.returncode is None:
                self.returncode = int(os.read(self._status, 8))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing, where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


@functools.cache
def _forker(command: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks for this command of asgi-tls, and the way to it: it ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, its):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with its:
        line = [sys.executable, "-P", __file__, str(its.fileno()), command]
        process = subprocess.Popen(line, env=_ENVIRONMENT, pass_fds=[its.fileno()])
    return ours, process


def _next(control: socket.socket) -> list[str]:
    """Fork for each request; returns in each child, with the arguments of its command."""
    running = selectors.DefaultSelector()
    running.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in running.select():
            if key.fileobj is not control:
                descriptor, (pid, status) = key.fd, key.data
                running.unregister(descriptor)
                os.close(descriptor)
                os.write(status, b"%8d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(status)
                continue
            data, passed, *_ = socket.recv_fds(control, 1 << 20, 3)
            if not data:
                os._exit(0)
            *streams, status = passed
            if pid := os.fork():
                for each in streams:
                    os.close(each)
                os.write(status, b"%8d" % pid)
                running.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
                continue
            for other in [each for each in running.get_map().values() if each.fileobj is not control]:
                os.close(other.fd)
                os.close(other.data[1])
            running.close()
            control.close()
            os.close(status)
            return _become(streams, **json.loads(data))


def _become(streams: list[int], arguments: list[str], cwd: str, env: dict[str, str], new_session: bool) -> list[str]:
    """Take on what the command's own process would have; returns its arguments."""
    if new_session:
        os.setsid()
    os.chdir(cwd)
    # What an empty entry of sys.path is in the processes that it spawns.
    vars(multiprocessing.process)["ORIGINAL_DIR"] = cwd
    os.environ.clear()
    os.environ.update(env)
    if "gunicorn.config" in sys.modules:  # it has looked for the working directory
        sys.modules["gunicorn.config"].Chdir.default = sys.modules["gunicorn.util"].getcwd()
    source, output = streams
    for each, place in ((source, 0), (output, 1), (output, 2)):
        os.dup2(each, place)
    for each in streams:
        os.close(each)
    if "PYTHONUNBUFFERED" in env and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.orig_argv = [*COMMAND, *arguments]
    return arguments


if __name__ == "__main__":
    for module in (*_IMPORTED_BY_ALL, *_IMPORTED.get(sys.argv[2], ())):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    sys.argv[1:] = _next(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("asgi_tls", run_name="__main__", alter_sys=True)
