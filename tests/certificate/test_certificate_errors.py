"""Every bad file: the exact error, which names the file, what is wrong with it, and the fix."""

from __future__ import annotations

import os
import pickle
import re
import socket
import subprocess
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import GeneralName
from nobody import load_as_nobody
from pki import PKI, Pair, key_to_pem, make_key

from asgi_tls import errors
from asgi_tls.certificate import PasswordFile, PEMData, PEMFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "correct horse battery staple"
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@cache
def pki() -> PKI:
    return PKI()


@cache
def good() -> Pair:
    return pki().leaf("localhost")


@cache
def rsa_pki() -> PKI:
    return PKI("RSA", key="rsa")


@dataclass(frozen=True)
class Bad:
    """What the two files hold, and what must come of it. `names` says which file the message names."""

    name: str
    error: type[errors.CertificateError]
    words: str
    certificate: Callable[[], bytes] = lambda: good().chain_pem
    key: Callable[[], bytes] = lambda: good().key_pem
    names: str = "cert.crt"


def leaf(name: str, error: type[errors.CertificateError], words: str, make: Callable[[], Pair]) -> Bad:
    made = cache(make)
    return Bad(name, error, words, lambda: made().chain_pem, lambda: made().key_pem)


def with_issuers(*which: str) -> Callable[[], Pair]:
    """A leaf of the intermediate, followed by whatever is named."""

    def make() -> Pair:
        pair = good()
        every = {
            "leaf": pair.certificate,
            "intermediate": pki().intermediate.certificate,
            "root": pki().root.certificate,
            "stranger": PKI("Other").intermediate.certificate,
            "namesake": PKI().intermediate.certificate,
        }
        return replace(pair, issuers=tuple(every[name] for name in which))

    return make


def openssl_req_x509() -> Pair:
    """What tutorials make: `openssl req -x509`, a CA certificate without names."""
    key = make_key()
    done = subprocess.run(
        ["openssl", "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=localhost", "-days", "30"],
        input=key_to_pem(key),
        capture_output=True,
        check=True,
    )
    from cryptography.x509 import load_pem_x509_certificate

    return Pair(load_pem_x509_certificate(done.stdout), key)


def rsa_pss() -> Pair:
    key = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
        capture_output=True,
        check=True,
    ).stdout
    config = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "3"]
    done = subprocess.run(
        ["openssl", "req", "-x509", "-key", "/dev/stdin", *config], input=key, capture_output=True, check=True
    )
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    return Pair(load_pem_x509_certificate(done.stdout), load_pem_private_key(key, None))


def swap_case(data: bytes) -> bytes:
    return data.replace(b"MII", b"M!I", 1)


def der_key() -> bytes:
    return bytes(good().key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def encrypted_key() -> bytes:
    return good().encrypted_key_pem(b"another password")


def not_a_ca() -> Pair:
    return pki().leaf(issuer=pki().ca("Not a CA", issuer=pki().root, basic_constraints=False))


def old_intermediate() -> Pair:
    now = pki().now
    old = pki().ca("Old", issuer=pki().root, not_before=now - timedelta(days=90), not_after=now - timedelta(days=1))
    return pki().leaf(issuer=old)


def old_self_signed() -> Pair:
    now = pki().now
    return pki().leaf(self_signed=True, not_before=now - timedelta(days=90), not_after=now - timedelta(days=1))


def small_intermediate() -> Pair:
    return pki().leaf(issuer=rsa_pki().ca("Small", key="rsa1024", issuer=rsa_pki().root))


def sha1_intermediate() -> Pair:
    return rsa_pki().leaf(issuer=rsa_pki().ca("Old", key="rsa", issuer=rsa_pki().root, signature="sha1"))


@cache
def below() -> Pair:
    """A leaf with two intermediates."""
    return pki().leaf(issuer=pki().ca("Lower", issuer=pki().ca("Middle", issuer=pki().root)))


@cache
def other_root() -> x509.Certificate:
    return PKI("Other").root.certificate


BAD = (
    Bad("empty certificate", errors.EmptyFileError, "is empty", lambda: b""),
    Bad("blank certificate", errors.EmptyFileError, "is empty", lambda: b" \r\n\n"),
    Bad("empty key", errors.EmptyFileError, "is empty", key=lambda: b"", names="key.key"),
    Bad("no end", errors.TruncatedFileError, "line 1 has no END line", lambda: good().chain_pem[:300]),
    Bad("second one cut", errors.TruncatedFileError, "has no END line", lambda: good().chain_pem[:-40]),
    Bad("begin, begin, end", errors.TruncatedFileError, "has no END line",
        lambda: good().chain_pem.replace(b"-----END CERTIFICATE-----\n", b"", 1)),
    Bad("lines lost", errors.TruncatedFileError, "is incomplete",
        lambda: b"\n".join([*good().chain_pem.split(b"\n")[:4], b"-----END CERTIFICATE-----"])),
    Bad("half a byte lost", errors.TruncatedFileError, "is incomplete",
        lambda: b"-----BEGIN CERTIFICATE-----\nMIIBx\n-----END CERTIFICATE-----\n"),
    Bad("key cut", errors.TruncatedFileError, "has no END line", key=lambda: good().key_pem[:90], names="key.key"),
    Bad("garbage", errors.NotPEMError, "contains no PEM block", lambda: os.urandom(500).replace(b"-", b"")),
    Bad("a web page", errors.NotPEMError, "contains no PEM block", lambda: b"<html>404 Not Found</html>"),
    Bad("not base64", errors.NotPEMError, "not base64", lambda: swap_case(good().chain_pem)),
    Bad("base64 of nonsense", errors.MalformedCertificateError, "certificate 1 .* not valid DER.*OpenSSL cannot parse",
        lambda: b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n"),
    Bad("UTF-16", errors.NotPEMError, "UTF-16", lambda: good().chain_pem.decode().encode("utf-16")),
    Bad("escaped line breaks", errors.NotPEMError, "line breaks", lambda: good().chain_pem.replace(b"\n", b"\\n")),
    Bad("line breaks gone", errors.NotPEMError, "line breaks", lambda: good().chain_pem.replace(b"\n", b" ")),
    Bad("DER certificate", errors.NotPEMError, r"DER form.*openssl x509 -inform der", lambda: good().der),
    Bad("DER key", errors.NotPEMError, r"DER form.*openssl pkey -inform der", key=der_key, names="key.key"),
    Bad("encrypted DER key", errors.NotPEMError, r"encrypted key in DER form.*openssl pkcs8", names="key.key",
        key=lambda: _decode(encrypted_key())),
    Bad("PKCS#12", errors.NotPEMError, r"PKCS#12.*openssl pkcs12", lambda: good().pkcs12()),
    Bad("PKCS#12 as key", errors.NotPEMError, r"PKCS#12.*openssl pkcs12", key=lambda: good().pkcs12(), names="key.key"),
    Bad("PKCS#7", errors.NotPEMError, r"PKCS#7 bundle instead of a certificate.*openssl pkcs7",
        lambda: b"-----BEGIN PKCS7-----\nMAMCAQU=\n-----END PKCS7-----\n"),
    Bad("Java key store", errors.NotPEMError, "Java.*keytool", lambda: b"\xfe\xed\xfe\xed\0\0\0\2"),
    Bad("trusted certificate", errors.NotPEMError, "TRUSTED CERTIFICATE.*not supported.*openssl x509",
        lambda: good().cert_pem.replace(b" CERT", b" TRUSTED CERT")),
    Bad("a request", errors.NotPEMError, "certificate request.*CA sent back",
        lambda: good().cert_pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST")),
    Bad("a public key", errors.NotPEMError, "a public key instead of a private key", names="key.key",
        key=lambda: good().key_pem.replace(b"PRIVATE", b"PUBLIC")),
    Bad("an OpenSSH key", errors.NotPEMError, "OpenSSH key", names="key.key",
        key=lambda: good().key_pem.replace(b"BEGIN ", b"BEGIN OPENSSH ").replace(b"END ", b"END OPENSSH ")),
    Bad("only parameters", errors.NotPEMError, "no private key, only EC PARAMETERS", names="key.key",
        key=lambda: PARAMETERS),
    Bad("swapped", errors.NotPEMError, r"key\.key the certificate.*swapped",
        lambda: good().key_pem, lambda: good().chain_pem),
    Bad("a request, and the certificate as the key", errors.NotPEMError, "certificate request.*CA sent back",
        lambda: good().cert_pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), lambda: good().chain_pem),
    Bad("both in one, and the certificate as the key", errors.NotPEMError, "given as the key, but contains a cert",
        lambda: good().chain_pem + good().key_pem, lambda: good().chain_pem, names="key.key"),
    Bad("the key, and parameters as the key", errors.NotPEMError, "given as the certificate, but contains a private",
        lambda: good().key_pem, lambda: PARAMETERS),
    Bad("two keys", errors.NotPEMError, "given as the certificate, but contains a private key", lambda: good().key_pem),
    Bad("two certificates", errors.NotPEMError, "given as the key, but contains a certificate", names="key.key",
        key=lambda: good().chain_pem),
    Bad("a damaged key", errors.NotPEMError, "cannot be parsed as a key", names="key.key",
        key=lambda: b"-----BEGIN PRIVATE KEY-----\nMAMCAQU=\n-----END PRIVATE KEY-----\n"),
    Bad("no password", errors.PasswordError, "no password was given", key=encrypted_key, names="key.key"),
    Bad("no password, old form", errors.PasswordError, "no password was given", names="key.key",
        key=lambda: good().encrypted_key_pem(b"another", traditional=True)),
    Bad("another's key", errors.KeyMismatchError, r"certificate of CN=localhost in .*cert\.crt", names="key.key",
        key=lambda: key_to_pem(make_key())),
    Bad("another kind of key", errors.KeyMismatchError, "does not belong", names="key.key",
        key=lambda: key_to_pem(make_key("rsa"))),
    Bad("chain.pem", errors.KeyMismatchError, "a CA certificate.*fullchain.pem", lambda: pki().intermediate_pem,
        names="key.key"),
    Bad("leaf last", errors.ChainOrderError, "belongs to certificate 2.*order: 2, 1;",
        lambda: pki().intermediate_pem + good().cert_pem),
    Bad("root, intermediate, leaf", errors.ChainOrderError, "belongs to certificate 3.*order: 3, 2, 1;",
        lambda: pki().root_pem + pki().intermediate_pem + good().cert_pem),
    leaf("intermediates shuffled", errors.ChainOrderError,
         r"certificate 2 \(CN=Middle\) stands before 3, which it issued.*order: 1, 3, 2;",
         lambda: replace(below(), issuers=below().issuers[::-1])),
    leaf("intermediates shuffled, with more", errors.ChainOrderError, "order: 1, 4, 2 and remove 3;",
         lambda: replace(below(), issuers=(below().issuers[1], other_root(), below().issuers[0]))),
    leaf("intermediates shuffled, and the root", errors.ChainOrderError, "order: 1, 3, 2, 4;",
         lambda: replace(below(), issuers=below().issuers[::-1]).with_more(pki().root.certificate)),
    leaf("wrong intermediate", errors.MissingIntermediateError, "issued by CN=Test Intermediate, which is not in",
         with_issuers("stranger")),
    leaf("leaf and root", errors.MissingIntermediateError, "which is not in the file", with_issuers("root")),
    leaf("same name, other key", errors.MissingIntermediateError, "certificate 2 .*whose key did not sign",
         with_issuers("namesake")),
    leaf("same name, other key, above", errors.MissingIntermediateError,
         r"certificate 2 \(CN=Lower\) names certificate 3 as its issuer, whose key did not sign it",
         lambda: replace(below(), issuers=(below().issuers[0], pki().ca("Middle", issuer=pki().root).certificate))),
    leaf("a weak extra one", errors.WeakKeyError, "certificate 3 .*1024 bits.*Remove it from the file",
         lambda: good().with_more(small_intermediate().issuers[0])),
    leaf("an extra one with SHA-1", errors.WeakSignatureError, "certificate 3 .*SHA-1.*Remove it from the file",
         lambda: good().with_more(sha1_intermediate().issuers[0])),
    leaf("leaf only, with an address", errors.MissingIntermediateError, r"certificate only.*http://ca\.test/i\.der",
         lambda: pki().leaf(ca_issuers="http://ca.test/i.der").alone()),
    leaf("leaf only, with an https address", errors.MissingIntermediateError, r"certificate only.*https://ca\.test/i",
         lambda: pki().leaf(ca_issuers="https://ca.test/i").alone()),
    leaf("leaf only, logged", errors.MissingIntermediateError, "certificate only.*fullchain.pem",
         lambda: pki().leaf(scts=True).alone()),
    leaf("issuer is no CA", errors.MissingIntermediateError, "which is not a CA certificate", not_a_ca),
    leaf("expired", errors.ExpiredError, r"certificate 1 .* expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC.*clock",
         lambda: pki().expired()),
    leaf("expired, and its own issuer", errors.ExpiredError, "certificate 1 .* expired on .*Renew it", old_self_signed),
    leaf("expired intermediate", errors.ExpiredError, r"certificate 2 \(CN=Old\) expired", old_intermediate),
    leaf("not yet valid", errors.NotYetValidError, r"not valid before \d{4}-.*clock", lambda: pki().not_yet_valid()),
    leaf("no names", errors.NoSubjectAltNameError, "subjectAltName", lambda: pki().leaf(san=False)),
    leaf("no host among the names", errors.NoSubjectAltNameError, "subjectAltName",
         lambda: pki().leaf(san_names=_email())),
    leaf("a CA as leaf", errors.CAAsLeafError, "asgi-tls cert NAME", lambda: pki().leaf(ca=True)),
    leaf("the tutorial's certificate", errors.CAAsLeafError, "openssl req -x509", openssl_req_x509),
    leaf("RSA 1024", errors.WeakKeyError, "RSA key of 1024 bits", lambda: pki().leaf(key="rsa1024")),
    leaf("RSA 1024 in the intermediate", errors.WeakKeyError, "certificate 2 .*1024 bits", small_intermediate),
    leaf("DSA", errors.WeakKeyError, "a DSA key", lambda: pki().leaf(key="dsa")),
    leaf("P-192", errors.WeakKeyError, "curve secp192r1", lambda: pki().leaf(key="p192")),
    leaf("P-224", errors.WeakKeyError, "curve secp224r1", lambda: pki().leaf(key="p224")),
    leaf("secp256k1", errors.WeakKeyError, "curve secp256k1", lambda: pki().leaf(key="secp256k1")),
    leaf("Brainpool", errors.WeakKeyError, "curve brainpool", lambda: pki().leaf(key="brainpool")),
    leaf("RSA-PSS", errors.WeakKeyError, "RSASSA-PSS", rsa_pss),
    leaf("SHA-1", errors.WeakSignatureError, "SHA-1", lambda: pki().leaf(signature="sha1")),
    leaf("SHA-1, and its own issuer", errors.WeakSignatureError, "certificate 1 .*SHA-1",
         lambda: pki().leaf(signature="sha1", self_signed=True)),
    leaf("SHA-1 with RSA", errors.WeakSignatureError, "SHA-1", lambda: rsa_pki().leaf(signature="sha1")),
    leaf("SHA-1 in the intermediate", errors.WeakSignatureError, "certificate 2 .*SHA-1", sha1_intermediate),
    leaf("MD5", errors.WeakSignatureError, "MD5", lambda: rsa_pki().leaf(signature="md5")),
)  # fmt: skip


def _decode(pem: bytes) -> bytes:
    import base64

    return base64.b64decode(pem.split(b"-----")[2])


def _email() -> tuple[GeneralName, ...]:
    from cryptography.x509 import RFC822Name

    return (RFC822Name("root@localhost"),)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_files(bad: Bad, tmp_path: Path) -> None:
    certfile, keyfile = tmp_path / "cert.crt", tmp_path / "key.key"
    certfile.write_bytes(bad.certificate())
    keyfile.write_bytes(bad.key())
    with pytest.raises(errors.CertificateError, match=f"(?s){bad.words}") as caught:
        PEMFiles(certfile, keyfile).load()
    error = caught.value
    assert type(error) is bad.error
    assert error.path == tmp_path / bad.names
    assert str(error).startswith(f"{tmp_path / bad.names}: ")
    assert str(error).endswith(error.fix)
    assert len(error.fix) > 10
    assert error.fix.endswith(".")
    assert not error.problem.endswith(".")
    assert "\n" not in str(error)
    assert not re.search(r"\{\w+\}", str(error))
    check_travels(error)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_data_in_memory(bad: Bad) -> None:
    role = "key" if bad.names == "key.key" else "certificate"
    with pytest.raises(errors.CertificateError, match=f"the {role} given in memory") as caught:
        PEMData(bad.certificate(), bad.key()).load()
    assert type(caught.value) is bad.error
    assert caught.value.path is None
    assert "None" not in str(caught.value)


def check_travels(error: errors.CertificateError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.path, again.code, again.fix) == (str(error), error.path, error.code, error.fix)


def fails(error: type[errors.CertificateError], words: str, source: PEMFiles) -> None:
    with pytest.raises(errors.CertificateError, match=words) as caught:
        source.load()
    assert type(caught.value) is error
    check_travels(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certfile, keyfile = good().write(tmp_path)
    fails(errors.MissingFileError, "no such file.*asgi-tls cert", PEMFiles(tmp_path / "none", keyfile))
    fails(errors.MissingFileError, "no such file.*asgi-tls cert", PEMFiles(certfile, tmp_path / "none"))
    fails(errors.MissingFileError, "no such file", PEMFiles(certfile / "below", keyfile))
    fails(errors.UnreadableFileError, "is a directory.*inside", PEMFiles(tmp_path, keyfile))
    fails(errors.UnreadableFileError, "not a valid file name", PEMFiles("a\0b"))
    fails(errors.UnreadableFileError, "cannot be read", PEMFiles("a" * 5000))
    (tmp_path / "link").symlink_to("nowhere")
    fails(errors.MissingFileError, "link to nowhere", PEMFiles(tmp_path / "link"))
    (tmp_path / "loop").symlink_to("loop")
    fails(errors.UnreadableFileError, "cannot be read", PEMFiles(tmp_path / "loop"))
    (tmp_path / "large").write_bytes(certfile.read_bytes() + b"\n" * (1 << 20))
    fails(errors.UnreadableFileError, "larger than 1 MiB, too large for a certificate", PEMFiles(tmp_path / "large"))
    fails(errors.UnreadableFileError, "larger than 1 MiB, too large for a key", PEMFiles(certfile, tmp_path / "large"))
    monkeypatch.chdir(tmp_path)
    fails(errors.MissingFileError, f"none: no such file in the working directory {tmp_path}", PEMFiles("none"))


def test_what_would_block_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fails(errors.UnreadableFileError, "pipe, a socket or a device", PEMFiles(tmp_path / "fifo"))
    fails(errors.UnreadableFileError, "pipe, a socket or a device", PEMFiles("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        fails(errors.UnreadableFileError, "pipe, a socket or a device", PEMFiles(tmp_path / "s"))


def test_a_key_that_only_another_may_read(tmp_path: Path) -> None:
    _, keyfile = good().write(tmp_path)
    keyfile.chmod(0)
    message = load_as_nobody("PEMFiles('fullchain.pem', 'privkey.pem')", tmp_path)
    assert message.startswith("UnreadableFileError privkey.pem: permission denied to read the key. Let the server")


@pytest.mark.parametrize(
    ("leaf_name", "full_name"),
    [
        ("cert.pem", "fullchain.pem"),
        ("cert1.pem", "fullchain1.pem"),
        ("example.org.cer", "fullchain.cer"),
        ("server.pem", "fullchain.pem"),
    ],
)
def test_the_whole_chain_lies_beside(tmp_path: Path, leaf_name: str, full_name: str) -> None:
    pair = pki().leaf("example.org", ca_issuers="http://ca.test/")
    _, keyfile = pair.write(tmp_path, certfile=full_name)
    certfile, _ = pair.alone().write(tmp_path, certfile=leaf_name)
    fails(errors.LeafOnlyError, f"Use {tmp_path / full_name} instead", PEMFiles(certfile, keyfile))
    for other in (pki().leaf(), pair.alone()):  # another certificate's chain, or no chain either
        (tmp_path / full_name).write_bytes(other.chain_pem)
        fails(errors.MissingIntermediateError, "certificate only", PEMFiles(certfile, keyfile))


def test_wrong_passwords_stay_secret(tmp_path: Path) -> None:
    pair = pki().leaf(key="rsa")
    certfile, keyfile = pair.write(tmp_path)
    (tmp_path / "password").write_text(SECRET)
    for traditional in (False, True):
        keyfile.write_bytes(pair.encrypted_key_pem(b"another", traditional=traditional))
        for password in (SECRET, SECRET.encode(), PasswordFile(tmp_path / "password"), lambda: SECRET, SECRET * 200):
            source = PEMFiles(certfile, keyfile, password)
            with pytest.raises(errors.PasswordError, match="password is wrong") as caught:
                source.load()
            for text in (str(caught.value), repr(caught.value), repr(source), str(source)):
                assert SECRET not in text
            assert caught.value.__suppress_context__
    fails(errors.MissingFileError, "no such file", PEMFiles(certfile, keyfile, PasswordFile(tmp_path / "none")))
    (tmp_path / "password").write_text("")
    fails(errors.EmptyFileError, "is empty", PEMFiles(certfile, keyfile, PasswordFile(tmp_path / "password")))


def test_the_key_beside_the_certificate(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(good().chain_pem)
    fails(errors.NotPEMError, "contains no private key, and no key file.*keyfile", PEMFiles(both))
    both.write_bytes(good().key_pem)
    fails(errors.NotPEMError, "given as the certificate, but contains a private key", PEMFiles(both))
    both.write_bytes(good().chain_pem + key_to_pem(make_key()))
    fails(errors.KeyMismatchError, "its private key does not belong", PEMFiles(both))


def test_names_in_a_certificate_cannot_forge_log_lines() -> None:
    pair = pki().leaf("localhost", common_name="x\nCRITICAL forged", san=False)
    with pytest.raises(errors.NoSubjectAltNameError, match=r"^.*CN=x\?CRITICAL forged.*$"):
        PEMData(pair.chain_pem, pair.key_pem).load()
