"""`ACME`: a certificate that the server orders from a CA itself, as a source beside files.

What is stored is read as any PEM file, so that every worker takes a renewed certificate as it takes other files. Until
the first one is there, something else is served (`stand_in.py`): a CA that is down takes no site down.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, get_args
from urllib.parse import urlsplit

from asgi_tls.certificate import Certificate, Purpose
from asgi_tls.certificate.loaded import OrderedSource
from asgi_tls.certificate.material import Material, read_material
from asgi_tls.errors import CertificateError, ConfigurationError, MissingFileError
from asgi_tls.events import Notice
from asgi_tls.hostnames import checked_name, is_loopback, parse_ip
from asgi_tls.renewal.acme.ca import CA, DIRECTORIES, ChallengeType, ExternalAccount, KeyType
from asgi_tls.renewal.acme.dns import DNSCommand
from asgi_tls.renewal.acme.stand_in import closest, self_signed_for
from asgi_tls.renewal.acme.storage import DirectoryStorage, Storage

logger = logging.getLogger("asgi_tls")

_CHALLENGES: Final[tuple[ChallengeType, ...]] = get_args(ChallengeType)
_USUAL: Final[tuple[ChallengeType, ...]] = ("tls-alpn-01", "http-01")  # the TLS port is there in any case
_MOST_NAMES: Final = 100  # as Let's Encrypt has it
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_REDIS: Final = ("redis://", "rediss://", "unix://")
_NEEDS_ACCOUNT: Final = frozenset({"zerossl", "google"})


class DNSProvider(Protocol):
    """Sets TXT records for dns-01. It is copied into workers, so it must be picklable."""

    def present(self, name: str, value: str) -> None:
        """Set the record that validates `name`, and return when it can be seen. Raises ACMEError."""

    def clean(self, name: str, value: str) -> None:
        """Remove it. Raises ACMEError."""


@dataclass(frozen=True, init=False)
class ACME(OrderedSource):
    """A certificate for these names, ordered by ACME (RFC 8555), and renewed for as long as the server runs.

    `names` are host names, wildcards (which need `dns`), or IP addresses. `directory` is "letsencrypt",
    "letsencrypt-staging", "zerossl", "google", or the https URL of a CA's directory, and `ca_file` the PEM file of the
    CA that this URL is trusted by. `fallback` has further CAs, tried after three failures in a row: names, URLs or
    `CA` objects. `profile` is one of the CA's.

    `challenges` are tried in turn: "http-01" needs port 80 (`--tls-redirect-port 80`, or the middleware behind a
    server there), "tls-alpn-01" port 443. `dns` sets TXT records for "dns-01", and is used alone unless `challenges`
    says otherwise.

    `storage` is where account and certificates are kept: a directory, the URL of a Redis, or a `Storage`. By default
    `acme` in systemd's STATE_DIRECTORY, else in the user's directory for data. It must outlive the server: what is lost
    is ordered again, and CAs limit that.

    `contact` are e-mail addresses, `external_account` the key ID and the HMAC key (base64url) that some CAs give, or
    an `ExternalAccount`, which may name a file with the key.
    `key` is "ecdsa" or "rsa"; each renewal has a new key.

    Raises ConfigurationError. Creating it reads no file but that of an external account.
    """

    names: tuple[str, ...]
    directory: str
    fallback: tuple[CA, ...]
    profile: str | None
    challenges: tuple[ChallengeType, ...]
    storage: Storage
    ca_file: Path | None
    contact: tuple[str, ...]
    external_account: ExternalAccount | None = field(repr=False)
    key: KeyType
    dns: DNSProvider | None

    def __init__(
        self,
        *names: str,
        directory: str = "letsencrypt",
        fallback: Sequence[str | CA] = (),
        profile: str | None = None,
        challenges: Sequence[ChallengeType] = _USUAL,
        storage: str | os.PathLike[str] | Storage | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        contact: Sequence[str] = (),
        external_account: tuple[str, str] | ExternalAccount | None = None,
        key: KeyType = "ecdsa",
        dns: DNSProvider | None = None,
    ) -> None:
        contact = (contact,) if isinstance(contact, str) else tuple(contact)
        settings: dict[str, Any] = {
            "names": _names(names, is_public=directory in DIRECTORIES),
            "directory": directory,
            "profile": profile,
            "challenges": ("dns-01",) if dns is not None and tuple(challenges) == _USUAL else tuple(challenges),
            "storage": _storage(storage),
            "ca_file": None if ca_file is None else Path(ca_file),
            "contact": contact,
            "external_account": _account(external_account),
            "key": key,
            "dns": dns,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "fallback", tuple(_fallback(each, contact) for each in fallback))
        self._check()

    def _check(self) -> None:
        _url(self.directory)
        for address in self.contact:
            if not all(address.rpartition("@")[::2]):
                raise ConfigurationError(
                    f"{{acme_contact}} is {address!r}",
                    fix="Give an e-mail address, as in admin@example.com.",
                    settings=("acme_contact",),
                )
        if self.directory in _NEEDS_ACCOUNT and self.external_account is None:
            raise ConfigurationError(
                f"{{acme_directory}} is {self.directory}, which takes orders of its own customers only",
                fix="Create an account there, and set {acme_eab_kid} and {acme_eab_key_file} to what it gives for ACME "
                "(external account binding).",
                settings=("acme_directory", "acme_eab_kid", "acme_eab_key_file"),
            )
        for challenge in self.challenges or ("",):
            if challenge not in _CHALLENGES:
                raise ConfigurationError(
                    f"{{acme_challenge}} is {challenge!r}",
                    fix='Choose "http-01", "tls-alpn-01" or "dns-01".',
                    settings=("acme_challenge",),
                )
        if self.key not in get_args(KeyType):
            raise ConfigurationError(
                f"{{acme_key}} is {self.key!r}", fix='Choose "ecdsa" or "rsa".', settings=("acme_key",)
            )
        if "dns-01" in self.challenges and self.dns is None:
            raise ConfigurationError(
                "dns-01 is among {acme_challenge}, and nothing sets DNS records",
                fix="Set {acme_dns}, or choose other challenges.",
                settings=("acme_challenge", "acme_dns"),
            )
        self._check_names_by_challenge()

    def _check_names_by_challenge(self) -> None:
        for name in self.names:
            if name.startswith("*.") and self.challenges != ("dns-01",):
                raise ConfigurationError(
                    f"{name} is a wildcard, which CAs validate by dns-01 alone",
                    fix="Set {acme_dns} to what can change the DNS records of the domain, or name each host.",
                    settings=("acme_dns",),
                )
            if parse_ip(name) is not None and self.challenges == ("dns-01",):
                raise ConfigurationError(
                    f"{name} is an IP address, which CAs do not validate by dns-01",
                    fix="Order it by a source of its own, with http-01 or tls-alpn-01.",
                )

    @property
    def identifier(self) -> str:
        """Its name in the storage: the first host name, and a digest of all names, the type of key and the CA.

        With the CA in it, a trial with another one touches nothing of what is in use.
        """
        parts = (*sorted(self.names), self.key, self.cas[0].url)
        return f"{_readable(self.names[0])}-{_digest(*parts)}"

    @property
    def fingerprint(self) -> str:
        """Of the settings that an order may fail by: where they differ, an earlier failure means nothing."""
        how = self.dns.command if isinstance(self.dns, DNSCommand) else type(self.dns).__qualname__
        parts = [self.identifier, repr((self.profile, self.challenges, self.cas)), how]
        with contextlib.suppress(CertificateError):  # of an account's file: the order says so
            parts += [each.external_account.secret() for each in self.cas if each.external_account is not None]
        return _digest(*parts)

    @property
    def certificate_entry(self) -> str:
        """The storage's key for the certificate and its private key, PEM."""
        return f"certificates/{self.identifier}.pem"

    @property
    def record_entry(self) -> str:
        """The storage's key for what is known about the certificate, JSON."""
        return f"certificates/{self.identifier}.json"

    @property
    def cas(self) -> tuple[CA, ...]:
        """The CA, and those to fall back to."""
        first = CA(
            name=self.directory,
            url=_url(self.directory),
            ca_file=self.ca_file,
            contact=self.contact,
            external_account=self.external_account,
        )
        return (first, *self.fallback)

    @property
    def path(self) -> Path:
        """The file that it is served from."""
        return self.storage.local / self.certificate_entry

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file to watch; none while it could not be written, and is served from memory."""
        return () if self.path in _unsaved else (self.path,)

    def load(self, purpose: Purpose = "server") -> Certificate:
        """What is stored, also where it has expired; before that a placeholder. Raises nothing for a missing file."""
        path = self.path
        try:
            certificate = self._stored(path, purpose)
        except MissingFileError:
            return _good.get(path) or self._stand_in(purpose)
        except CertificateError as error:
            if path in _good or isinstance(error.__cause__, PermissionError):
                raise  # the reloader keeps what is served, and reports it
            logger.error("%s; a new one is ordered", error)  # noqa: TRY400
            return self._stand_in(purpose)
        _good[path] = certificate
        return certificate

    def stored(self) -> Certificate | None:
        """The certificate that is stored, None if there is none that can be served."""
        try:
            return self._stored(self.path, "server")
        except CertificateError:
            return None

    def read(self, pem: bytes | None) -> Certificate | None:
        """The certificate in these bytes, None if there is none that can be served."""
        if pem is None:
            return None
        try:
            return self._validated(Material("certificate", pem), "server", check_mode=False)
        except CertificateError:
            return None

    def keep(self, pem: bytes | None) -> None:
        """Serve this from memory, where the storage cannot be written; None once it is stored."""
        if pem is None:
            _unsaved.pop(self.path, None)
        else:
            _unsaved[self.path] = pem

    def __str__(self) -> str:
        return f"ACME {', '.join(self.names)} ({self.directory})"

    def _stored(self, path: Path, purpose: Purpose) -> Certificate:
        unsaved = _unsaved.get(path)
        material = read_material(path, "certificate") if unsaved is None else Material("certificate", unsaved)
        return self._validated(material, purpose, check_mode=unsaved is None)

    def _validated(self, material: Material, purpose: Purpose, *, check_mode: bool) -> Certificate:
        from asgi_tls.certificate.validation import validate

        certificate = validate(str(self), material, None, None, purpose, check_mode=check_mode, check_validity=False)
        now = datetime.now(UTC)
        if certificate.not_before <= now <= certificate.not_after:
            return certificate
        moment = certificate.not_after if now > certificate.not_after else certificate.not_before
        text = f"the certificate is not valid now ({moment:%Y-%m-%d %H:%M:%S UTC}), and served until a new one is there"
        return replace(certificate, warnings=(*certificate.warnings, Notice("acme-expired", text)))

    def _stand_in(self, purpose: Purpose) -> Certificate:
        if (certificate := closest(self._others(purpose), self.names, self.key)) is not None:
            return certificate
        key = self.names, self.key
        if key not in _placeholders:
            _placeholders[key] = self_signed_for(self.names, self.key, str(self))
        return _placeholders[key]

    def _others(self, purpose: Purpose) -> Iterator[Certificate]:
        """What is stored for other sets of names, if the first of them is one of ours."""
        for name in self.names:
            for path in sorted((self.storage.local / "certificates").glob(f"{_readable(name)}-*.pem")):
                with contextlib.suppress(CertificateError):
                    yield self._stored(path, purpose)


# Of this process. A source is copied into workers and compared by value, so it holds none of this.
_good: Final[dict[Path, Certificate]] = {}
_unsaved: Final[dict[Path, bytes]] = {}
_placeholders: Final[dict[tuple[tuple[str, ...], str], Certificate]] = {}


def _readable(name: str) -> str:
    return re.sub(r"[^a-z0-9.-]", "_", name.replace("*", "_wildcard"))[:100]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()[:12]


def _names(names: tuple[str, ...], *, is_public: bool) -> tuple[str, ...]:
    if not names:
        raise ConfigurationError("ACME has no names", fix='Name the hosts: ACME("example.com", "www.example.com").')
    found: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise ConfigurationError(f"{name!r} is not a name for ACME", fix='Write ACME("example.com").')
        canonical = checked_name(name)
        if is_public and (is_loopback(canonical) or (parse_ip(canonical) is None and "." not in canonical)):
            raise ConfigurationError(
                f"no CA on the internet issues a certificate for {canonical}",
                fix="Give a full host name, as in www.example.com. For localhost leave {acme} out: then a certificate "
                "of the local CA is made.",
                settings=("acme",),
            )
        found.append(canonical)
    if len(set(found)) > _MOST_NAMES:
        raise ConfigurationError(f"ACME has {len(set(found))} names", fix=f"Order at most {_MOST_NAMES} at a time.")
    return tuple(dict.fromkeys(found))


def _url(directory: str, setting: str = "acme_directory") -> str:
    if directory in DIRECTORIES:
        return DIRECTORIES[directory]
    if not _is_https_url(directory):
        raise ConfigurationError(
            f"{{{setting}}} is {directory!r}",
            fix=f"Choose {', '.join(DIRECTORIES)}, or give the https URL of a CA's ACME directory, as in "
            "https://ca.internal/acme/directory.",
            settings=(setting,),
        )
    return directory


def _is_https_url(text: object) -> bool:
    """With a host, and without a user name and a password, which logs would have."""
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # not a valid port
        return False


def _fallback(each: str | CA, contact: tuple[str, ...]) -> CA:
    if isinstance(each, CA):
        return each
    if each in _NEEDS_ACCOUNT:
        raise ConfigurationError(
            f"{{acme_fallback}} is {each}, which takes orders of its own customers only",
            fix="In Python, give a CA object with its external_account.",
            settings=("acme_fallback",),
        )
    return CA(name=each, url=_url(each, "acme_fallback"), contact=contact)


def _account(given: tuple[str, str] | ExternalAccount | None) -> ExternalAccount | None:
    if given is None:
        return None
    account = given if isinstance(given, ExternalAccount) else ExternalAccount(*given)
    if not account.kid or _BASE64URL.fullmatch(account.secret()) is None:
        raise ConfigurationError(
            "the external account's HMAC key is not in base64url",
            fix="Copy the key ID and the HMAC key again from the CA's page, without blanks.",
        )
    return account


def _storage(given: str | os.PathLike[str] | Storage | None) -> Storage:
    if given is None:
        return DirectoryStorage()
    if isinstance(given, str) and given.startswith(_REDIS):
        from asgi_tls.renewal.acme.redis import RedisStorage

        return RedisStorage(given)
    if isinstance(given, str) and "://" in given:
        raise ConfigurationError(
            f"{{acme_storage}} is a URL that begins with {given.partition('://')[0]!r}",
            fix="Give a directory, or the URL of a Redis: redis://, rediss:// for TLS, or unix://.",
            settings=("acme_storage",),
        )
    if isinstance(given, str | os.PathLike):
        return DirectoryStorage(Path(given))
    if isinstance(given, Storage):
        return given
    raise ConfigurationError(
        f"storage is {given!r}",
        fix="Give a directory, or an object with the methods of asgi_tls.renewal.acme.storage.Storage.",
    )
