"""How a pair in memory reaches OpenSSL, which reads files: in memory where that can be, else by an encrypted one."""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exhausted import no_descriptor_left
from files import Files
from handshakes import client
from memory import handshake
from pki import key_to_pem, make_key

from asgi_tls.certificate.keyfile import load_cert_chain, load_crls, load_pair
from asgi_tls.errors import CertificateError, TooManyOpenFilesError


class Watching(ssl.SSLContext):
    """It remembers the file that it is given."""

    name = ""
    data = b""
    mode = 0

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        self.name, self.data = str(certfile), Path(certfile).read_bytes()
        self.mode = Path(certfile).stat().st_mode & 0o777
        super().load_cert_chain(certfile, keyfile, password)


def test_through_memory(files: Files) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memory files")
    context, pair = Watching(ssl.PROTOCOL_TLS_SERVER), files.ecdsa.load()
    load_pair(context, pair.chain_pem, pair.key_pem)
    assert context.name.startswith("/proc/self/fd/")
    assert context.data == pair.key_pem + pair.chain_pem
    handshake(context, client(ca=files.ca_text))


def test_through_an_encrypted_file(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context, pair = Watching(ssl.PROTOCOL_TLS_SERVER), files.ecdsa.load()
    load_pair(context, pair.chain_pem, pair.key_pem)
    assert context.name.startswith(f"{tmp_path}/")
    assert context.mode == 0o600
    assert context.data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert b"BEGIN PRIVATE KEY" not in context.data
    assert context.data.endswith(pair.chain_pem)
    handshake(context, client(ca=files.ca_text))
    load_crls(context, (files.pki.crl(files.pki.root) + files.pki.crl(files.pki.intermediate)).decode())
    assert context.cert_store_stats()["crl"] == 2
    assert list(tmp_path.iterdir()) == []


def test_revocation_lists(files: Files) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_crls(context, (files.pki.crl(files.pki.root) + files.pki.crl(files.pki.intermediate)).decode())
    assert context.cert_store_stats()["crl"] == 2
    with pytest.raises(ssl.SSLError, match="NO_CERTIFICATE_OR_CRL_FOUND"):
        load_crls(context, "nonsense")


def test_what_openssl_refuses_is_named(files: Files) -> None:
    pair = replace(files.ecdsa.load(), key_pem=key_to_pem(make_key()))
    with pytest.raises(CertificateError) as caught:
        load_cert_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
    assert caught.value.problem == f"{files.ecdsa}: OpenSSL refuses the pair: KEY_VALUES_MISMATCH"


def test_a_lack_of_descriptors_is_told_apart(files: Files) -> None:
    context, pair = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.ecdsa.load()
    with no_descriptor_left(), pytest.raises(TooManyOpenFilesError, match="this process has reached the limit"):
        load_pair(context, pair.chain_pem, pair.key_pem)
