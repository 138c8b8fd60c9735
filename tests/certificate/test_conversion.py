"""The command that an error advises for a file in another format makes one that is served."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from pki import PKI, Pair

from asgi_tls import PEMFiles
from asgi_tls.errors import NotPEMError

PASSWORD = "hunter2"


def pkcs12(pair: Pair, *options: str) -> bytes:
    """By openssl, in the encryption that the options choose."""
    with tempfile.TemporaryDirectory() as directory:
        certfile, keyfile = pair.write(Path(directory))
        command = ["openssl", "pkcs12", "-export", "-in", str(certfile), "-inkey", str(keyfile), *options]
        return subprocess.run([*command, "-passout", f"pass:{PASSWORD}"], capture_output=True, check=True).stdout


def without_length(der: bytes) -> bytes:
    """The same in BER with an indefinite length, as NSS writes it."""
    return b"\x30\x80" + der[2 + (der[1] & 0x7F) :] + b"\0\0"


def of_windows(pair: Pair) -> bytes:
    return pkcs12(pair, "-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40")


CONVERTED: dict[str, tuple[str, Callable[[Pair], bytes]]] = {
    # what it is -> what the error says, and how it comes about
    "PKCS#12": ("pkcs12 -noenc", lambda pair: pkcs12(pair)),
    "PKCS#12, of 3DES": (
        "pkcs12 -noenc", lambda pair: pkcs12(pair, "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES")
    ),
    "PKCS#12, old": ("pkcs12 -legacy -noenc", lambda pair: pkcs12(pair, "-legacy")),
    "PKCS#12, Windows": ("pkcs12 -legacy -noenc", of_windows),
    "PKCS#12, RC4": (
        "pkcs12 -legacy -noenc", lambda pair: pkcs12(pair, "-legacy", "-keypbe", "PBE-SHA1-RC4-128")
    ),
    "PKCS#12, old, NSS": ("pkcs12 -legacy -noenc", lambda pair: without_length(of_windows(pair))),
    "PKCS#12, NSS": ("pkcs12 -noenc", lambda pair: without_length(pkcs12(pair))),
    "PKCS#7": (
        "pkcs7 -inform der", lambda pair: serialize_certificates([pair.certificate], Encoding.DER)
    ),
    "DER": ("x509 -inform der", lambda pair: pair.der),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVERTED)
def test_a_certificate_file_is_converted(tmp_path: Path, kind: str) -> None:
    command, make = CONVERTED[kind]
    pki = PKI("Convert")
    # One certificate in a file: PKCS#7 holds a set, which DER sorts.
    pair = pki.leaf("localhost") if "PKCS#12" in kind else pki.leaf("localhost", issuer=pki.root)
    path = tmp_path / "it's the server's.p12"
    path.write_bytes(make(pair))
    (tmp_path / "privkey.pem").touch(mode=0o600)
    (tmp_path / "privkey.pem").write_bytes(pair.key_pem)
    with pytest.raises(NotPEMError, match="Convert it: `openssl ") as caught:
        PEMFiles(path).load()
    assert PASSWORD not in str(caught.value)
    advised = re.findall(r"`(openssl .*?)`", caught.value.fix)
    assert len(advised) == 1
    assert f"openssl {command} " in advised[0]
    given = advised[0].replace("pkcs12 ", f"pkcs12 -passin pass:{PASSWORD} ")
    done = subprocess.run(given, shell=True, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    converted = Path(f"{path}.pem")
    found = PEMFiles(converted, None if "PKCS#12" in kind else tmp_path / "privkey.pem").load()
    assert found.subject_alt_names == ("localhost",)
    if "PKCS#12" in kind:
        assert converted.stat().st_mode & 0o077 == 0  # there is a key in it
