"""`asgi-tls acme` where no CA is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fake_ca import FakeCA
from in_process import here
from namespace import alone
from nobody import as_nobody
from servers import asgi_tls, run

from asgi_tls import ACME

DIRECTORY = "--tls-acme-directory=https://127.0.0.1:1/directory"


@pytest.mark.parametrize("command", [("status",), ("issue",), ("revoke", "--yes"), ("dns-record",)], ids=" ".join)
def test_a_storage_that_is_out_of_reach(tmp_path: Path, command: tuple[str, ...]) -> None:
    storage = "--tls-acme-storage=redis://:topsecret@127.0.0.1:1/0"
    env = {"STATE_DIRECTORY": str(tmp_path)}
    how = run if command == ("status",) else here
    status, said = how(asgi_tls("acme", *command, DIRECTORY, storage, "--tls-acme=a.test"), env=env)
    assert status == 3
    assert "--tls-acme-storage" in said
    assert "Traceback" not in said
    assert "topsecret" not in said


def test_a_name_and_its_wildcard_have_a_record_each(tmp_path: Path) -> None:
    names = ["--tls-acme=a.test", "--tls-acme=*.a.test", "--tls-acme-dns=sh set"]
    status, said = here(asgi_tls("acme", "dns-record", DIRECTORY, f"--tls-acme-storage={tmp_path}/storage", *names))
    assert status == 0
    assert [line.split('"')[0] for line in said.splitlines() if "CAA 0" in line] == [
        "a.test. CAA 0 issue ",
        "a.test. CAA 0 issuewild ",
    ]


def test_an_order_by_hand_waits_for_a_server_that_asks_about_the_certificate(tmp_path: Path) -> None:
    """Which holds the lock for a moment."""
    with FakeCA(tmp_path) as ca:
        made = ACME("a.test", directory=ca.ca.url, ca_file=ca.ca_file, storage=tmp_path / "storage")
        made.storage.check()
        held = made.storage.lock(made.identifier, 5.0)
        command = ["--tls-acme=a.test", f"--tls-acme-directory={ca.ca.url}", f"--tls-acme-ca-file={ca.ca_file}"]
        command += [f"--tls-acme-storage={tmp_path}/storage", "--tls-acme-challenge=http-01"]
        status, said = run(asgi_tls("acme", "issue", "--force", *command))
        assert held is not None
        assert (status, ca.asked("new-order")) == (0, 1), said


# Looks at port 80 of its network when the command asks the CA, which does not answer.
LOOKS = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.create_server(("127.0.0.1", 4430)) as ca:
    command = subprocess.Popen(sys.argv[1:])
    asked, _ = ca.accept()
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, 80), timeout=30).close()
        print("answered at", host, flush=True)
    command.kill()
"""


@pytest.mark.system
def test_port_80_of_an_order_by_hand_is_that_of_both_families(tmp_path: Path) -> None:
    command = ["--tls-acme=a.test", "--tls-acme-directory=https://127.0.0.1:4430/directory"]
    command += [f"--tls-acme-storage={tmp_path}/storage", "--tls-acme-challenge=http-01"]
    status, said = run(alone([sys.executable, "-c", LOOKS, *asgi_tls("acme", "issue", "--force", *command)]))
    assert "answered at 127.0.0.1" in said, said
    assert "answered at ::1" in said, said
    assert status == 0, said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("command", [("issue",), ("revoke", "--yes")], ids=" ".join)
def test_root_writes_nothing_that_the_user_of_the_server_could_not_read(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o700)
    os.chown(storage, 65534, 65534)
    status, said = here(asgi_tls("acme", *command, DIRECTORY, f"--tls-acme-storage={storage}", "--tls-acme=a.test"))
    assert status == 3
    assert "sudo -u '#65534'" in said
    assert not [*storage.iterdir()]


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() != 0, reason="only root can have a directory that is closed to others"
)
def test_doctor_looks_at_a_storage_that_this_user_may_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storage").mkdir()
    monkeypatch.setenv("ASGI_TLS_ACME_STORAGE", str(tmp_path / "storage"))
    monkeypatch.chdir("/")
    here(asgi_tls("doctor"))  # nobody may not read Python's own modules either
    with as_nobody():
        _, said = here(asgi_tls("doctor"))
    assert f"{tmp_path}/storage cannot be written by this user" in " ".join(said.split())
    assert "Traceback" not in said
