"""Without a free descriptor, errors say so: the files are fine, and advice about permissions would mislead."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from patience import until
from renewals import Site, renamed
from servers import Server, serve
from wire import events

from asgi_tls.explain import explain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit of a running process is changed")

SAYS = "this process has reached the limit of open files"

SCRIPT = """
import os, resource, ssl, sys
from asgi_tls import LetsEncrypt, PEMFiles
from asgi_tls.certificate import PEMDirectory
from asgi_tls.certificate.keyfile import load_cert_chain
from asgi_tls.errors import TooManyOpenFilesError

files = PEMFiles(*sys.argv[1:3])
certificate = files.load()
home = os.path.dirname(sys.argv[1])
tasks = {
    "files": files.load,
    "directory": lambda: PEMDirectory(home).pairs(),
    "certbot": lambda: LetsEncrypt("x.example", directory=home).load(),
    "context": lambda: load_cert_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate),
}
for task in tasks.values():  # whatever is imported on the way
    try:
        task()
    except Exception:
        pass
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + int(sys.argv[3]), hard))
try:
    tasks[sys.argv[4]]()
except TooManyOpenFilesError as error:
    print(error.code, error)
"""


@pytest.mark.parametrize(
    ("free", "task"), [(0, "files"), (0, "directory"), (0, "certbot"), (0, "context"), (1, "context")]
)
def test_whatever_is_opened(files: Files, free: int, task: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(files.ecdsa.certfile), str(files.ecdsa.keyfile), str(free), task]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    assert SAYS in done.stdout
    assert done.stdout.startswith("too-many-open-files ")
    assert "LimitNOFILE" in done.stdout


def _await(server: Server, name: str, count: int) -> list[dict[str, object]]:
    def found() -> list[dict[str, object]]:
        return [event for event in events(server) if event["event"] == name]

    until(lambda: len(found()) >= count, server)
    return found()


def test_a_reload_without_a_descriptor_says_so_and_the_next_one_succeeds(files: Files, tmp_path: Path) -> None:
    site = Site(files.pki, tmp_path)
    launch = Launch("uvicorn", "asyncio")
    command = launch.command(site.source, {"reload_interval": "30"})
    ready, count = launch.readiness()
    with serve([*command, "--tls-log-json"], ready=ready, count=count) as server:
        pid = server.process.pid
        connect(server.port, client(), path=None)
        _await(server, "tls_certificate_loaded", 1)
        used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min({*range(len(used) + 1)} - used), hard))
        pair = site.next_pair()
        renamed(site, pair)
        os.kill(pid, signal.SIGHUP)
        event, *again = _await(server, "tls_reload_failed", 1)
        assert event["code"] == "too-many-open-files"
        assert SAYS in str(event["msg"])
        assert {each["code"] for each in again} <= {event["code"]}
        assert explain(str(event["code"]))[0].trouble.code == "too-many-open-files"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        os.kill(pid, signal.SIGHUP)
        _await(server, "tls_certificate_loaded", 2)
        assert connect(server.port, client(), path=None).certificate == pair.der
