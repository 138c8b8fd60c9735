"""`asgi-tls export` run as a command, its file checked by the program it is for, and the program run with it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from servers import await_port, run

from asgi_tls import PEMFiles
from asgi_tls.cli import main

PROXIES = ("nginx", "haproxy", "caddy")
PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
_ALONE = threading.Lock()  # click.testing replaces the output of the whole process


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    name: str
    plain: int
    tls: int
    ca: Path
    pid: int


def two_ports() -> tuple[int, int]:
    """Two that are free, below those that the system gives to clients, so that nobody else is likely to get one."""
    chosen: list[int] = []
    with contextlib.ExitStack() as held:
        while len(chosen) < 2:
            sock = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
                chosen.append(sock.getsockname()[1])
    return chosen[0], chosen[1]


def exported(program: str, directory: Path, *options: str) -> Path:
    """The file that `asgi-tls export PROGRAM` writes. In this process: there are many."""
    path = directory / f"{program}.conf"
    with _ALONE:
        done = CliRunner().invoke(main, ["export", program, "--output", str(path), *options])
    assert done.exit_code == 0, done.output
    return path


def pair_options(pair: PEMFiles) -> list[str]:
    """The options for a pair, whose key HAProxy before 3.0 wants to find beside the certificate."""
    certificate, key = Path(pair.certfile), Path(str(pair.keyfile))
    with contextlib.suppress(FileExistsError):
        Path(f"{certificate}.key").symlink_to(key)
    return [f"--certificate={certificate}", f"--key={key}"]


def checked(program: str, path: Path) -> tuple[int, str]:
    """What the program itself says of the file: exit status and text."""
    command = {
        "nginx": ["nginx", "-t", "-e", "stderr", *_for_nginx(path)],
        "haproxy": ["haproxy", "-c", "-f", str(path)],
        "caddy": ["caddy", "validate", "--adapter", "caddyfile", "--config", str(path)],
    }[program]
    return run(command, env=_environment(path.parent))


@contextlib.contextmanager
def running(program: str, directory: Path, ca: Path, pair: PEMFiles, *options: str) -> Iterator[Proxy]:
    """The program with its export, on two free ports of 127.0.0.1."""
    plain, tls = two_ports()
    ports = [f"--http-port={plain}", f"--https-port={tls}", "--address=127.0.0.1"]
    path = exported(program, directory, *pair_options(pair), *ports, *options)
    command = {
        "nginx": ["nginx", "-e", "stderr", *_for_nginx(path, "daemon off;")],
        "haproxy": ["haproxy", "-db", "-f", str(path)],
        "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)],
    }[program]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **_environment(directory)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 30
    try:
        for port in (plain, tls):
            while True:
                try:
                    await_port(port, 0.5)
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        text = (directory / "log").read_text(encoding="utf-8", errors="replace")
                        raise AssertionError(f"{program} does not listen:\n{text}") from None
        yield Proxy(program, plain, tls, ca, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _for_nginx(path: Path, more: str = "") -> list[str]:
    """Run as it is, but with what it writes below the test's directory."""
    directory = path.parent
    text = path.read_text(encoding="utf-8")
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    moved = path.with_suffix(".moved")
    moved.write_text(text.replace("\nhttp {\n", f"\nhttp {{ access_log off; {temporary}\n", 1), encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    return ["-c", str(moved), "-g", f"{user} pid {directory}/pid; {more}"]


def _environment(directory: Path) -> dict[str, str]:
    """Caddy keeps state in the user's directories, and opens its administration socket where it is told."""
    homes = {name: str(directory) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    return {"PATH": PATH, "CADDY_ADMIN": f"unix/{directory}/admin", **homes}
