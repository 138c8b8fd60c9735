"""How sources name themselves, and their errors: what to do depends on where the files come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from nobody import as_nobody
from pki import PKI, Pair

from asgi_tls.certificate import CertificateSource, KubernetesSecret, LetsEncrypt, PasswordFile, PEMData, PEMFiles
from asgi_tls.certificate.sources import OneOfSeveral
from asgi_tls.errors import (
    CertificateError,
    EmptyFileError,
    NotPEMError,
    PasswordError,
    UnreadableFileError,
)

SECRET = "correct horse battery staple"


@pytest.fixture(scope="module")
def pair() -> Pair:
    return PKI().leaf("example.com")


def test_a_certificate_says_where_it_is_from(pair: Pair, tmp_path: Path) -> None:
    certfile, keyfile = pair.write(tmp_path / "example.com")
    pair.write(tmp_path / "secret", certfile="tls.crt", keyfile="tls.key")
    sources: dict[str, CertificateSource] = {
        f"{certfile}, {keyfile}": PEMFiles(certfile, keyfile),
        f"Let's Encrypt example.com ({tmp_path}/example.com)": LetsEncrypt("example.com", tmp_path),
        f"Kubernetes secret {tmp_path}/secret": KubernetesSecret(tmp_path / "secret"),
        "PEM data in memory": PEMData(pair.chain_pem, pair.key_pem),
    }
    for name, source in sources.items():
        assert source.load().source == str(source) == name


@pytest.mark.parametrize("closed", [0, 1], ids=["certificate", "key"])
@pytest.mark.parametrize(
    ("source", "fix"),
    [
        (PEMFiles("fullchain.pem", "privkey.pem"), "Let the server's user read it"),
        (LetsEncrypt("example.com", "live"), "certbot lets only root into live/ and archive/"),
        (KubernetesSecret("secret"), "securityContext.fsGroup"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_to_do_about_a_file_that_this_user_may_not_read(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: CertificateSource, fix: str, closed: int
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the directories above it are closed to others
    pair.write(Path())
    pair.write(Path("live/example.com"))
    pair.write(Path("secret"), certfile="tls.crt", keyfile="tls.key")
    for path, mode in zip(source.paths, (0, 0o444) if closed == 0 else (0o444, 0), strict=True):
        path.chmod(mode)
    with as_nobody(), pytest.raises(UnreadableFileError, match="permission denied to read") as caught:
        source.load()
    assert caught.value.path == source.paths[closed]
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("files", "error", "fix"),
    [
        (
            lambda pair: (pair.chain_pem, pair.encrypted_key_pem(SECRET.encode())),
            PasswordError,
            "Remove the encryption: `openssl pkey -in '{key}' -out plain.pem`.",
        ),
        (lambda pair: (pair.chain_pem, None), NotPEMError, "Put the key beside it, in a file that ends with .key."),
        (
            lambda pair: (pair.chain_pem, b""),
            EmptyFileError,
            "Write the key again; a full disk or an interrupted copy leaves empty files.",
        ),
    ],
    ids=["encrypted", "no key", "empty"],
)
def test_what_to_do_about_one_pair_of_several(
    pair: Pair,
    tmp_path: Path,
    files: Callable[[Pair], tuple[bytes, bytes | None]],
    error: type[CertificateError],
    fix: str,
) -> None:
    """There is no option for its key or password alone."""
    certificate, key = files(pair)
    certfile, keyfile = tmp_path / "a cert.pem", tmp_path / "a key.pem"
    certfile.write_bytes(certificate)
    keyfile.write_bytes(key or b"")
    with pytest.raises(error) as caught:
        OneOfSeveral(certfile, None if key is None else keyfile).load()
    assert type(caught.value) is error
    assert caught.value.path == (certfile if key is None else keyfile)
    assert caught.value.fix == fix.format(key=keyfile)
    caught.value.spell(lambda name: f"--{name}")
    assert "--" not in caught.value.fix


def test_one_of_several_is_loaded_for_either_end(tmp_path: Path) -> None:
    nameless = PKI().leaf("someone", san=False)
    source = OneOfSeveral(*nameless.write(tmp_path))
    assert source.load("client").subject == "CN=someone"
    with pytest.raises(CertificateError, match="no host name"):
        source.load()


def test_text_with_surrogates_is_an_error_in_words() -> None:
    """As a variable has them that is not UTF-8."""
    with pytest.raises(NotPEMError, match="contains no PEM block"):
        PEMData("\udcff").load()
    with pytest.raises(NotPEMError, match="contains no PEM block"):
        PEMData("\ud800").load()


def test_a_password_that_is_not_utf8(pair: Pair) -> None:
    password = b"caf\xe9"
    key = pair.encrypted_key_pem(password)
    for spelling in (password, os.fsdecode(password)):
        assert PEMData(pair.chain_pem, key, spelling).load().key_pem == pair.key_pem


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("\ufeffsecret\r\n".encode("utf-16-le"), b"secret"),
        ("\ufeffsecret\r\n".encode("utf-16-be"), b"secret"),
        (b"\xff\xfes\x00e", b"s\xef\xbf\xbd"),  # cut in a character
        (b"SECRET X \r\nmore", b"SECRET X "),
    ],
)
def test_the_first_line_of_a_password_file(pair: Pair, tmp_path: Path, content: bytes, password: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    key = pair.encrypted_key_pem(password)
    assert PEMData(pair.chain_pem, key, PasswordFile(tmp_path / "password")).load().key_pem == pair.key_pem


def test_a_file_of_one_mebibyte_is_not_too_large(pair: Pair, tmp_path: Path) -> None:
    certfile, keyfile = pair.write(tmp_path)
    largest = pair.chain_pem.ljust(1 << 20, b"\n")
    certfile.write_bytes(largest)
    assert PEMFiles(certfile, keyfile).load().chain_pem == pair.chain_pem
    certfile.write_bytes(largest + b"\n")
    with pytest.raises(UnreadableFileError, match="larger than 1 MiB"):
        PEMFiles(certfile, keyfile).load()
