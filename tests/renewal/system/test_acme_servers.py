"""Automatic HTTPS as users get it: one command from an empty directory, against pebble, under traffic."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from acme_servers import Traffic, issuer, launched, options, settings_for, stored, until_issued
from cryptography import x509
from launch import Launch
from patience import until
from pebble import HMAC, KID, NAME, SHORT, pebble
from servers import asgi_tls, run, serve

pytestmark = pytest.mark.system

HTTP, TLS = "http-01", "tls-alpn-01"
LAUNCHES = [
    (Launch("uvicorn", "asyncio"), HTTP),
    (Launch("uvicorn", "uvloop", 4), HTTP),
    (Launch("uvicorn", "asyncio", 4), TLS),
    (Launch("uvicorn", "uvloop"), TLS),
    (Launch("hypercorn", "asyncio", 4), HTTP),
    (Launch("hypercorn", "uvloop"), TLS),
    (Launch("gunicorn", "asgi", 4), TLS),
    (Launch("gunicorn", "asgi"), HTTP),
    (Launch("gunicorn", "sync", 4), HTTP),
    (Launch("gunicorn", "sync"), TLS),
    (Launch("gunicorn", "gthread"), TLS),
]


@pytest.mark.parametrize(("launch", "challenge"), LAUNCHES, ids=lambda value: str(value))
def test_the_first_certificate_under_traffic(tmp_path: Path, launch: Launch, challenge: str) -> None:
    storage = tmp_path / "storage"
    with pebble(tmp_path) as ca, launched(launch, ca, storage, acme_challenge=challenge) as server:
        assert "a self-signed placeholder" in server.text  # it may be over before the last worker is ready
        with Traffic(ca.tls_port).running() as traffic:
            until_issued(ca.tls_port, server)
            until(lambda: stored(storage)["window"] is not None, server)
        assert (traffic.failed, ca.orders, len(ca.issued)) == ([], 1, 1)
        assert traffic.answered > 10
        modes = {stat.S_IMODE(path.stat().st_mode) for path in storage.rglob("*") if path.is_file()}
        assert modes == {0o600}
        key = (storage / "account.pem").read_text().splitlines()[1]
        assert key not in server.text
        assert "Traceback" not in server.text


def test_nobody_orders_again_what_is_there(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop", 2)
    with pebble(tmp_path) as ca:
        for _ in range(3):
            with launched(launch, ca, storage) as server:
                until_issued(ca.tls_port, server)
        assert ca.orders == 1
        # Also where the record of it is lost.
        for record in (storage / "certificates").glob("*.json"):
            record.write_text("{")
        with launched(launch, ca, storage) as server:
            assert "Pebble" in issuer(ca.tls_port)
            time.sleep(6)  # longer than what is stored is remembered
        assert ca.orders == 1
        # Also where no CA is there any more: what is stored is served from the first connection on.
        ca.stop()
        with launched(launch, ca, storage) as server:
            assert "Pebble" in issuer(ca.tls_port)
            assert "placeholder" not in server.text


def test_20_seconds_of_life_under_load(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop", 2)
    with pebble(tmp_path, profiles=SHORT) as ca:
        with launched(launch, ca, storage, acme_profile="seconds") as server:
            until_issued(ca.tls_port, server)
            with Traffic(ca.tls_port).running() as traffic:
                end = time.monotonic() + 60
                until(lambda: time.monotonic() >= end and traffic.answered >= 2000, server, patience=300)
        assert traffic.failed == []
        assert len(ca.issued) >= 4
        assert ca.replaced >= 3  # renewals name the certificate that they replace
        assert ca.orders - len(ca.issued) <= 2  # one may have been under way at the end


def test_the_cas_window_brings_the_renewal_forward_once(tmp_path: Path) -> None:
    """As for a certificate that the CA has revoked: the window is over. It means nothing for the next certificate."""
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop", 2)
    with pebble(tmp_path) as ca, launched(launch, ca, storage) as server:
        until(lambda: (storage / "certificates").exists() and list((storage / "certificates").glob("*.pem")), server)
        (pem,) = (storage / "certificates").glob("*.pem")
        first = pem.read_bytes()
        yesterday = datetime.now(UTC) - timedelta(days=1)
        window = {
            "start": f"{yesterday - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "end": f"{yesterday:%Y-%m-%dT%H:%M:%SZ}",
        }
        ca.answer_renewal_info(first, {"suggestedWindow": window})
        # The next question is hours away; the break behind an order is over as well.
        (record,) = (storage / "certificates").glob("*.json")

        def as_if_later() -> None:
            values = json.loads(record.read_text())
            values["window_again_at"], values["issued"] = 0, [time.time() - 3600]
            record.write_text(json.dumps(values))

        until(lambda: stored(storage)["window"] is not None, server)
        as_if_later()
        until(lambda: pem.read_bytes() != first, server)
        until(lambda: stored(storage)["window"] is not None, server)
        time.sleep(3)
        assert (ca.orders, ca.replaced) == (2, 1)


def test_a_herd_of_processes_orders_once(tmp_path: Path) -> None:
    """Eight servers that know nothing of each other, but for the directory."""
    storage = tmp_path / "storage"
    with pebble(tmp_path) as ca, ExitStack() as herd:
        settings = settings_for(ca, storage)
        del settings["redirect_port"]
        launch = Launch("uvicorn", "asyncio")
        ready, count = launch.readiness()
        first = herd.enter_context(launched(launch, ca, storage))
        others = [herd.enter_context(serve(launch.command(None, settings), ready=ready, count=count)) for _ in range(7)]
        for server in (first, *others):
            until_issued(server.port, server)
        assert (ca.orders, len(ca.issued)) == (1, 1)


def test_a_worker_that_is_killed_in_its_order_is_followed_by_another(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "asyncio", 3)
    with pebble(tmp_path, sleep=True) as ca, launched(launch, ca, storage) as server:
        until(lambda: ca.orders == 1, server)
        holders = subprocess.run(
            ["pgrep", "-f", "asgi_tls.renewal.acme.process"], capture_output=True, text=True, check=False
        ).stdout.split()
        parents = {int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]) for pid in holders}
        ours = parents & _descendants(server.process.pid)
        assert len(ours) == 1
        os.kill(ours.pop(), signal.SIGKILL)
        until_issued(ca.tls_port, server)
        assert ca.orders == 2
        assert len(ca.issued) == 1
        assert Path(f"/proc/{server.process.pid}").exists()


def _descendants(pid: int) -> set[int]:
    found = {pid}
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found |= _descendants(int(child))
    return found


def test_a_ca_that_is_down_at_the_start(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("hypercorn", "asyncio")
    with pebble(tmp_path) as ca:
        ca.stop()
        with launched(launch, ca, storage) as server:
            until(lambda: "Next try" in server.text, server)
            assert "placeholder" in issuer(ca.tls_port)
            assert "Let this host reach the CA" in server.text
            assert stored(storage)["failures"] == 1
            ca.start()
            (record,) = (storage / "certificates").glob("*.json")
            values = json.loads(record.read_text())
            record.write_text(json.dumps({**values, "again_at": 0}))  # as if the minute were over
            until_issued(ca.tls_port, server)
            assert stored(storage)["failures"] == 0


def test_a_ca_that_is_down_past_the_expiry_and_comes_back(tmp_path: Path) -> None:
    """The expired certificate is served, also by a server that starts meanwhile, until there is a new one."""
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop")
    with pebble(tmp_path, profiles=SHORT) as ca:
        with launched(launch, ca, storage) as server:
            until_issued(ca.tls_port, server)
            (pem,) = (storage / "certificates").glob("*.pem")
            ca.stop()
            end = x509.load_pem_x509_certificate(pem.read_bytes()).not_valid_after_utc
            until(lambda: datetime.now(UTC) > end + timedelta(seconds=1), server)
            assert "Pebble" in issuer(ca.tls_port)
            assert "cannot be reached" in server.text or "acme-unreachable" in server.text
        expired = pem.read_bytes()
        with launched(launch, ca, storage) as server:
            assert "Pebble" in issuer(ca.tls_port)
            assert "(acme-expired)" in server.text
            ca.start()
            until(lambda: pem.read_bytes() != expired, server)


def test_a_ca_that_has_lost_the_account(tmp_path: Path) -> None:
    """pebble forgets everything when it is started again, and has another root."""
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop")
    with pebble(tmp_path, profiles=SHORT) as ca, launched(launch, ca, storage) as server:
        until_issued(ca.tls_port, server)
        before = issuer(ca.tls_port)
        ca.stop()
        ca.start()
        until(lambda: "Pebble" in issuer(ca.tls_port) and issuer(ca.tls_port) != before, server)


def test_a_challenge_that_fails_is_followed_by_another_type(tmp_path: Path) -> None:
    """Nothing listens on the CA's port for http-01."""
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop")
    with pebble(tmp_path) as ca:
        settings = settings_for(ca, storage)
        del settings["redirect_port"]
        ready, count = launch.readiness()
        more = ["--tls-acme-challenge=http-01", "--tls-acme-challenge=tls-alpn-01"]
        with serve(launch.command(None, settings, *more, port=ca.tls_port), ready=ready, count=count) as server:
            until(lambda: "Next try" in server.text, server)
            assert "could not validate" in server.text
            assert "More: asgi-tls explain acme-challenge-failed" in server.text
            (record,) = (storage / "certificates").glob("*.json")
            values = json.loads(record.read_text())
            assert len(values["failed_validations"]) == 1
            record.write_text(json.dumps({**values, "again_at": 0}))
            until_issued(ca.tls_port, server)


def test_a_storage_that_is_full_or_gone_takes_nothing_away(tmp_path: Path) -> None:
    """While the order is under way: what is issued is served from memory, stored later, and not ordered again."""
    storage, launch = tmp_path / "storage", Launch("uvicorn", "asyncio")
    with pebble(tmp_path, sleep=True) as ca, launched(launch, ca, storage) as server:
        until(lambda: ca.orders == 1, server)
        (storage / "certificates").rename(tmp_path / "away")
        (storage / "certificates").write_text("in the way")
        until_issued(ca.tls_port, server)
        assert "served from memory" in server.text
        (storage / "certificates").unlink()
        (tmp_path / "away").rename(storage / "certificates")
        until(lambda: list((storage / "certificates").glob("*.pem")), server)
        assert ca.orders == 1


def test_an_external_account_a_wildcard_by_a_command_and_a_profile(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop")
    (tmp_path / "hmac").write_text(HMAC)
    (tmp_path / "hmac").chmod(0o600)
    with pebble(tmp_path, external_account=True, nonce_reject=50) as ca:
        command = tmp_path / "dns"
        command.write_text(
            "#!/bin/sh\n"
            f"url=http://127.0.0.1:{ca.dns_management}\n"
            "case $1 in present) do=set-txt ;; clean) do=clear-txt ;; esac\n"
            'exec curl -sSf -d "{\\"host\\": \\"$2.\\", \\"value\\": \\"$3\\"}" $url/$do\n'
        )
        command.chmod(0o700)
        more = {
            "acme_eab_kid": KID, "acme_eab_key_file": str(tmp_path / "hmac"), "acme_dns": str(command),
            "acme": "*.wild.example.test", "acme_key": "rsa", "acme_profile": "default",
        }  # fmt: skip
        with launched(launch, ca, storage, **more) as server:
            until_issued(ca.tls_port, server)
            assert HMAC not in server.text
        status, said = run(asgi_tls("acme", "status", *options(settings_for(ca, storage, **more))))
        assert status == 0
        assert "*.wild.example.test" in said
        assert "valid until" in said


def test_the_commands(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "uvloop")
    with pebble(tmp_path) as ca:
        own = options(settings_for(ca, storage))
        status, said = run(asgi_tls("acme", "status", *own))
        assert status == 1
        assert "none that is valid now" in said
        with launched(launch, ca, storage) as server:
            until_issued(ca.tls_port, server)
            (pem,) = (storage / "certificates").glob("*.pem")
            first = pem.read_bytes()
            status, said = run(asgi_tls("acme", "issue", *own))
            assert (status, "Nothing is due" in said) == (1, True)
            status, said = run(asgi_tls("acme", "issue", "--force", *own))
            assert status == 0, said
            assert pem.read_bytes() != first
            serial = x509.load_pem_x509_certificate(pem.read_bytes()).serial_number
            status, said = run(asgi_tls("acme", "revoke", "--yes", "--reason=superseded", *own))
            assert status == 0, said
            assert ca.status(serial) == "Revoked"
            until(lambda: x509.load_pem_x509_certificate(pem.read_bytes()).serial_number != serial, server)
            status, said = run(asgi_tls("acme", "dns-record", *own))
            assert f"{NAME}. CAA 0 issue" in said
            assert "accounturi=https://localhost" in said
            status, said = run(asgi_tls("acme", "status", "--json", *own))
            assert json.loads(said)["names"] == [NAME]


def test_an_address_and_a_name_in_unicode(tmp_path: Path) -> None:
    storage, launch = tmp_path / "storage", Launch("uvicorn", "asyncio")
    with pebble(tmp_path, authz_reuse=100) as ca:
        # The CA asks for an address by its reverse name.
        more = ["--tls-acme=bücher.example.test", "--tls-acme=127.0.0.1", "--tls-acme-challenge=tls-alpn-01"]
        settings = settings_for(ca, storage)
        ready, count = launch.readiness()
        command = launch.command(None, settings, *more, port=ca.tls_port)
        with serve(command, ready=ready, count=count) as server:
            until_issued(ca.tls_port, server)
            assert "xn--bcher-kva.example.test, 127.0.0.1" in server.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_of_another_user(tmp_path: Path) -> None:
    """A new storage becomes theirs; one with contents of somebody else's is refused."""
    with tempfile.TemporaryDirectory() as open_to_all, pebble(tmp_path) as ca:
        Path(open_to_all).chmod(0o755)
        storage, launch = Path(open_to_all, "storage"), Launch("gunicorn", "asgi", 2)
        own = ["--user=nobody", "--group=nogroup"]
        user = pwd.getpwnam("nobody").pw_uid
        with launched(launch, ca, storage, *own):  # which cannot order where this Python is root's alone
            assert {path.stat().st_uid for path in (storage, *storage.iterdir())} == {user}
        (storage / "account.pem").write_text("root's")
        os.chown(storage / "account.pem", 0, 0)
        status, said = run(launch.command(None, settings_for(ca, storage), *own, port=ca.tls_port))
        assert status == 3
        assert f"chown -R {user}:" in said
