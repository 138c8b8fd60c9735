"""`asgi-tls export` run as a command, its file checked by the program it is for, and the program run with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asgi_servers import free_port
from files import Files
from servers import asgi_tls, await_port, run

from asgi_tls import PEMFiles

PROXIES = ("nginx", "haproxy", "caddy")
PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    name: str
    plain: int
    tls: int
    ca: Path


def exported(program: str, directory: Path, *options: str) -> Path:
    """The file that `asgi-tls export PROGRAM` writes."""
    path = directory / f"{program}.conf"
    status, said = run(asgi_tls("export", program, "--output", str(path), *options))
    assert status == 0, said
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
def running(
    program: str, directory: Path, files: Files, *options: str, pair: PEMFiles | None = None
) -> Iterator[Proxy]:
    """The program with its export, on two free ports of 127.0.0.1; by default for localhost."""
    plain, tls = free_port(), free_port()
    ports = [f"--http-port={plain}", f"--https-port={tls}", "--address=127.0.0.1"]
    path = exported(program, directory, *pair_options(pair or files.ecdsa), *ports, *options)
    command = {
        "nginx": ["nginx", "-e", "stderr", *_for_nginx(path, "daemon off;")],
        "haproxy": ["haproxy", "-db", "-f", str(path)],
        "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)],
    }[program]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **_environment(directory)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        for port in (plain, tls):
            try:
                await_port(port, 30)
            except OSError:
                raise AssertionError((directory / "log").read_text(encoding="utf-8", errors="replace")) from None
        yield Proxy(program, plain, tls, files.ca)
    finally:
        process.terminate()
        try:
            process.wait(15)
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
