"""A small public key infrastructure, good or broken on request.

pki = PKI()
pair = pki.leaf("localhost", "127.0.0.1")
certfile, keyfile = pair.write(tmp_path)       # leaf and intermediate, and the key
context.load_verify_locations(cadata=pki.root_pem.decode())
"""

from __future__ import annotations

import ipaddress
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID

DAY = timedelta(days=1)

_KEYS = {
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "p224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "dsa": lambda: dsa.generate_private_key(1024),
}

# One SCT of version 1 with a zero log id: enough for the extension to parse (RFC 6962 section 3.3).
_SCT = b"\x00" + bytes(32) + (1_700_000_000_000).to_bytes(8, "big") + b"\x00\x00" + b"\x04\x03" + b"\x00\x08" + bytes(8)
_SCT_LIST = (len(_SCT) + 2).to_bytes(2, "big") + len(_SCT).to_bytes(2, "big") + _SCT


def make_key(kind: str = "ecdsa") -> Any:
    """A fresh private key: ecdsa, p384, p521, p224, p192, secp256k1, brainpool, ed25519, ed448, rsa, rsa1024, …"""
    return _KEYS[kind]()  # type: ignore[no-untyped-call]  # of several classes


def key_to_pem(key: Any, *, password: bytes | None = None, traditional: bool = False) -> bytes:
    style = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, style, encryption))


@dataclass(frozen=True)
class Pair:
    """A certificate, what follows it in the file, and its key."""

    certificate: x509.Certificate
    key: Any = field(repr=False)
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain_pem(self) -> bytes:
        return self.cert_pem + b"".join(one.public_bytes(Encoding.PEM) for one in self.issuers)

    @property
    def key_pem(self) -> bytes:
        return key_to_pem(self.key)

    def encrypted_key_pem(self, password: bytes, *, traditional: bool = False) -> bytes:
        return key_to_pem(self.key, password=password, traditional=traditional)

    def pkcs12(self, password: bytes = b"secret") -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"server", self.key, self.certificate, self.issuers, BestAvailableEncryption(password)
        )

    def write(
        self, directory: Path, *, certfile: str = "fullchain.pem", keyfile: str = "privkey.pem"
    ) -> tuple[Path, Path]:
        """Write both files, the key with mode 0600; an existing file is replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / certfile).write_bytes(self.chain_pem)
        (directory / keyfile).touch(mode=0o600)
        (directory / keyfile).write_bytes(self.key_pem)
        return directory / certfile, directory / keyfile

    def with_more(self, *certificates: x509.Certificate) -> Pair:
        """With these at the end of the file."""
        return replace(self, issuers=(*self.issuers, *certificates))

    def alone(self) -> Pair:
        """Without the issuers."""
        return replace(self, issuers=())


class PKI:
    """A root, an intermediate under it, and leafs with any defect. `name` tells two of them apart."""

    def __init__(self, name: str = "Test", *, key: str = "ecdsa", now: datetime | None = None) -> None:
        self.name = name
        self.now = now or datetime.now(UTC)
        self.root = self.ca(f"{name} Root", key=key)
        self.intermediate = self.ca(f"{name} Intermediate", key=key, issuer=self.root, path_length=0)

    @property
    def root_pem(self) -> bytes:
        return self.root.cert_pem

    @property
    def intermediate_pem(self) -> bytes:
        return self.intermediate.cert_pem

    def ca(
        self,
        common_name: str,
        *,
        key: str | Any = "ecdsa",
        issuer: Pair | None = None,
        path_length: int | None = None,
        basic_constraints: bool = True,
        key_usage: bool = True,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        signature: str = "sha256",
    ) -> Pair:
        """A CA certificate, self-signed without an issuer."""
        subject, private = _name(common_name), make_key(key) if isinstance(key, str) else key
        named = issuer if signature == "sha256" else None
        builder = self._builder(subject, private, named, not_before, not_after or self.now + 3650 * DAY)
        if basic_constraints:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            if key_usage:
                builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
        certificate = _sign(builder, private if named is None else named.key)
        if signature != "sha256":
            certificate = _sign_again(certificate, issuer, private if issuer is None else issuer.key, signature)
        above = () if issuer is None else (issuer.certificate, *issuer.issuers)
        return Pair(certificate, private, above)

    def leaf(
        self,
        *names: str,
        key: str | Any = "ecdsa",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        intermediate: bool = True,
        issuer: Pair | None = None,
        self_signed: bool = False,
        common_name: str | None = None,
        ca: bool = False,
        san: bool = True,
        san_names: tuple[x509.GeneralName, ...] | None = None,
        eku: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
        digital_signature: bool = True,
        ca_issuers: str | None = None,
        ocsp: str | None = None,
        must_staple: bool = False,
        scts: bool = False,
        extensions: tuple[x509.ExtensionType, ...] = (),
        signature: str = "sha256",
        serial: int | None = None,
    ) -> Pair:
        """A server certificate. Its issuers hold the intermediate, or nothing when the root signed it.

        `key` is a kind for `make_key`, or a private key. `signature="sha1"` (or md5) is signed by the openssl program.
        """
        names = names or ("localhost",)
        private = make_key(key) if isinstance(key, str) else key
        signer = None if self_signed else issuer or (self.intermediate if intermediate else self.root)
        modern = signature == "sha256"
        named = signer if modern else None  # openssl signs a self-signed certificate again, no other
        own = named is signer  # otherwise the key identifier would be that of the wrong issuer
        builder = self._builder(
            _name(common_name or names[0]), private, named, not_before, not_after, identifier=own, serial=serial
        )
        found = [x509.BasicConstraints(ca=ca, path_length=None), _usage(digital_signature=digital_signature)]
        if san:
            found.append(x509.SubjectAlternativeName(san_names or tuple(_general_name(name) for name in names)))
        if eku is not None:
            found.append(x509.ExtendedKeyUsage(eku))
        if ca_issuers or ocsp:
            found.append(_access(ca_issuers, ocsp))
        if must_staple:
            found.append(x509.TLSFeature([x509.TLSFeatureType.status_request]))
        if scts:
            oid = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
            found.append(x509.UnrecognizedExtension(oid, _octets(_SCT_LIST)))
        for extension in (*found, *extensions):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        certificate = _sign(builder, private if named is None else named.key)
        if not modern:
            certificate = _sign_again(certificate, signer, private if signer is None else signer.key, signature)
        above = () if signer is None else (signer.certificate, *signer.issuers)
        return Pair(certificate, private, tuple(one for one in above if one.subject != one.issuer))

    def crl(self, issuer: Pair, *revoked: Pair, begins: datetime | None = None, ends: datetime | None = None) -> bytes:
        """A revocation list of `issuer`, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
        builder = builder.last_update(begins or self.now - 2 * DAY).next_update(ends or self.now + DAY)
        for pair in revoked:
            one = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
            builder = builder.add_revoked_certificate(one.revocation_date(self.now - DAY).build())
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def expired(self, *names: str) -> Pair:
        return self.leaf(*names, not_before=self.now - 90 * DAY, not_after=self.now - DAY)

    def not_yet_valid(self, *names: str) -> Pair:
        return self.leaf(*names, not_before=self.now + DAY, not_after=self.now + 90 * DAY)

    def _builder(
        self,
        subject: x509.Name,
        key: Any,
        issuer: Pair | None,
        not_before: datetime | None,
        not_after: datetime | None,
        *,
        identifier: bool = True,
        serial: int | None = None,
    ) -> x509.CertificateBuilder:
        above = key if issuer is None else issuer.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(not_before or self.now - DAY)
            .not_valid_after(not_after or self.now + 89 * DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if not identifier:
            return builder
        return builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _access(ca_issuers: str | None, ocsp: str | None) -> x509.AuthorityInformationAccess:
    kinds = ((AuthorityInformationAccessOID.OCSP, ocsp), (AuthorityInformationAccessOID.CA_ISSUERS, ca_issuers))
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(kind, x509.UniformResourceIdentifier(url)) for kind, url in kinds if url]
    )


def _usage(*, digital_signature: bool = True, sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=not digital_signature,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _octets(data: bytes) -> bytes:
    return b"\x04" + bytes([len(data)]) + data if len(data) < 128 else b"\x04\x81" + bytes([len(data)]) + data


def _sign(builder: x509.CertificateBuilder, key: Any) -> x509.Certificate:
    plain = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return builder.sign(key, None if plain else hashes.SHA256())


def _sign_again(certificate: x509.Certificate, signer: Pair | None, key: Any, digest: str) -> x509.Certificate:
    """The same certificate, signed with a digest that `cryptography` refuses to sign with."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "leaf.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (directory / "key.pem").write_bytes(key_to_pem(key))
        command = ["openssl", "x509", f"-{digest}", "-in", "leaf.pem", "-preserve_dates"]
        if signer is None:
            command += ["-signkey", "key.pem"]
        else:
            (directory / "ca.pem").write_bytes(signer.cert_pem)
            command += ["-CA", "ca.pem", "-CAkey", "key.pem", "-set_serial", hex(certificate.serial_number)]
        done = subprocess.run(command, cwd=directory, capture_output=True, check=True)
    return x509.load_pem_x509_certificate(done.stdout)
