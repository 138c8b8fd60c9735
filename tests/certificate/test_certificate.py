"""Sources and what a good certificate says of itself. Bad files are in test_certificate_errors.py."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from nobody import load_as_nobody
from pki import PKI, Pair, make_key

from asgi_tls.certificate import (
    Certificate,
    CertificateSource,
    KubernetesSecret,
    LetsEncrypt,
    PasswordFile,
    PEMData,
    PEMFiles,
)
from asgi_tls.certificate.material import Material
from asgi_tls.certificate.sources import files_or_secret
from asgi_tls.certificate.validation import check_dates
from asgi_tls.errors import (
    ConfigurationError,
    EmptyFileError,
    ExpiredError,
    MissingFileError,
    NotPEMError,
    NotYetValidError,
    PasswordError,
)

SECRET = "correct horse battery staple"


def password_from_callable() -> str:
    return SECRET


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI()


def load(pair: Pair) -> Certificate:
    return PEMData(pair.chain_pem, pair.key_pem).load()


def test_it_knows_itself(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf("Localhost", "*.Example.org", "127.0.0.1", "::1", ocsp="http://ocsp.test/", must_staple=True)
    source = PEMFiles(*map(str, pair.write(tmp_path)))
    certificate = source.load()
    assert certificate.dns_names == ("localhost", "*.example.org")
    assert certificate.ip_addresses == ("127.0.0.1", "::1")
    assert certificate.subject_alt_names == ("localhost", "*.example.org", "127.0.0.1", "::1")
    assert (certificate.subject, certificate.issuer) == ("CN=Localhost", "CN=Test Intermediate")
    assert certificate.serial_number == f"{pair.certificate.serial_number:x}"
    assert certificate.not_before == pair.certificate.not_valid_before_utc
    assert certificate.not_after == pair.certificate.not_valid_after_utc
    assert certificate.not_after.tzinfo is UTC
    assert certificate.key_type == "ECDSA P-256"
    assert certificate.fingerprint_sha256 == hashlib.sha256(pair.der).hexdigest()
    assert certificate.leaf_der == pair.der
    assert certificate.ocsp_url == "http://ocsp.test/"
    assert certificate.must_staple
    assert certificate.chain_pem == pair.chain_pem
    assert certificate.key_pem == pair.key_pem
    assert certificate.source == str(source) == f"{tmp_path}/fullchain.pem, {tmp_path}/privkey.pem"
    assert certificate.warnings == ()
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'subject'"):
        certificate.subject = "CN=other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "key_type"),
    [("ecdsa", "ECDSA P-256"), ("p384", "ECDSA P-384"), ("rsa", "RSA 2048"), ("rsa3072", "RSA 3072")],
)
def test_key_types(pki: PKI, key: str, key_type: str, tmp_path: Path) -> None:
    certificate = load(pki.leaf(key=key))
    assert certificate.key_type == key_type
    assert certificate.warnings == ()
    (tmp_path / "both.pem").write_bytes(certificate.key_pem + certificate.chain_pem)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tmp_path / "both.pem")  # OpenSSL agrees


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("example.org", True),
        ("EXAMPLE.org.", True),
        ("a.wild.example", True),
        ("*.wild.example", True),
        ("wild.example", False),
        ("a.b.wild.example", False),
        (".wild.example", False),
        ("*.example.org", False),
        ("münchen.example", True),
        ("xn--mnchen-3ya.example", True),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("2001:0db8:0::1", True),
        ("10.0.0.1", False),  # a DNS name that looks like an address matches no address
        ("", False),
        ("not a name", False),
        ("ßß..", False),
    ],
)
def test_covers(pki: PKI, name: str, covered: bool) -> None:
    names = ("example.org", "*.wild.example", "xn--mnchen-3ya.example", "127.0.0.1", "2001:db8::1")
    alt_names = (*(_general(name) for name in names), x509.DNSName("10.0.0.1"))
    assert load(pki.leaf(san_names=alt_names)).covers(name) is covered


def _general(name: str) -> x509.GeneralName:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_address(name)) if name[-1].isdigit() else x509.DNSName(name)


def test_lifetime_left(pki: PKI) -> None:
    certificate = load(pki.leaf())
    whole = certificate.not_after - certificate.not_before
    assert certificate.lifetime_left(certificate.not_before) == 1.0
    assert certificate.lifetime_left(certificate.not_before + whole / 4) == pytest.approx(0.75)
    assert certificate.lifetime_left(certificate.not_after + timedelta(days=1)) == 0.0
    assert certificate.lifetime_left(certificate.not_before - timedelta(days=1)) == 1.0
    for end in (certificate.not_before, certificate.not_before - timedelta(days=1)):
        assert (
            dataclasses.replace(certificate, not_after=end).lifetime_left(certificate.not_before - timedelta(days=2))
            == 0.0
        )


def test_warnings_where_a_private_pki_may_mean_it(pki: PKI) -> None:
    table = {
        "serverAuth": pki.leaf(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
        "digitalSignature": pki.leaf(digital_signature=False),
        "Ed25519": pki.leaf(key="ed25519"),
        "Ed448": pki.leaf(key="ed448"),
        "P-521": pki.leaf(key="p521"),
        "self-signed": pki.leaf(self_signed=True),
        "no intermediate: each client must trust CN=Test Root": pki.leaf(intermediate=False),
        "(CN=Test Root) is a root": pki.leaf().with_more(pki.root.certificate),
        "staging": pki.leaf(issuer=pki.ca("(STAGING) Tofu", issuer=pki.root)),
        "as a DNS name": pki.leaf(san_names=(x509.DNSName("localhost"), x509.DNSName("127.0.0.1"))),
    }
    for words, pair in table.items():
        warnings = load(pair).warnings
        assert len(warnings) == 1, (words, warnings)
        assert words in warnings[0]
    assert load(pki.leaf(eku=None)).warnings == ()
    assert load(pki.leaf(eku=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))).warnings == ()


def test_what_browsers_think_of_it_does_not_matter_to_a_client(pki: PKI) -> None:
    pair = pki.leaf(key="ed25519", self_signed=True, eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    assert len(load(pair).warnings) == 3
    assert PEMData(pair.chain_pem, pair.key_pem).load("client").warnings == ()


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_a_root_may_be_signed_with_a_broken_digest(pki: PKI, digest: str) -> None:
    """Clients use their own copy, and do not look at its signature."""
    root = pki.ca("Old", key="rsa", signature=digest)
    (warning,) = load(pki.leaf(issuer=root).with_more(root.certificate)).warnings
    assert "is a root" in warning


def test_the_first_and_the_last_moment(pki: PKI) -> None:
    chain = [pki.leaf().certificate]
    begins, ends = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    instant = timedelta(microseconds=1)
    material = Material("certificate", b"")
    for moment in (begins, ends):
        check_dates(material, chain, [0], moment)
    with pytest.raises(NotYetValidError, match="is not valid before"):
        check_dates(material, chain, [0], begins - instant)
    with pytest.raises(ExpiredError, match="expired on"):
        check_dates(material, chain, [0], ends + instant)


def test_an_old_root_at_the_end_does_no_harm(pki: PKI) -> None:
    now = datetime.now(UTC)
    root = pki.ca("Old", not_before=now - timedelta(days=900), not_after=now - timedelta(days=1))
    pair = pki.leaf(issuer=root)
    assert load(dataclasses.replace(pair, issuers=(root.certificate,))).warnings


@pytest.mark.parametrize(
    ("mode", "who"), [(0o600, None), (0o400, None), (0o640, None), (0o660, "its group"), (0o644, "everyone")]
)
def test_an_open_key_file_is_told(pki: PKI, tmp_path: Path, mode: int, who: str | None) -> None:
    certfile, keyfile = pki.leaf().write(tmp_path)
    keyfile.chmod(mode)
    warnings = PEMFiles(certfile, keyfile).load().warnings
    assert warnings == ((f"{keyfile}: the key is open to {who} (mode {mode:04o}); chmod 0600",) if who else ())


def test_a_chain_alone_lacks_its_key(pki: PKI, tmp_path: Path) -> None:
    certfile, _ = pki.leaf().write(tmp_path)
    with pytest.raises(NotPEMError, match=r"no private key, and no key file was given\. Set keyfile to the file"):
        PEMFiles(certfile).load()


def test_key_and_certificate_in_one_file(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf(key="ecdsa")
    both = tmp_path / "both.pem"
    for text in (pair.key_pem + pair.chain_pem, pair.chain_pem + pair.key_pem):
        both.write_bytes(text)
        both.chmod(0o600)
        for source in (PEMFiles(both), PEMFiles(both, both)):
            assert source.paths == (both,)
            assert source.load().chain_pem == pair.chain_pem
            assert str(source) == str(both)
    assert PEMData(pair.key_pem + pair.chain_pem).load().fingerprint_sha256 == hashlib.sha256(pair.der).hexdigest()


def test_text_that_openssl_reads_is_read(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf()
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    sec1 = subprocess.run(["openssl", "ec"], input=pair.key_pem, capture_output=True, check=True).stdout
    cert, key = pair.chain_pem.decode(), sec1.decode()
    table = {
        "text before and after": (f"subject=CN = x\nissuer: y\n{cert}\ntrailing words\n", parameters + key),
        "CRLF": (cert.replace("\n", "\r\n"), key.replace("\n", "\r\n")),
        "CR": (cert.replace("\n", "\r"), key.replace("\n", "\r")),
        "BOM": ("\ufeff" + cert, "\ufeff" + key),
        "no line break between": (cert.replace("\n-----BEGIN", "-----BEGIN").strip(), key.strip()),
        "indented": (cert.replace("\n", "\n    "), key.replace("\n", "\n    ")),
        "blanks": (cert.replace("\n", " \t\n"), key.replace("\n", " \n")),
        "old label": (cert.replace(" CERTIFICATE", " X509 CERTIFICATE"), key),
        "long lines": (_unfold(cert), key),
    }
    for what, (certificate, private) in table.items():
        assert PEMData(certificate, private).load().chain_pem == pair.chain_pem, what
        names = (tmp_path / "c.pem", tmp_path / "k.pem")
        for path, text in zip(names, (certificate, private), strict=True):
            path.write_text(text, encoding="utf-8", newline="")
        assert PEMFiles(*names).load().key_pem == pair.key_pem, what


def _unfold(text: str) -> str:
    return "".join(
        line + "\n" if line.startswith("-") else line + ("\n" if len(line) < 64 else "") for line in text.splitlines()
    )


def test_passwords(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf(key="rsa")
    secret_file = tmp_path / "password"
    secret_file.write_text(f"{SECRET}\nthe second line does not count\n")
    for key in (
        pair.encrypted_key_pem(SECRET.encode()),
        pair.encrypted_key_pem(SECRET.encode(), traditional=True),
    ):
        for password in (SECRET, SECRET.encode(), PasswordFile(secret_file), password_from_callable):
            for source in (PEMData(pair.chain_pem, key, password), PEMData(pair.chain_pem + key, None, password)):
                assert source.load().key_pem == pair.key_pem
    assert PEMFiles("c", "k", PasswordFile(secret_file)).paths == (Path("c"), Path("k"), secret_file)


def test_a_password_file_of_windows_and_one_that_is_open(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf()
    secret_file = tmp_path / "password"
    secret_file.write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n")
    secret_file.chmod(0o604)
    source = PEMData(pair.chain_pem, pair.encrypted_key_pem(SECRET.encode()), PasswordFile(secret_file))
    assert source.load().warnings == (f"{secret_file}: the password is open to everyone (mode 0604); chmod 0600",)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b"\xff\xfe", b"\nsecret\n"])
def test_a_password_file_with_nothing_in_its_first_line(pki: PKI, tmp_path: Path, content: bytes) -> None:
    pair = pki.leaf()
    secret_file = tmp_path / "password"
    secret_file.write_bytes(content)
    source = PEMData(pair.chain_pem, pair.encrypted_key_pem(SECRET.encode()), PasswordFile(secret_file))
    with pytest.raises(EmptyFileError, match=r"password: has an empty first line\. Write the password there\."):
        source.load()
    secret_file.write_bytes(b"\n")
    with pytest.raises(EmptyFileError, match=r"password: is empty\. Write the password again"):
        source.load()


def test_a_password_file_that_is_missing_is_not_a_certificate_that_is(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf()
    key = pair.encrypted_key_pem(SECRET.encode())
    with pytest.raises(MissingFileError, match=r"password: no such file\. Check the path\.$"):
        PEMData(pair.chain_pem, key, PasswordFile(tmp_path / "password")).load()


def test_a_password_for_a_plain_key_is_never_asked_for(pki: PKI) -> None:
    pair = pki.leaf()

    def ask() -> str:
        raise AssertionError("asked")

    (warning,) = PEMData(pair.chain_pem, pair.key_pem, ask).load().warnings
    assert "not encrypted" in warning


@pytest.mark.parametrize("answer", [None, 7, KeyError(SECRET)])
def test_a_callable_that_fails(pki: PKI, answer: object) -> None:
    pair = pki.leaf()

    def ask() -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    with pytest.raises(PasswordError, match=r"callable|KeyError") as caught:
        PEMData(pair.chain_pem, pair.encrypted_key_pem(SECRET.encode()), ask).load()
    assert SECRET not in str(caught.value)
    assert caught.value.problem.startswith("the key given in memory is encrypted, and the password callable r")
    assert caught.value.fix == "Make the callable return the password as str or bytes."


def test_secrets_stay_out_of_sight(pki: PKI) -> None:
    pair = pki.leaf()
    key = pair.encrypted_key_pem(SECRET.encode())
    source = PEMData(key + pair.chain_pem, None, SECRET)
    certificate = PEMData(pair.chain_pem, pair.key_pem).load()
    for text in (repr(source), str(source), repr(PEMFiles("a", "b", SECRET)), repr(certificate), str(certificate)):
        assert SECRET not in text
        assert "-----" not in text
        assert pair.key_pem.splitlines()[2].decode() not in text


def test_sources_travel_to_workers(pki: PKI, tmp_path: Path) -> None:
    pair = pki.leaf()
    sources: list[CertificateSource] = [
        PEMFiles(*pair.write(tmp_path), password_from_callable),
        LetsEncrypt("example.com", tmp_path),
        KubernetesSecret(tmp_path),
        PEMData(pair.chain_pem, pair.key_pem, PasswordFile(tmp_path / "password")),
    ]
    for source in sources:
        assert isinstance(source, CertificateSource)
        assert pickle.loads(pickle.dumps(source)) == source
        assert hash(source) == hash(pickle.loads(pickle.dumps(source)))
    certificate = PEMData(pair.chain_pem, pair.key_pem).load()
    assert pickle.loads(pickle.dumps(certificate)) == certificate


def test_each_file_is_read_once(pki: PKI, tmp_path: Path) -> None:
    names = pki.leaf().write(tmp_path)
    opened: list[str] = []
    script = (
        "import sys\nfrom asgi_tls.certificate import PEMFiles\nimport asgi_tls.certificate.validation\n"
        "opened = []\nsys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "PEMFiles(*sys.argv[1:]).load()\nprint('\\n'.join(opened))"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=True)
    opened = [name for name in done.stdout.splitlines() if name.startswith(str(tmp_path))]
    assert opened == [str(name) for name in names]


def test_the_import_is_light() -> None:
    script = "import sys, asgi_tls.certificate; print([name for name in ('cryptography',) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestLetsEncrypt:
    @pytest.fixture
    def live(self, pki: PKI, tmp_path: Path) -> Path:
        """certbot's own layout: live/ links into archive/."""
        live, archive = tmp_path / "live", tmp_path / "archive"
        for domain in ("example.com", "example.net-0001", "example.net-0002"):
            pair = pki.leaf(domain)
            pair.write(archive / domain, certfile="fullchain1.pem", keyfile="privkey1.pem")
            (live / domain).mkdir(parents=True)
            for name in ("fullchain", "privkey"):
                (live / domain / f"{name}.pem").symlink_to(f"../../archive/{domain}/{name}1.pem")
        (live / "README").write_text("This directory contains your keys and certificates.")
        return live

    def test_it_loads(self, live: Path) -> None:
        source = LetsEncrypt("example.com", live)
        assert source.load().dns_names == ("example.com",)
        assert source.paths == (live / "example.com/fullchain.pem", live / "example.com/privkey.pem")
        assert str(source) == f"Let's Encrypt example.com ({live}/example.com)"
        assert LetsEncrypt("example.com").paths[0] == Path("/etc/letsencrypt/live/example.com/fullchain.pem")

    def test_an_unknown_domain_lists_the_others(self, live: Path) -> None:
        with pytest.raises(MissingFileError, match=r"certbot has example\.com, example\.net-0001") as caught:
            LetsEncrypt("example.org", live).load()
        assert str(live / "example.org") in str(caught.value)
        assert "README" not in str(caught.value)

    def test_a_numbered_lineage_is_named(self, live: Path) -> None:
        with pytest.raises(MissingFileError, match=r"use 'example\.net-0002'\."):
            LetsEncrypt("example.net", live).load()

    def test_no_certbot(self, tmp_path: Path) -> None:
        for directory in (tmp_path / "none", "a\0b"):
            with pytest.raises(MissingFileError, match="certbot issue"):
                LetsEncrypt("example.org", directory).load()
        with pytest.raises(MissingFileError, match="certbot certonly -d example"):
            LetsEncrypt("example.org", tmp_path).load()

    @pytest.mark.parametrize(("closed", "named"), [("live", "live"), ("archive", "live/example.com/fullchain.pem")])
    def test_no_permission(self, live: Path, closed: str, named: str) -> None:
        (live.parent / closed).chmod(0)
        try:
            message = load_as_nobody("LetsEncrypt('example.com', 'live')", live.parent)
        finally:
            (live.parent / closed).chmod(0o755)
        assert message.startswith(f"UnreadableFileError {named}: ")
        assert "live/ and archive/" in message
        assert re.search(f"`(chgrp nogroup|chmod u).* {live.parent / closed}`", message)

    @pytest.mark.parametrize("domain", ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "a\0b", "*.example.com"])
    def test_a_domain_that_is_none(self, domain: str) -> None:
        with pytest.raises(ConfigurationError, match="names no directory of certbot|under the name without"):
            LetsEncrypt(domain)


class TestKubernetesSecret:
    def test_it_loads_through_the_links(self, pki: PKI, tmp_path: Path) -> None:
        pair = pki.leaf("app.cluster.local")
        _, key = pair.write(tmp_path / "..2026_01_01", certfile="tls.crt", keyfile="tls.key")
        key.chmod(0o644)
        (tmp_path / "..data").symlink_to("..2026_01_01")
        for name in ("tls.crt", "tls.key"):
            (tmp_path / name).symlink_to(f"..data/{name}")
        source = KubernetesSecret(tmp_path)
        assert source.load().dns_names == ("app.cluster.local",)
        assert source.load().warnings == ()  # 0644 is what Kubernetes writes
        assert source.paths == (tmp_path / "tls.crt", tmp_path / "tls.key")
        assert str(source) == f"Kubernetes secret {tmp_path}"

    def test_not_mounted(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="volumeMounts"):
            KubernetesSecret(tmp_path / "none").load()


@pytest.mark.parametrize(
    ("keyfile", "password", "linked", "recognized"),
    [
        ("tls.key", None, True, True),
        ("tls.key", None, False, False),
        ("tls.key", SECRET, True, False),
        (None, None, True, False),
        ("other.key", None, True, False),
    ],
)
def test_a_mounted_secret_is_recognized(
    tmp_path: Path, keyfile: str | None, password: str | None, linked: bool, recognized: bool
) -> None:
    if linked:
        (tmp_path / "..data").symlink_to("..2026_01_01")
    certfile, keypath = str(tmp_path / "tls.crt"), None if keyfile is None else str(tmp_path / keyfile)
    expected = KubernetesSecret(tmp_path) if recognized else PEMFiles(certfile, keypath, password)
    assert files_or_secret(certfile, keypath, password) == expected


def test_settings_that_can_be_nothing() -> None:
    table: list[tuple[Callable[[], object], str]] = [
        (lambda: PEMFiles(""), "certfile=''"),
        (lambda: PEMFiles("a", ""), "keyfile=''"),
        (lambda: PEMFiles("a", "b", 7), "password cannot be of type int"),  # type: ignore[arg-type]
        (lambda: PEMFiles("a", "b", Path("password")), "password cannot be of type PosixPath"),  # type: ignore[arg-type]
        (lambda: PEMFiles(b"a"), "certfile=b'a'"),  # type: ignore[arg-type]
        (lambda: PEMFiles(None), "certfile=None"),  # type: ignore[arg-type]
        (lambda: PEMData("text", "text", 7), "password cannot be of type int"),  # type: ignore[arg-type]
        (lambda: PEMData("text", Path("privkey.pem")), "text or bytes, not PosixPath"),  # type: ignore[arg-type]
        (lambda: PEMData(Path("fullchain.pem")), "text or bytes, not PosixPath"),  # type: ignore[arg-type]
        (lambda: LetsEncrypt("example.com", ""), "directory=''"),
        (lambda: KubernetesSecret(""), "directory=''"),
    ]
    for make, words in table:
        with pytest.raises(ConfigurationError, match=words):
            make()


def test_a_source_can_be_loaded_by_threads_at_once(pki: PKI, tmp_path: Path) -> None:
    source = PEMFiles(*pki.leaf().write(tmp_path))
    found: list[Certificate] = []
    threads = [threading.Thread(target=lambda: found.append(source.load())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({certificate.fingerprint_sha256 for certificate in found}) == 1
    assert len(found) == 4


def test_a_key_of_ones_own_can_be_given(pki: PKI) -> None:
    key = make_key("ecdsa")
    assert load(pki.leaf(key=key)).fingerprint_sha256 != load(pki.leaf(key=key)).fingerprint_sha256


def test_a_mount_of_a_file_that_was_replaced_is_reported(pki: PKI, tmp_path: Path) -> None:
    """In a container the path leads to the old file for ever. Here a descriptor does."""
    names = pki.leaf().write(tmp_path)
    with names[0].open() as certificate, names[1].open() as key:
        for name in names:
            name.unlink()
        paths = [f"/proc/self/fd/{file.fileno()}" for file in (certificate, key)]
        said = "was replaced or deleted outside of this mount (link count 0); mount its directory"
        assert PEMFiles(*paths).load().warnings == tuple(f"{path}: {said}" for path in paths)


def test_a_mount_of_a_password_file_that_was_replaced_is_reported(pki: PKI, tmp_path: Path) -> None:
    pair, secret_file = pki.leaf(), tmp_path / "password"
    secret_file.write_text(SECRET)
    secret_file.chmod(0o600)
    with secret_file.open() as file:
        secret_file.unlink()
        path = f"/proc/self/fd/{file.fileno()}"
        source = PEMData(pair.chain_pem, pair.encrypted_key_pem(SECRET.encode()), PasswordFile(path))
        (warning,) = source.load().warnings
    assert warning == f"{path}: was replaced or deleted outside of this mount (link count 0); mount its directory"
