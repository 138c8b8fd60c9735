"""PEM text in blocks: where each stands, what is wrong with one, and the length in a header of DER."""

from __future__ import annotations

import base64

import pytest

from asgi_tls.certificate.material import Material
from asgi_tls.certificate.pem import der_length, read_blocks
from asgi_tls.errors import NotPEMError, TruncatedFileError

DER = b"\x30\x03\x02\x01\x05"
BODY = base64.b64encode(DER).decode()


def pem(body: str = BODY, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def blocks(text: str) -> list[tuple[str, int, bytes]]:
    return [(block.label, block.line, block.der) for block in read_blocks(Material("certificate", text.encode()))]


def test_where_blocks_stand() -> None:
    text = f"subject=a\n\n{pem()}{pem(label='EC PRIVATE KEY')}# the end\n"
    assert blocks(text) == [("CERTIFICATE", 3, DER), ("EC PRIVATE KEY", 6, DER)]
    assert blocks(text.replace("\n", "\r\n")) == blocks(text)
    assert blocks(text.replace("\n", "\r")) == blocks(text)
    assert [label for label, _, _ in blocks(text.replace("-----\n-----", "----------"))] == [
        "CERTIFICATE", "EC PRIVATE KEY"
    ]  # fmt: skip


def test_a_block_is_written_again_in_lines_of_64() -> None:
    der = b"\x30\x64" + bytes(range(100))
    encoded = base64.b64encode(der).decode()
    (block,) = read_blocks(Material("certificate", pem(f"  {encoded[:70]} \n\t{encoded[70:]}").encode()))
    assert block.der == der
    assert block.text.decode() == pem("\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64)))
    assert not block.encrypted


def test_a_key_of_the_traditional_kind_keeps_its_headers() -> None:
    head = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"
    text = pem(f"{head}AAAA", "EC PRIVATE KEY")  # ciphertext has no length of its own
    (block,) = read_blocks(Material("key", text.encode()))
    assert (block.encrypted, block.der, block.text.decode()) == (True, b"\0\0\0", text)
    (plain,) = read_blocks(Material("key", pem(f"X-Note: of mine\n\n{BODY}", "EC PRIVATE KEY").encode()))
    assert (plain.encrypted, plain.der) == (False, DER)
    assert plain.text.decode() == pem(label="EC PRIVATE KEY")  # OpenSSL takes no other header


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (pem().replace("-----END", "----END"), TruncatedFileError, "is truncated: CERTIFICATE on line 3 has no END"),
        (pem(BODY[:4]), TruncatedFileError, "is truncated: CERTIFICATE on line 3 is incomplete"),
        (pem(BODY[:-3]), TruncatedFileError, "is truncated: CERTIFICATE on line 3 is incomplete"),
        (pem(""), TruncatedFileError, "is truncated: CERTIFICATE on line 3 is incomplete"),
        (pem("M!ME"), NotPEMError, "is damaged: CERTIFICATE on line 3 is not base64"),
        (pem().replace("\n", " "), NotPEMError, "has no line breaks in CERTIFICATE on line 3"),
        ("MIIB" + pem(), NotPEMError, "has text before -----BEGIN on the same line"),
        ("nonsense", NotPEMError, "contains no PEM block"),
    ],
)
def test_what_is_wrong_and_where(text: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        read_blocks(Material("certificate", f"one\ntwo\n{text}".encode()))
    assert str(caught.value).startswith(f"the certificate given in memory {says}")


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", None),
        (b"\x30", None),
        (b"\x30\x00", 2),
        (b"\x30\x7f", 129),
        (b"\x30\x80\x01", None),  # of indefinite length, which DER has not
        (b"\x30\x81\x80", 131),
        (b"\x30\x81", None),
        (b"\x30\x82\x01\x02\x99", 4 + 258),
        (b"\x30\x82\x01", None),
        (b"\x30\x84\x00\x00\x01\x00", 6 + 256),
        (b"\x30\x85\x00\x00\x00\x00\x01", None),
    ],
)
def test_the_length_in_a_header(data: bytes, length: int | None) -> None:
    assert der_length(data) == length
