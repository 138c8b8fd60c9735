"""The contents of a certificate to be issued: the names of a server or of a client. Touches no keys and no files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asgi_tls.certificate.chain import extension
from asgi_tls.certificate.self_signed import general_name
from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import checked_host, checked_name, parse_ip

MAX_COMMON_NAME = 64  # ub-common-name, RFC 5280 appendix A.1

# RFC 3986 section 3, and the URNs of RFC 8141.
_URI = re.compile(r"(?:[a-z][a-z0-9+.-]*://|urn:)\S+\Z", re.IGNORECASE)
_EMAIL = re.compile(r"(?P<local>[^\s@]+)@(?P<domain>[^\s@]+)\Z")

# What some file system or other does not take in a name.
_UNSAFE = re.compile(r'[/\\:*?"<>|%]|\A\.|[. ]\Z')


@dataclass(frozen=True)
class Leaf:
    """A certificate to be issued. `names` are as users write them, `directory` is below the CA's directory."""

    names: tuple[str, ...]
    common_name: str
    subject_alt_names: tuple[x509.GeneralName, ...]
    usage: x509.ObjectIdentifier
    directory: str

    def and_those_of(self, certificate: x509.Certificate) -> Leaf:
        """With the names of an existing server certificate added."""
        if self.usage != ExtendedKeyUsageOID.SERVER_AUTH:
            return self
        return server_leaf((*self.names, *names_in(certificate)))

    def describes(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate has these contents."""
        usage = extension(certificate, x509.ExtendedKeyUsage) or ()
        names = set(extension(certificate, x509.SubjectAlternativeName) or ())
        # Servers are identified by subjectAltName only (RFC 9525 section 2), clients by their common name as well.
        common_name = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        same_subject = (
            self.usage == ExtendedKeyUsageOID.SERVER_AUTH or "".join(map(str, common_name)) == self.common_name
        )
        return list(usage) == [self.usage] and names == set(self.subject_alt_names) and same_subject


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """The subjectAltNames of a certificate that was made here, in their order."""
    return tuple(str(name.value) for name in extension(certificate, x509.SubjectAlternativeName) or ())


def server_leaf(names: Sequence[str]) -> Leaf:
    """For host names, wildcards and IP addresses. Raises ConfigurationError."""
    canonical = tuple(dict.fromkeys(checked_name(name) for name in _listed(names, "host: localhost")))
    return Leaf(
        canonical,
        canonical[0][:MAX_COMMON_NAME],
        tuple(general_name(name) for name in canonical),
        ExtendedKeyUsageOID.SERVER_AUTH,
        "certificates/" + canonical[0].replace("*", "_wildcard").replace(":", "_"),
    )


def client_leaf(names: Sequence[str]) -> Leaf:
    """For a person or a program. The first name is the common name; every one that is an e-mail address, a host name
    with a dot, an IP address or a URI is a subjectAltName as well, and those after the first must be.

    Raises ConfigurationError.
    """
    first, *more = dict.fromkeys(_listed(names, "person or program: alice"))
    for name in (first, *more):
        if not name or not name.isprintable() or name != name.strip():
            raise ConfigurationError(f"{name!r} is not a valid client name", fix="Use printable characters.")
    alternatives = [_alternative(name) for name in (first, *more)]
    for name, alternative in zip(more, alternatives[1:], strict=True):
        if alternative is None:
            raise ConfigurationError(
                f"{name!r} is neither an e-mail address, nor a host name, nor a URI",
                fix="Only the first name may be any text. Quote a name that contains spaces.",
            )
    if len(first) > MAX_COMMON_NAME and alternatives[0] is None:
        raise ConfigurationError(f"{first!r} is too long", fix=f"Use at most {MAX_COMMON_NAME} characters.")
    common_name = first if len(first) <= MAX_COMMON_NAME else ""
    found = tuple(each for each in alternatives if each is not None)
    return Leaf((first, *more), common_name, found, ExtendedKeyUsageOID.CLIENT_AUTH, f"clients/{_file_name(first)}")


def _listed(names: Sequence[str], example: str) -> Sequence[str]:
    if isinstance(names, str) or not names:
        raise ConfigurationError("a certificate needs a list of names", fix=f"Give at least one {example}.")
    return names


def _alternative(name: str) -> x509.GeneralName | None:
    """The subjectAltName for a name, None for other text. Raises ConfigurationError for a malformed one."""
    if _URI.match(name):
        if not name.isascii():
            raise ConfigurationError(f"{name!r} is not a valid URI", fix="Percent-encode its letters (RFC 3986).")
        return x509.UniformResourceIdentifier(name)
    if email := _EMAIL.match(name):
        if not email["local"].isascii():
            raise ConfigurationError(
                f"{name!r} is not an ASCII address", fix="Certificates can contain e-mail addresses in ASCII only."
            )
        return x509.RFC822Name(f"{email['local']}@{checked_host(email['domain'])}")
    if parse_ip(name) is not None or (("." in name or name == "localhost") and " " not in name):
        return general_name(checked_name(name))
    return None


def _file_name(name: str) -> str:
    safe = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
    return safe if len(safe.encode()) <= 200 else hashlib.sha256(name.encode()).hexdigest()
