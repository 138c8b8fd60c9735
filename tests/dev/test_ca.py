"""The local CA and what it issues, checked by real handshakes."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from odd_certificates import V4, Odd
from pki import PKI

from asgi_tls.certificate import PEMFiles
from asgi_tls.dev.ca import IssuedCertificate, LocalCA
from asgi_tls.errors import ConfigurationError

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def ca(tmp_path: Path) -> LocalCA:
    return LocalCA(tmp_path / "home")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def shake_hands(ca: LocalCA, issued: IssuedCertificate, name: str) -> str | None:
    """The TLS version that a verifying client gets, over a real socket."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.certfile, issued.keyfile)
    client = ssl.create_default_context(cafile=ca.certificate_path)
    client.verify_flags |= getattr(ssl, "VERIFY_X509_STRICT", 0)  # what Python 3.13 asks for by default
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).close()
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as connection:
            return connection.version()
    finally:
        near.close()
        thread.join()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_it_is_made_on_first_use(ca: LocalCA, umask: int) -> None:
    usual = os.umask(umask)
    try:
        ca.ensure()
    finally:
        os.umask(usual)
    home = ca.certificate_path.parent
    assert [mode(path) for path in (home.parent, home, ca.key_path)] == [0o700, 0o700, 0o400]
    assert sorted(path.name for path in home.parent.iterdir()) == ["ca"]
    assert sorted(path.name for path in home.iterdir()) == ["ca-key.pem", "ca.pem"]
    certificate = read(ca.certificate_path)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert socket.gethostname()[:20] in certificate.subject.rfc4514_string()
    assert certificate.not_valid_after_utc - NOW > timedelta(days=3649)


def test_it_is_never_replaced(ca: LocalCA) -> None:
    ca.ensure()
    before = ca.certificate_path.read_bytes(), ca.key_path.read_bytes()
    ca.ensure()
    LocalCA(ca.directory).issue(["localhost"])
    assert (ca.certificate_path.read_bytes(), ca.key_path.read_bytes()) == before


@pytest.mark.parametrize("damage", ["no key", "no certificate", "empty key", "another key", "nothing"])
def test_a_damaged_one_is_refused_and_kept(ca: LocalCA, damage: str) -> None:
    ca.ensure()
    ca.key_path.chmod(0o600)
    match damage:
        case "no key":
            ca.key_path.unlink()
        case "no certificate":
            ca.certificate_path.unlink()
        case "empty key":
            ca.key_path.write_bytes(b"")
        case "another key":
            ca.key_path.write_bytes(PKI().root.key_pem)
        case _:
            ca.key_path.unlink()
            ca.certificate_path.unlink()
    left = sorted(ca.certificate_path.parent.iterdir())
    with pytest.raises(ConfigurationError, match="Delete that directory") as caught:
        ca.issue(["localhost"])
    assert str(ca.certificate_path.parent) in str(caught.value)
    assert sorted(ca.certificate_path.parent.iterdir()) == left


def test_an_expired_one_is_refused(ca: LocalCA) -> None:
    ca.ensure()
    with pytest.raises(ConfigurationError, match="expired on"):
        ca.issue(["localhost"], now=NOW + timedelta(days=3651))


def test_a_certificate_for_every_kind_of_name(ca: LocalCA) -> None:
    names = ["localhost", "*.App.localhost", "127.0.0.1", "::1", "straße.example", "my_service", "0:0::1"]
    issued = ca.issue(names)
    wanted = ("localhost", "*.app.localhost", "127.0.0.1", "::1", "xn--strae-oqa.example", "my_service")
    assert issued.certificate_names == wanted
    assert issued.created
    assert issued.certfile == ca.directory / "certificates/localhost/fullchain.pem"
    assert issued.keyfile == ca.directory / "certificates/localhost/privkey.pem"
    assert (mode(issued.keyfile), mode(issued.certfile.parent)) == (0o600, 0o700)
    assert sorted(path.name for path in issued.certfile.parent.iterdir()) == ["fullchain.pem", "privkey.pem"]
    for name in ("localhost", "a.app.localhost", "127.0.0.1", "::1", "xn--strae-oqa.example"):
        assert shake_hands(ca, issued, name) == "TLSv1.3"
    for name in ("app.localhost", "a.b.app.localhost", "127.0.0.2"):
        with pytest.raises(ssl.SSLCertVerificationError, match="(?i)hostname mismatch|ip address mismatch"):
            shake_hands(ca, issued, name)


def test_it_passes_our_own_checks(ca: LocalCA) -> None:
    issued = ca.issue(["localhost", "::1"], days=30, now=datetime.now(UTC))
    certificate = PEMFiles(issued.certfile, issued.keyfile).load()
    assert certificate.key_type == "ECDSA P-256"
    assert certificate.subject_alt_names == ("localhost", "::1")
    assert certificate.not_after == issued.not_after
    assert timedelta(days=29) < issued.not_after - datetime.now(UTC) <= timedelta(days=30, seconds=5)
    (warning,) = certificate.warnings
    assert "asgi-tls local CA" in warning


@pytest.mark.parametrize(
    ("name", "directory"),
    [("*.example.org", "_wildcard.example.org"), ("::1", "__1"), ("10.0.0.1", "10.0.0.1"), ("A.Test.", "a.test")],
)
def test_the_directory_is_named_after_the_first_name(ca: LocalCA, name: str, directory: str) -> None:
    assert ca.issue([name]).certfile.parent == ca.directory / "certificates" / directory


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a b", "a..b", "-a.example", "a-.example", "*", "*.", "*.localhost", "a.*.example",
     "f*.example.org", "https://localhost", "localhost:8443", "me@example.org", "256.1.1.1", "1.2.3", "fe80::1%eth0",
     "a" * 64, ".".join(["a" * 60] * 5), "a\nb", "a\0b", "\udc80"],
)  # fmt: skip
def test_names_that_are_none(ca: LocalCA, name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a valid host name|a wildcard that no client") as caught:
        ca.issue([name])
    assert "\n" not in str(caught.value)
    assert not ca.directory.exists()


def test_a_request_that_makes_no_sense(ca: LocalCA) -> None:
    wrong: tuple[Any, ...] = ([], "localhost")
    for names in wrong:
        with pytest.raises(ConfigurationError, match="list of names"):
            ca.issue(names)
    for days in (0, -1, 826):
        with pytest.raises(ConfigurationError, match="cannot be valid for"):
            ca.issue(["localhost"], days=days)


def test_a_good_pair_is_kept(ca: LocalCA) -> None:
    first = ca.issue(["localhost", "127.0.0.1"])
    content = first.certfile.read_bytes()
    for now, created in ((NOW + timedelta(days=59), False), (NOW + timedelta(days=61), True)):
        again = ca.issue(["localhost", "127.0.0.1"], now=now)
        assert again.created is created
        assert (again.certfile.read_bytes() == content) is not created
    assert again.not_after > first.not_after


def test_a_pair_that_no_longer_fits_is_made_again(ca: LocalCA, tmp_path: Path) -> None:
    issued = ca.issue(["localhost"])
    assert not ca.issue(["localhost"]).created
    assert ca.issue(["localhost", "::1"]).created
    assert not ca.issue(["localhost", "::1"]).created
    issued.keyfile.write_bytes(PKI().root.key_pem)
    assert ca.issue(["localhost", "::1"]).created
    issued.keyfile.unlink()
    assert ca.issue(["localhost", "::1"]).created
    issued.certfile.write_bytes(b"nonsense")
    assert ca.issue(["localhost", "::1"]).created
    (ca.certificate_path.parent).rename(tmp_path / "old")
    assert ca.issue(["localhost", "::1"]).created
    assert shake_hands(ca, issued, "localhost") == "TLSv1.3"


def test_no_name_is_taken_from_a_certificate_that_may_be_served(ca: LocalCA) -> None:
    """As `asgi-tls cert localhost` did to a running development server, which is for the addresses too."""
    first = ca.issue(["localhost", "127.0.0.1", "::1"])
    again = ca.issue(["localhost"])
    assert (again.created, again.certfile) == (False, first.certfile)
    assert again.certificate_names == ("localhost", "127.0.0.1", "::1")
    more = ca.issue(["localhost", "app.localhost"])
    assert more.created
    assert more.certificate_names == ("localhost", "app.localhost", "127.0.0.1", "::1")
    for name in more.certificate_names:
        assert shake_hands(ca, more, name) == "TLSv1.3"
    assert not ca.issue(["localhost", "127.0.0.1", "::1"]).created


def test_a_directory_of_ones_own(ca: LocalCA, tmp_path: Path) -> None:
    target = tmp_path / "certs" / "dev"
    issued = ca.issue(["localhost"], directory=target)
    assert issued.certfile == target / "fullchain.pem"
    assert mode(target) == 0o700
    assert not ca.issue(["localhost"], directory=target).created
    other = ca.issue(["other.test"], directory=target)  # ours: may be replaced
    assert (other.created, other.certificate_names) == (True, ("other.test",))
    PKI().leaf().write(target)
    before = issued.keyfile.read_bytes()
    with pytest.raises(ConfigurationError, match="that asgi-tls did not create"):
        ca.issue(["localhost"], directory=target)
    assert issued.keyfile.read_bytes() == before
    Odd().pair(version=V4).write(target)  # which cryptography does not parse
    with pytest.raises(ConfigurationError, match="that asgi-tls did not create"):
        ca.issue(["localhost"], directory=target)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ASGI_TLS_HOME"):
        LocalCA(tmp_path / "file" / "home").ensure()
    with pytest.raises(ConfigurationError, match="Set --directory to"):
        LocalCA(tmp_path / "home").issue(["localhost"], directory=tmp_path / "file")


def give_away(path: Path) -> None:
    os.chown(path, 65534, 65534)


def open_to_all(path: Path) -> None:
    path.chmod(0o777)


UNTRUSTED = [
    (".", open_to_all),
    ("ca", open_to_all),
    ("ca/ca.pem", open_to_all),
    ("certificates/localhost", open_to_all),
]
if os.geteuid() == 0:
    UNTRUSTED += [(place, give_away) for place in (".", "ca", "ca/ca-key.pem", "certificates/localhost")]


@pytest.mark.parametrize(("place", "change"), UNTRUSTED)
def test_a_home_that_another_user_can_change_is_refused(
    ca: LocalCA, place: str, change: Callable[[Path], None]
) -> None:
    ca.issue(["localhost"])
    change(ca.directory / place)
    said = "can be written by others" if change is open_to_all else "belongs to another user"
    with pytest.raises(ConfigurationError, match=f"{said}.*Set ASGI_TLS_HOME") as caught:
        ca.issue(["localhost"])
    assert str(caught.value).startswith(f"{(ca.directory / place)}: ")


def test_an_open_ca_key_is_reported(ca: LocalCA, caplog: pytest.LogCaptureFixture) -> None:
    ca.ensure()
    assert caplog.messages == []
    ca.key_path.chmod(0o444)
    ca.ensure()
    danger = "everyone, who can impersonate any site to clients that trust this CA"
    assert caplog.messages == [f"{ca.key_path}: the CA key is open to {danger}; chmod 0400"]


@pytest.mark.parametrize("name", ["ca/ca.pem", "ca/ca-key.pem", "certificates/localhost/privkey.pem"])
def test_a_pipe_holds_up_nothing(ca: LocalCA, name: str) -> None:
    ca.issue(["localhost"])
    (ca.directory / name).unlink()
    os.mkfifo(ca.directory / name)
    if name.startswith("ca/"):
        with pytest.raises(ConfigurationError, match="is a pipe"):
            ca.issue(["localhost"])
    else:
        assert ca.issue(["localhost"]).created


ISSUE = """
import sys
from pathlib import Path
from typing import Any
from asgi_tls.certificate import PEMFiles
from asgi_tls.dev.ca import LocalCA
import asgi_tls.certificate.validation
print("ready", flush=True)
sys.stdin.readline()
ca = LocalCA(Path(sys.argv[1]))
issued = ca.issue(["localhost"])
pair = PEMFiles(issued.certfile, issued.keyfile).load()
print(hash(ca.certificate_path.read_bytes()), pair.fingerprint_sha256, issued.created)
"""


def test_many_processes_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ISSUE, str(tmp_path / "a/b")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert len({(authority, leaf) for authority, leaf, _ in found}) == 1
    assert sorted(created for _, _, created in found) == ["False"] * 5 + ["True"]
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["ca", "certificates", "lock"]
