"""Whatever bytes are given, loading returns a certificate or raises a CertificateError."""

from __future__ import annotations

import base64
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pki import PKI, Pair

from asgi_tls import errors
from asgi_tls.certificate import PEMData


@cache
def good() -> Pair:
    return PKI().leaf("localhost")


def outcome(source: PEMData) -> str:
    """What loading came to, in words. Anything but a certificate or a CertificateError goes through."""
    try:
        return repr(source.load())
    except errors.CertificateError as error:
        return str(error)


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(certificate=st.binary(max_size=400), key=st.binary(max_size=400), password=st.none() | st.binary(max_size=40))
def test_any_bytes(certificate: bytes, key: bytes, password: bytes | None) -> None:
    with pytest.raises(errors.CertificateError, match="given in memory"):
        PEMData(certificate, key, password).load()


@QUICK
@given(label=st.sampled_from(("CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "PKCS7")),
       body=st.binary(max_size=200), header=st.sampled_from(("", "Proc-Type: 4,ENCRYPTED\n", "a: b\n\n")),
       as_key=st.booleans())  # fmt: skip
def test_any_block(label: str, body: bytes, header: str, as_key: bool) -> None:
    text = f"-----BEGIN {label}-----\n{header}{base64.b64encode(body).decode()}\n-----END {label}-----\n"
    certificate, key = (good().chain_pem, text) if as_key else (text, good().key_pem)
    with pytest.raises(errors.CertificateError, match="given in memory"):
        PEMData(certificate, key, b"password").load()


@settings(QUICK, max_examples=400)
@given(data=st.data(), value=st.integers(0, 255), in_key=st.booleans())
def test_any_byte_changed(data: st.DataObject, value: int, in_key: bool) -> None:
    """In the DER form, where the parsers work. A change may hit bytes that do not matter; it never escapes the tree."""
    pair = good()
    der = bytearray(base64.b64decode((pair.key_pem if in_key else pair.cert_pem).split(b"-----")[2]))
    der[data.draw(st.integers(0, len(der) - 1))] = value
    label = "PRIVATE KEY" if in_key else "CERTIFICATE"
    text = f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()
    source = (
        PEMData(pair.chain_pem, text) if in_key else PEMData(text + pair.chain_pem[len(pair.cert_pem) :], pair.key_pem)
    )
    message = outcome(source)
    assert pair.key_pem.splitlines()[1].decode() not in message


@QUICK
@given(data=st.data(), in_key=st.booleans())
def test_any_text_cut_or_changed(data: st.DataObject, in_key: bool) -> None:
    pair = good()
    text = bytearray(pair.key_pem if in_key else pair.chain_pem)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 80)))
    text[start:end] = data.draw(st.binary(max_size=10))
    changed = bytes(text)
    source = PEMData(pair.chain_pem, changed) if in_key else PEMData(changed, pair.key_pem)
    assert outcome(source)
