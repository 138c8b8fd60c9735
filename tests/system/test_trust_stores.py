"""The local CA in the real stores: this machine's own, NSS databases, p11-kit; and who believes it then.

The machine's store is changed by one test at a time, which leaves it as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo import demo_served
from launch import Launch
from machine import DISTRIBUTIONS, Machine
from pki import PKI
from servers import asgi_tls, serve

from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.stores import Anchor, family_of, find_stores
from asgi_tls.dev.stores.change import Change

pytestmark = pytest.mark.system

LOCAL = Path("/usr/local/share/ca-certificates")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
KEYSTORE = Path("/etc/ssl/certs/java/cacerts")

# What would lead a client past the stores, or a browser out of its home.
_LEADING_AWAY = re.compile(r"SSL_CERT_|CURL_|REQUESTS_|NODE_EXTRA|XDG_|ASGI_TLS_|SUDO_|.*_proxy\Z", re.IGNORECASE)


class User:
    """Somebody with a home of their own, and nothing else in the environment that counts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not _LEADING_AWAY.match(name)}
        self.environ = {**kept, "HOME": str(home), "PYTHONWARNINGS": "ignore"}

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Without a terminal: what would ask there fails instead."""
        return subprocess.run(
            command,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=120,
            start_new_session=True,
            check=False,
        )

    def asgi_tls(self, *arguments: str, status: int = 0) -> str:
        done = self.run(*asgi_tls(*arguments))
        assert done.returncode == status, done.stdout
        return done.stdout

    @property
    def ca(self) -> LocalCA:
        return LocalCA(self.home / ".local/share/asgi-tls")

    def database(self, place: str, password: str = "") -> Path:
        """An NSS database, as a browser's first start makes it."""
        directory = self.home / place
        directory.mkdir(parents=True)
        secret = directory / "password"
        secret.write_text(f"{password}\n")
        how = ["-f", str(secret)] if password else ["--empty-password"]
        certutil("-N", *how, "-d", f"sql:{directory}")
        return directory


def certutil(*arguments: str) -> str:
    return subprocess.run(["certutil", *arguments], check=True, capture_output=True, text=True).stdout


def listed(directory: Path) -> dict[str, str]:
    """Nickname -> trust."""
    lines = certutil("-L", "-d", f"sql:{directory}").splitlines()[4:]
    return {" ".join(line.split()[:-1]): line.split()[-1] for line in lines if line.strip()}


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "home")


@pytest.fixture
def machine_store(user: User) -> Iterator[None]:
    """The store of this machine, for one test at a time. It is as before afterwards, whatever the test does."""
    with (Path(tempfile.gettempdir()) / "asgi-tls-tests-system-store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files, trusted = sorted(LOCAL.iterdir()), certificates()
        user.ca.ensure()
        anchor = Anchor.read(user.ca.certificate_path)
        try:
            yield
        finally:
            with contextlib.suppress(AssertionError):
                user.asgi_tls("ca", "uninstall", "--store", "system")
            file = LOCAL / f"{anchor.label}.crt"
            if file.exists():
                file.unlink()
                subprocess.run(["update-ca-certificates"], check=True, capture_output=True)
        assert sorted(LOCAL.iterdir()) == files
        assert certificates() >= trusted
        assert anchor.pem not in certificates()
        assert java_trusts(anchor.label) in {False, None}
        # Neither by name nor by hash does a link lead there.
        links = {path.name: path.readlink().name for path in BUNDLE.parent.iterdir() if path.is_symlink()}
        assert not [name for name, target in links.items() if anchor.label in f"{name} {target}"]


def certificates() -> set[str]:
    return set(re.findall(r"-----BEGIN .*?-----END CERTIFICATE-----\n", BUNDLE.read_text(), re.DOTALL))


def lines(text: str, state: str) -> set[str]:
    """The stores of which it says so."""
    return set(re.findall(rf"^(\S.*): {state}$", text, re.MULTILINE))


def java_trusts(label: str) -> bool | None:
    """None on a machine without Java."""
    if not KEYSTORE.exists() or shutil.which("keytool") is None:
        return None
    command = ["keytool", "-list", "-keystore", str(KEYSTORE), "-storepass", "changeit"]
    return label in subprocess.run(command, check=True, capture_output=True, text=True).stdout


PYTHON = """
import socket, ssl, sys
context = ssl.create_default_context()
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60) as sock:
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        print(tls.version())
"""
HTTPX = "import httpx, sys; print(httpx.get(f'https://localhost:{sys.argv[1]}/tls').json()['protocol'])"
CHROMIUM = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-background-networking"]


def who_trusts(user: User, port: int) -> dict[str, bool]:
    """Ask each client. One that fails for another reason than trust is a failure of the test."""
    url = f"https://localhost:{port}/"
    bundle = {"SSL_CERT_FILE": str(BUNDLE)}
    clients = {
        "curl": (user.run("curl", "-sS", f"{url}tls"), "SSL certificate problem"),
        "python": (user.run(sys.executable, "-c", PYTHON, str(port)), "CERTIFICATE_VERIFY_FAILED"),
        "httpx": (user.run(sys.executable, "-c", HTTPX, str(port), **bundle), "CERTIFICATE_VERIFY_FAILED"),
        "chromium": (user.run("chromium", *CHROMIUM, "--dump-dom", url), "ERR_CERT_AUTHORITY_INVALID"),
    }
    found = {}
    for name, (done, refusal) in clients.items():
        found[name] = "TLSv1.3" in done.stdout
        assert found[name] != (refusal in done.stdout), f"{name}: {done.stdout}"
    return found


def test_everybody_trusts_it_after_install_and_nobody_after_uninstall(user: User, machine_store: None) -> None:
    profile = user.database(".mozilla/firefox/ab12cd34.default")
    stores = {f"System store ({LOCAL})", f"Chromium ({user.home}/.local/share/pki/nssdb)", f"Firefox ({profile})"}
    environ = {**user.environ, "ASGI_TLS_HOME": str(user.ca.directory)}
    with demo_served(Launch("uvicorn", "asyncio"), None, environ=environ) as server:
        nobody = dict.fromkeys(("curl", "python", "httpx", "chromium"), False)
        assert who_trusts(user, server.port) == nobody
        assert lines(user.asgi_tls("ca", "install"), "now trusts it") >= stores
        assert who_trusts(user, server.port) == dict.fromkeys(nobody, True)
        label = Anchor.read(user.ca.certificate_path).label
        assert listed(profile) == {label: "C,,"}
        # httpx and requests read certifi, not the store, unless they are told.
        assert "CERTIFICATE_VERIFY_FAILED" in user.run(sys.executable, "-c", HTTPX, str(server.port)).stdout
        assert lines(user.asgi_tls("ca", "install"), "already trusts it") >= stores
        assert java_trusts(label) in {True, None}
        assert lines(user.asgi_tls("ca", "uninstall"), "no longer trusts it") >= stores
        assert java_trusts(label) in {False, None}
        assert who_trusts(user, server.port) == nobody
        assert listed(profile) == {}
        assert lines(user.asgi_tls("ca", "uninstall"), "did not trust it") >= stores


@pytest.mark.parametrize("place", [".pki/nssdb", ".local/share/pki/nssdb"])
def test_chromium_reads_the_database_that_was_there(user: User, place: str) -> None:
    database = user.database(place)
    text = user.asgi_tls("ca", "install", "--store", "nss")
    assert f"Chromium ({database}): now trusts it" in text
    environ = {**user.environ, "ASGI_TLS_HOME": str(user.ca.directory)}
    with demo_served(Launch("uvicorn", "asyncio"), None, environ=environ) as server:
        url = f"https://localhost:{server.port}/"
        assert "TLSv1.3" in user.run("chromium", *CHROMIUM, "--dump-dom", url).stdout


def test_a_chromium_that_never_ran_gets_a_database(user: User) -> None:
    """What is made here is what the other test's Chromium trusts by."""
    user.asgi_tls("ca", "install", "--store", "nss")
    label = Anchor.read(user.ca.certificate_path).label
    assert listed(user.home / ".pki/nssdb") == {label: "C,,"}
    assert (user.home / ".pki/nssdb").stat().st_mode & 0o777 == 0o700


def test_nss_takes_ours_and_leaves_others(user: User) -> None:
    database = user.database(".mozilla/firefox/ab12cd34.default")
    arguments = ("--store", "nss")
    foreign = user.home / "foreign.pem"
    foreign.write_bytes(PKI().root_pem)
    certutil("-A", "-t", "CT,C,C", "-n", "Company CA, Inc.", "-i", str(foreign), "-d", f"sql:{database}")
    user.asgi_tls("ca", "install", *arguments)
    old = Anchor.read(user.ca.certificate_path)
    assert listed(database) == {"Company CA, Inc.": "CT,C,C", old.label: "C,,"}

    # Trust that was taken away by hand comes back.
    certutil("-M", "-t", ",,", "-n", old.label, "-d", f"sql:{database}")
    user.asgi_tls("ca", "install", *arguments)
    assert listed(database)[old.label] == "C,,"

    # A CA that was made anew takes the place of the old one.
    shutil.rmtree(user.ca.certificate_path.parent)
    user.asgi_tls("ca", "install", *arguments)
    new = Anchor.read(user.ca.certificate_path)
    assert listed(database) == {"Company CA, Inc.": "CT,C,C", new.label: "C,,"}
    shutil.rmtree(user.ca.certificate_path.parent)
    user.asgi_tls("ca", "uninstall", *arguments)
    assert listed(database) == {"Company CA, Inc.": "CT,C,C"}


def test_nss_knows_ours_that_was_imported_by_hand(user: User) -> None:
    """NSS keeps the nickname that a certificate had first."""
    database = user.database(".mozilla/firefox/ab12cd34.default")
    user.ca.ensure()
    by_hand = ("-n", "my CA", "-i", str(user.ca.certificate_path), "-d", f"sql:{database}")
    certutil("-A", "-t", ",,", *by_hand)
    user.asgi_tls("ca", "install", "--store", "nss")
    assert listed(database) == {"my CA": "C,,"}
    assert f"({database}): already trusts it" in user.asgi_tls("ca", "install", "--store", "nss")
    user.asgi_tls("ca", "uninstall", "--store", "nss")
    assert listed(database) == {}


def test_a_database_with_a_password_is_told_and_holds_up_no_other(user: User) -> None:
    database = user.database(".mozilla/firefox/ab12cd34.default", password="secret")
    other = user.database(".mozilla/firefox/ef56ab78.other")
    text = user.asgi_tls("ca", "install", "--store", "nss", status=1)
    label = Anchor.read(user.ca.certificate_path).label
    assert listed(other) == {label: "C,,"}
    assert "SEC_ERROR_BAD_PASSWORD" in text
    by_hand = re.search(rf"Run it by hand: (.*{database})$", text, re.MULTILINE)
    assert by_hand is not None
    # The line that it prints does it, where the password can be asked for; here it comes from a file.
    done = user.run("sh", "-c", f"{by_hand[1]} -f {database}/password")
    assert done.returncode == 0, done.stdout
    assert f"({database}): already trusts it" in user.asgi_tls("ca", "install", "--store", "nss")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where a user without rights gets, too."""
    directory = Path(tempfile.mkdtemp(prefix="asgi-tls-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("name", ["fedora", "arch"])
def test_p11_kit_reads_what_is_put_for_update_ca_trust(open_directory: Path, name: str) -> None:
    """Fedora's and Arch's update-ca-trust run `trust extract` over these directories. Debian has the same `trust`."""
    machine = Machine(open_directory)
    anchors = machine.distribution(name)
    bundle = machine.root / DISTRIBUTIONS[name][1]
    (module,) = Path("/usr/lib").glob("*/pkcs11/p11-kit-trust.so")
    settings = machine.directory("home/me/.config/pkcs11")
    (settings / "pkcs11.conf").write_text("user-config: only\n")
    (settings / "modules").mkdir()
    (settings / "modules/p11-kit-trust.module").write_text(
        f"module: {module}\ntrust-policy: yes\nx-init-reserved: paths={anchors.parent}\n"
    )
    extract = "trust extract --format=pem-bundle --filter=ca-anchors --overwrite --comment --purpose=server-auth"
    # p11-kit heeds no user's settings when root runs it.
    nobody = f"setpriv --reuid=65534 --regid=65534 --clear-groups env HOME={machine.home}"
    bundle.parent.chmod(0o777)
    machine.program(
        "usr/sbin/update-ca-trust", f"{nobody if os.geteuid() == 0 else f'env HOME={machine.home}'} {extract} {bundle}"
    )
    ca = LocalCA(machine.home / "data")
    ca.ensure()
    anchor = Anchor.read(ca.certificate_path)
    (store,) = find_stores(machine.host(), ["system"])
    Change.planned(lambda: store.install(anchor)).carry_out(machine.host())
    assert anchor.pem in bundle.read_text()
    Change.planned(lambda: store.uninstall(family_of(anchor.path), anchor)).carry_out(machine.host())
    assert anchor.pem not in bundle.read_text()


def test_mutual_tls_from_the_command_line(user: User) -> None:
    """The walk of docs/development.md."""
    user.asgi_tls("cert", "--client", "alice", "alice@example.org")
    ca = user.asgi_tls("ca", "path").strip()
    pair = user.ca.directory / "clients/alice"
    command = asgi_tls("uvicorn", "identity_app:app", "--port=0", "--tls-client-ca", ca)
    with serve(
        command, ready="Uvicorn running on", env={**user.environ, "ASGI_TLS_HOME": str(user.ca.directory)}
    ) as server:
        curl = ["curl", "-sS", "--cacert", ca, f"https://localhost:{server.port}/anyone"]
        done = user.run(*curl, "--cert", f"{pair}/fullchain.pem", "--key", f"{pair}/privkey.pem")
        assert '"subject":"CN=alice,' in done.stdout
        assert "certificate required" in user.run(*curl).stdout
        # A server's certificate of the same CA is no client's.
        other = user.ca.directory / "certificates/localhost"
        refused = user.run(*curl, "--cert", f"{other}/fullchain.pem", "--key", f"{other}/privkey.pem")
        assert "unsupported certificate" in refused.stdout
        # The same identity, in one file.
        done = user.run(
            *asgi_tls("cert", "--client", "alice", "alice@example.org", "--pkcs12"), ASGI_TLS_PKCS12_PASSWORD="s3cret"
        )
        assert done.returncode == 0, done.stdout
        done = user.run(*curl, "--cert-type", "P12", "--cert", f"{pair}/identity.p12:s3cret")
        assert '"subject":"CN=alice,' in done.stdout


@pytest.mark.parametrize("password", ["s3cret", "pässword", ""])
def test_openssl_and_nss_open_the_pkcs12_file(user: User, password: str) -> None:
    how = [] if password else ["--pkcs12-no-password"]
    command = asgi_tls("cert", "--client", "Alice Ärger", "--pkcs12", *how)
    done = user.run(*command, ASGI_TLS_PKCS12_PASSWORD=password)
    assert done.returncode == 0, done.stdout
    file = user.ca.directory / "clients/Alice Ärger/identity.p12"
    opened = user.run("openssl", "pkcs12", "-in", str(file), "-passin", "env:WORD", "-noenc", "-info", WORD=password)
    assert opened.returncode == 0, opened.stdout
    assert "BEGIN PRIVATE KEY" in opened.stdout
    assert ("AES-256-CBC" in opened.stdout) == bool(password)
    wrong = user.run("openssl", "pkcs12", "-in", str(file), "-passin", "pass:wrong", "-noenc")
    assert "invalid password" in wrong.stdout
    database = user.database(".mozilla/firefox/ab12cd34.default")
    imported = user.run("pk12util", "-i", str(file), "-d", f"sql:{database}", "-W", password)
    assert imported.returncode == 0, imported.stdout
    assert listed(database) == {"Alice Ärger": "u,u,u"}
