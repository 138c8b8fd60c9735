"""Every certificate that must not be served, through `asgi-tls uvicorn`: status 3, one message, no traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from handshakes import client, connect
from in_process import here
from pki import PKI, Pair
from servers import asgi_tls, run, serve

from asgi_tls import PEMFiles, errors
from asgi_tls.errors import CertificateError
from asgi_tls.servers.build import server_tls
from asgi_tls.servers.given import read


def _write(directory: Path, chain: bytes, key: bytes) -> None:
    (directory / "fullchain.pem").write_bytes(chain)
    (directory / "privkey.pem").touch(mode=0o600)
    (directory / "privkey.pem").write_bytes(key)


def _other_key(pki: PKI) -> bytes:
    return pki.leaf("other.example").key_pem


def _pairs(pki: PKI) -> dict[str, tuple[str, bytes, bytes]]:
    """Name of the case -> the error, the certificate file and the key file."""
    good = pki.leaf("localhost")
    public = pki.leaf("localhost", ca_issuers="http://ca.example/ca.crt")

    def of(pair: Pair) -> tuple[bytes, bytes]:
        return pair.chain_pem, pair.key_pem

    day = timedelta(days=1)
    return {
        "empty": ("EmptyFileError", b"", good.key_pem),
        "empty-key": ("EmptyFileError", good.chain_pem, b""),
        "truncated": ("TruncatedFileError", good.chain_pem[:400], good.key_pem),
        "truncated-key": ("TruncatedFileError", good.chain_pem, good.key_pem[:80]),
        "garbage": ("NotPEMError", b"\x00garbage" * 50, good.key_pem),
        "der": ("NotPEMError", good.der, good.key_pem),
        "swapped": ("NotPEMError", good.key_pem, good.chain_pem),
        "encrypted": ("PasswordError", good.chain_pem, good.encrypted_key_pem(b"hunter2")),
        "mismatch": ("KeyMismatchError", good.chain_pem, _other_key(pki)),
        "order": ("ChainOrderError", pki.intermediate_pem + good.cert_pem, good.key_pem),
        "missing-intermediate": ("MissingIntermediateError", public.cert_pem, public.key_pem),
        "expired": ("ExpiredError", *of(pki.expired("localhost"))),
        "not-yet-valid": ("NotYetValidError", *of(pki.not_yet_valid("localhost"))),
        "no-san": ("NoSubjectAltNameError", *of(pki.leaf("localhost", san=False))),
        "ca": ("CAAsLeafError", *of(pki.leaf("localhost", ca=True, self_signed=True))),
        "rsa-1024": ("WeakKeyError", *of(pki.leaf("localhost", key="rsa1024"))),
        "sha-1": ("WeakSignatureError", *of(pki.leaf("localhost", signature="sha1"))),
        "expired-intermediate": (
            "ExpiredError",
            *of(
                pki.leaf(
                    "localhost",
                    issuer=pki.ca("Old", issuer=pki.root, not_before=pki.now - 9 * day, not_after=pki.now - day),
                )
            ),
        ),
    }


CASES = sorted(_pairs(PKI("Names")))


@pytest.fixture(scope="module")
def cases() -> dict[str, tuple[str, bytes, bytes]]:
    return _pairs(PKI("Bad"))


@pytest.mark.parametrize("case", CASES)
def test_the_same_error_through_the_api_and_the_command(
    cases: dict[str, tuple[str, bytes, bytes]], case: str, tmp_path: Path
) -> None:
    name, chain, key = cases[case]
    _write(tmp_path, chain, key)
    certfile, keyfile = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    with pytest.raises(CertificateError) as caught:
        PEMFiles(certfile, keyfile).load()
    assert type(caught.value) is getattr(errors, name)
    status, text = here(
        asgi_tls("uvicorn", "facts_app:app", "--port=0", f"--ssl-certfile={certfile}", f"--ssl-keyfile={keyfile}")
    )
    assert status == 3
    caught.value.spell({"password": "--tls-keyfile-password-file"}.__getitem__)
    expected = f"Error: {caught.value}\nMore: asgi-tls explain {caught.value.code}\n"
    assert _without_time(text) == _without_time(expected)


def _without_time(text: str) -> str:
    """Some tell the time of day, which is another one by then."""
    return re.sub(r"\d\d:\d\d", "hh:mm", text)


def test_leaf_only_beside_the_whole_chain(tmp_path: Path) -> None:
    pair = PKI("Let's Encrypt").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.key_pem)
    (tmp_path / "cert.pem").write_bytes(pair.cert_pem)
    status, text = here(
        asgi_tls(
            "uvicorn", "facts_app:app", f"--ssl-certfile={tmp_path}/cert.pem", f"--ssl-keyfile={tmp_path}/privkey.pem"
        )
    )
    assert status == 3
    assert f"{tmp_path}/fullchain.pem" in text


@pytest.mark.parametrize("missing", ["fullchain.pem", "privkey.pem"])
def test_a_file_that_is_not_there(tmp_path: Path, missing: str) -> None:
    pair = PKI("Gone").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.key_pem)
    (tmp_path / missing).unlink()
    status, text = here(
        asgi_tls(
            "uvicorn", "facts_app:app", f"--ssl-certfile={tmp_path}/fullchain.pem",
            f"--ssl-keyfile={tmp_path}/privkey.pem",
        )
    )  # fmt: skip
    assert status == 3
    assert text.startswith(f"Error: {tmp_path}/{missing}: ")


def test_the_password_of_a_key_is_never_shown(tmp_path: Path) -> None:
    pair = PKI("Secret").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.encrypted_key_pem(b"correct"))
    files = [f"--ssl-certfile={tmp_path}/fullchain.pem", f"--ssl-keyfile={tmp_path}/privkey.pem"]
    status, text = here(
        asgi_tls("uvicorn", "facts_app:app", "--port=0", *files, "--ssl-keyfile-password=hunter2hunter2")
    )
    assert status == 3
    assert "password" in text
    assert "hunter2hunter2" not in text


LAUNCHES: dict[str, tuple[Callable[..., tuple[int, str]], list[str], str]] = {
    # how it is started -> where, its command line, and what its error tells the reader to set
    "asgi-tls uvicorn": (
        run,
        [*asgi_tls("uvicorn", "facts_app:app", "--port=0"), "--ssl-certfile={}", "--ssl-keyfile={}"],
        "Set --tls-keyfile-password-file,",
    ),
    "asgi-tls hypercorn": (
        here,
        [*asgi_tls("hypercorn", "facts_app:app", "--bind=127.0.0.1:0"), "--certfile={}", "--keyfile={}"],
        "Set --tls-keyfile-password-file,",
    ),
    "asgi-tls gunicorn": (
        here,
        [*asgi_tls("gunicorn", "facts_app:app", "--bind=127.0.0.1:0"), "--certfile={}", "--keyfile={}"],
        "Set --tls-keyfile-password-file,",
    ),
    "gunicorn": (
        run,
        [sys.executable, "-m", "gunicorn", "-c", "python:asgi_tls.servers.gunicorn", "-k", "asgi", "facts_app:app",
         "--bind=127.0.0.1:0", "--certfile={}", "--keyfile={}"],
        "Set ASGI_TLS_KEYFILE_PASSWORD_FILE,",
    ),
}  # fmt: skip


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_missing_password_is_asked_for_in_the_words_of_the_launch(tmp_path: Path, launch: str) -> None:
    pair = PKI("Encrypted").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.encrypted_key_pem(b"secret"))
    how, command, says = LAUNCHES[launch]
    files = iter((tmp_path / "fullchain.pem", tmp_path / "privkey.pem"))
    status, text = how([part.format(next(files)) if "{}" in part else part for part in command])
    assert status == 3
    assert "is encrypted, but no password was given" in text
    assert says in text


@pytest.mark.parametrize(
    "content", [b"secret", b"secret\n", b"\xef\xbb\xbfsecret\r\nmore\r\n", "secret\r\n".encode("utf-16")]
)
def test_a_password_comes_from_the_first_line_of_a_file(tmp_path: Path, content: bytes) -> None:
    pair = PKI("Encrypted").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.encrypted_key_pem(b"secret"))
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_bytes(content)
    names = {"certfile": "fullchain.pem", "keyfile": "privkey.pem", "keyfile_password_file": "password"}
    server_tls(read(environ={f"ASGI_TLS_{name.upper()}": str(tmp_path / path) for name, path in names.items()})).check()


def test_a_key_with_a_password_is_served(tmp_path: Path) -> None:
    pair = PKI("Encrypted").leaf("localhost")
    _write(tmp_path, pair.chain_pem, pair.encrypted_key_pem(b"secret"))
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_bytes(b"secret\n")
    files = [f"--ssl-certfile={tmp_path}/fullchain.pem", f"--ssl-keyfile={tmp_path}/privkey.pem"]
    command = asgi_tls(
        "uvicorn", "facts_app:app", "--port=0", *files, f"--tls-keyfile-password-file={tmp_path}/password"
    )
    with serve(command, ready="Uvicorn running on") as server:
        assert connect(server.port, client(), path=None).certificate == pair.der
