"""`asgi-tls cert --client` and `--pkcs12`."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from in_process import here
from servers import asgi_tls, run

from asgi_tls.servers.given import read


def paths(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S+(?: by)?) +(/.*)$", text, re.MULTILINE))


def test_a_client_certificate_and_its_pkcs12_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\ufefffrom a file\nand more\n")
    env = {"ASGI_TLS_HOME": str(tmp_path / "home"), "ASGI_TLS_PKCS12_PASSWORD": "from the environment"}
    command = asgi_tls("cert", "--client", "alice", "alice@example.org", "--pkcs12")
    status, text = run(command, env=env)
    assert status == 0, text
    assert text.startswith("Made a certificate for alice, alice@example.org\n")
    found = paths(text)
    home = tmp_path / "home"
    assert found == {
        "certificate": f"{home}/clients/alice/fullchain.pem",
        "key": f"{home}/clients/alice/privkey.pem",
        "PKCS#12": f"{home}/clients/alice/identity.p12",
        "signed by": f"{home}/ca/ca.pem",
    }
    file = Path(found["PKCS#12"])
    assert load_pkcs12(file.read_bytes(), b"from the environment").key is not None
    status, text = here([*command, "--pkcs12-password-file", str(tmp_path / "password")], env=env)
    assert text.startswith("Kept a certificate")
    assert load_pkcs12(file.read_bytes(), b"from a file").key is not None
    status, text = here([*command, "--pkcs12-no-password"], env=env)
    assert load_pkcs12(file.read_bytes(), b"").key is not None
    status, text = here(asgi_tls("cert", "localhost", "--pkcs12"), env=env)
    assert load_pkcs12(Path(paths(text)["PKCS#12"]).read_bytes(), b"from the environment").key is not None


@pytest.mark.parametrize(
    ("options", "password", "message"),
    [
        (["--pkcs12"], None, "there is no terminal to ask on"),
        (["--pkcs12"], "", "the password is empty"),
        (["--pkcs12", "--pkcs12-password-file", "missing"], None, "missing: "),
        (["--pkcs12", "--pkcs12-password-file", "newline"], None, "newline: is empty"),
        (["--pkcs12", "--pkcs12-password-file", "late"], None, "late: has an empty first line"),
        (["--pkcs12", "--pkcs12-password-file", "late", "--pkcs12-no-password"], None, "contradict each other"),
        (["--pkcs12-no-password"], None, "Add --pkcs12"),
        (["--pkcs12-password-file", "late"], None, "Add --pkcs12"),
    ],
)
def test_passwords_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], password: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "newline").write_text("\n")
    (tmp_path / "late").write_text("\nsecret\n")
    env = {"ASGI_TLS_HOME": str(tmp_path / "home")}
    if password is not None:
        env["ASGI_TLS_PKCS12_PASSWORD"] = password
    status, text = here(asgi_tls("cert", "--client", "alice", *options), env=env)
    assert status == 3
    assert message in text
    assert "Traceback" not in text
    assert not (tmp_path / "home").exists()


# The terminal becomes that of the session, which is where a password is asked for.
WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    near, far = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, *asgi_tls("cert", "--client", "alice", "--pkcs12")],
            stdin=far,
            stdout=far,
            stderr=far,
            env={**os.environ, "ASGI_TLS_HOME": str(tmp_path)},
            start_new_session=True,
        )
        os.close(far)
        seen = b""
        # With the space at the end: click before 8.2 writes that one when it has switched off the echo.
        for asked in (b"Password of the PKCS#12 file: ", b"Repeat for confirmation: "):
            while asked not in seen:
                seen += os.read(near, 1024)
            os.write(near, b"s3cret\n")
        try:
            while data := os.read(near, 1024):
                seen += data
        except OSError:  # Linux' way to say that the other end was closed
            pass
        assert process.wait(60) == 0
    finally:
        os.close(near)
    assert b"s3cret" not in seen
    assert load_pkcs12((tmp_path / "clients/alice/identity.p12").read_bytes(), b"s3cret").key is not None


def test_a_server_does_not_stumble_over_the_password() -> None:
    assert read(environ={"ASGI_TLS_PKCS12_PASSWORD": "secret"}).values == {}
