"""Split PEM text (RFC 7468) into blocks, and recognize other formats.

Everything that OpenSSL accepts is accepted: text around the blocks, CRLF, trailing blanks, old labels. So are a byte
order mark, indented lines, and two blocks without a line break between them, since the blocks are encoded again.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asgi_tls.errors import NotPEMError, TruncatedFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgi_tls.certificate.material import Material

CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
KEY_LABELS = frozenset(
    {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ANY PRIVATE KEY"}
)

# Blocks that are neither, by label: what they are, and how to get what is wanted.
_OTHER_LABELS = {
    "TRUSTED CERTIFICATE": (
        "OpenSSL's own TRUSTED CERTIFICATE format, which is not supported",
        "Convert it: `openssl x509 -in {name} -out {name}.pem`.",
    ),
    "PKCS7": ("a PKCS#7 bundle", "Convert it: `openssl pkcs7 -in {name} -print_certs -out fullchain.pem`."),
    "CERTIFICATE REQUEST": ("a certificate request", "Use the certificate that the CA sent back for it."),
    "NEW CERTIFICATE REQUEST": ("a certificate request", "Use the certificate that the CA sent back for it."),
    "PUBLIC KEY": ("a public key", "Use the private key that was made with it."),
    "OPENSSH PRIVATE KEY": ("an OpenSSH key", "Use the key that the certificate was requested with."),
}

_BEGIN = re.compile(r"(?:^[ \t]*|(?<=-----))-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_HEADER = re.compile(r"^[A-Za-z][A-Za-z0-9-]*:")


@dataclass(frozen=True)
class Block:
    """One PEM block. `encrypted`: in the traditional way, with ciphertext in `der`. `line` counts from 1."""

    label: str
    der: bytes = field(repr=False)
    line: int
    text: bytes = field(repr=False)
    encrypted: bool = False


def read_blocks(material: Material) -> tuple[Block, ...]:
    """Every block of the text, of any kind. Raises TruncatedFileError or NotPEMError."""
    text = _decode(material)
    starts = list(_BEGIN.finditer(text))
    if not starts:
        raise _not_pem(material, text)
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return tuple(_block(material, text, start, end) for start, end in zip(starts, ends, strict=True))


def wrong_label(material: Material, blocks: Sequence[Block], wanted: str) -> NotPEMError:
    """The error for blocks without a `wanted`, with advice that depends on their labels."""
    for block in blocks:
        if block.label in _OTHER_LABELS:
            what, fix = _OTHER_LABELS[block.label]
            return material.error(NotPEMError, f"contains {what} instead of {wanted}", fix.format(name=material.name))
    labels = ", ".join(dict.fromkeys(block.label for block in blocks))
    return material.error(NotPEMError, f"contains no {wanted.split(' ', 1)[1]}, only {labels}", "Check the path.")


def _decode(material: Material) -> str:
    data = material.data
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise material.error(NotPEMError, "is UTF-16 text", "Save it as ASCII or UTF-8; PowerShell's `>` makes UTF-16.")
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


def _block(material: Material, text: str, start: re.Match[str], limit: int) -> Block:
    label = start[1]
    line = text.count("\n", 0, start.start()) + 1
    end = re.compile(rf"-----END {re.escape(label)}-----").search(text, start.end(), limit)
    if end is None:
        raise material.error(
            TruncatedFileError,
            f"is truncated: {label} on line {line} has no END line",
            "Copy the whole file again, or have it issued again.",
        )
    body = text[start.end() : end.start()]
    if not re.match(r"[ \t]*\n", body):
        raise material.error(
            NotPEMError,
            f"has no line breaks in {label} on line {line}",
            "Restore them: an environment variable needs real line breaks, not `\\n` or blanks.",
        )
    lines = [part.strip() for part in body.split("\n")]
    headers = [part for part in lines if _HEADER.match(part)]
    if headers:  # RFC 1421: headers, then a blank line, then the body
        blank = lines.index("", lines.index(headers[-1])) if "" in lines[lines.index(headers[-1]) :] else 0
        encoded = "".join(lines[blank:])
    else:
        encoded = "".join(lines)
    encrypted = any(part.startswith("Proc-Type:") and "ENCRYPTED" in part for part in headers)
    der = _decode_base64(material, "".join(encoded.split()), label, line)
    if not encrypted:
        _check_length(material, der, label, line)
    # OpenSSL takes no other headers than those of encryption.
    return Block(label, der, line, _write(label, headers if encrypted else [], der), encrypted)


def _write(label: str, headers: list[str], der: bytes) -> bytes:
    encoded = base64.b64encode(der).decode("ascii")
    lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
    head = [*headers, ""] if headers else []
    return "\n".join([f"-----BEGIN {label}-----", *head, *lines, f"-----END {label}-----", ""]).encode("latin-1")


def _decode_base64(material: Material, encoded: str, label: str, line: int) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", encoded):
        raise material.error(
            NotPEMError, f"is damaged: {label} on line {line} is not base64", "Copy the whole file again."
        )
    try:
        return binascii.a2b_base64(encoded.encode("ascii"))
    except binascii.Error:
        raise _cut(material, label, line) from None


def _check_length(material: Material, der: bytes, label: str, line: int) -> None:
    declared = der_length(der)
    if declared is None or declared > len(der):
        raise _cut(material, label, line)


def _cut(material: Material, label: str, line: int) -> TruncatedFileError:
    return material.error(
        TruncatedFileError,
        f"is truncated: {label} on line {line} is incomplete",
        "Copy the whole file again, or have it issued again.",
    )


def der_length(data: bytes) -> int | None:
    """The length in bytes of the outer ASN.1 element, by its header; None if there is no element."""
    if len(data) < 2:
        return None
    first = data[1]
    if first < 0x80:
        return 2 + first
    size = first & 0x7F
    if not 1 <= size <= 4 or len(data) < 2 + size:
        return None
    return 2 + size + int.from_bytes(data[2 : 2 + size], "big")


_CONVERT = "Convert it: `openssl {} -in {{name}} -out {{name}}.pem`."

# RC2, RC4 and DES (RFC 7292 appendix C, RFC 8018 appendix A): Windows and Java used them for a long time, and OpenSSL 3
# reads such files only with its legacy provider.
_LEGACY = (
    rb"(?:\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01[\x01\x02\x05\x06]"
    rb"|\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05[\x01\x03\x04\x06\x0a\x0b])"
)

# The bytes after the outer SEQUENCE header of a binary file, the format that they indicate, and how to convert it.
_BINARY = (
    (
        rb"\x02\x01\x03\x30.*" + _LEGACY,
        "a PKCS#12 file with an obsolete encryption",
        _CONVERT.format("pkcs12 -legacy -noenc"),
    ),
    (rb"\x02\x01\x03\x30", "a PKCS#12 file", _CONVERT.format("pkcs12 -noenc")),
    (rb"\x02\x01\x00[\x30\x02]|\x02\x01\x01\x04", "a key in DER form", _CONVERT.format("pkey -inform der")),
    (
        rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",  # pkcs-7
        "a PKCS#7 bundle in DER form",
        _CONVERT.format("pkcs7 -inform der -print_certs"),
    ),
    (
        rb"\x30.{0,3}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c]",  # pkcs-5, pkcs-12
        "an encrypted key in DER form",
        _CONVERT.format("pkcs8 -inform der"),
    ),
    (rb"\x30", "a certificate in DER form", _CONVERT.format("x509 -inform der")),
)


def _not_pem(material: Material, text: str) -> NotPEMError:
    data = material.data
    if data.startswith(b"\x30\x80") or (data.startswith(b"\x30") and der_length(data) is not None):  # NSS: no length
        rest = data[2 + (data[1] & 0x7F if data[1] >= 0x80 else 0) :]
        for pattern, what, command in _BINARY:
            if re.match(pattern, rest, re.DOTALL):
                return material.error(NotPEMError, f"is {what}, not PEM", command.format(name=material.name))
    if data.startswith(b"\xfe\xed\xfe\xed"):
        fix = f"Export it: `keytool -importkeystore -srckeystore {material.name} -deststoretype PKCS12`."
        return material.error(NotPEMError, "is a Java key store, not PEM", fix)
    if re.search(r"\S[ \t]*-----BEGIN |\\n-----", text):
        return material.error(
            NotPEMError, "has text before -----BEGIN on the same line", "Put it on a line of its own."
        )
    what = "a chain that starts with the server's certificate" if material.role == "certificate" else "a private key"
    return material.error(NotPEMError, "contains no PEM block (-----BEGIN …-----)", f"Give a PEM file with {what}.")
