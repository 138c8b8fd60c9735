"""A certificate authority for development: made on first use, kept in the user's data directory."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from asgi_tls.certificate.private_key import export_key
from asgi_tls.dev.authority import certificate_pem, is_ours, new_authority, new_leaf
from asgi_tls.dev.leaf import Leaf, client_leaf, server_leaf
from asgi_tls.errors import ConfigurationError
from asgi_tls.files import (
    check_directory,
    data_directory,
    is_full,
    locked,
    make_private,
    others_with_access,
    publish_directory,
    read_own,
    read_regular,
    replace_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger("asgi_tls")

CERTIFICATE = "fullchain.pem"
KEY = "privkey.pem"

# Apple's platforms refuse longer ones, from private CAs too.
_MAX_DAYS = 825

# A certificate, or a key: those that are made here take less than a kilobyte.
_MAX_SIZE = 64 << 10

# 'Near its end' is a share of the lifetime, not a number of days: lifetimes keep falling.
RENEW_BELOW = 1 / 3


@dataclass(frozen=True, kw_only=True)
class IssuedCertificate:
    """A pair of files. `created` is False if an existing pair was kept."""

    certfile: Path
    keyfile: Path
    certificate_names: tuple[str, ...]
    not_after: datetime
    created: bool


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class LocalCA:
    """The CA in `directory`, by default `data_directory()`.

    The directory holds `ca/` (ca.pem and ca-key.pem, which appear together or not at all and are never replaced),
    `certificates/` and `clients/` (one directory for each first name), and a lock file.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    @property
    def directory(self) -> Path:
        return data_directory() if self._directory is None else Path(self._directory)

    @property
    def certificate_path(self) -> Path:
        """The certificate that clients have to trust. It exists after `ensure` or `issue`."""
        return self.directory / "ca" / "ca.pem"

    @property
    def key_path(self) -> Path:
        return self.directory / "ca" / "ca-key.pem"

    def ensure(self) -> None:
        """Create the CA unless it exists. Raises ConfigurationError if it is damaged, expired or not to be trusted.

        Several processes may do this at the same time: one of them creates the CA, and all of them use it.
        """
        self._load(datetime.now(UTC))

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this CA signed a certificate; False if there is no CA here, or none that can be read."""
        try:
            certificate.verify_directly_issued_by(read_certificate(self.certificate_path))
        except (OSError, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    def issue(
        self,
        names: Sequence[str],
        *,
        directory: Path | None = None,
        days: float = 90,
        now: datetime | None = None,
        renew: bool = False,
    ) -> IssuedCertificate:
        """A certificate for host names, wildcards and IP addresses, in `directory` or under the CA's own.

        An existing pair is kept if it is for these names, from this CA, and has more than a third of its lifetime left,
        unless `renew` is set. Under the CA's own directory it may have more names, and a new one gets all of them: a
        server may be using it. In another directory the pair is for exactly these names.

        Otherwise both files are written and then renamed, the key first: between the two renames a reader sees the new
        key beside the old certificate. Files that no local CA created are never replaced. The certificate file contains
        the leaf only: the root issued it directly, and servers do not send the root (RFC 8446 section 4.4.2).

        Raises ConfigurationError.
        """
        return self._issue(server_leaf(names), directory, days, now, renew=renew)

    def issue_client(
        self, names: Sequence[str], *, directory: Path | None = None, days: float = 90, now: datetime | None = None
    ) -> IssuedCertificate:
        """A certificate for a client (mutual TLS), with the extendedKeyUsage clientAuth.

        The first name is the common name, which may be any text. Names that are an e-mail address, a host name with a
        dot, an IP address or a URI become subjectAltNames; all names after the first must be one of these. Files and
        renewal are as with `issue`, in `clients/` instead of `certificates/`.

        Raises ConfigurationError.
        """
        return self._issue(client_leaf(names), directory, days, now)

    def _issue(
        self, leaf: Leaf, directory: Path | None, days: float, now: datetime | None, *, renew: bool = False
    ) -> IssuedCertificate:
        if not 0 < days <= _MAX_DAYS:
            raise ConfigurationError(
                f"a certificate cannot be valid for {days} days", fix=f"Choose 1 to {_MAX_DAYS} days."
            )
        now = now or datetime.now(UTC)
        authority = self._load(now)
        target = self.directory / leaf.directory if directory is None else Path(directory)
        own = directory is None
        with _advice(target, own=own):
            make_private(target)
            if own:
                check_directory(target)
        with _advice(self.directory), locked(self.directory / "lock"):
            return _issue_into(target, leaf, authority, timedelta(days=days), now, own=own, renew=renew)

    def _load(self, now: datetime) -> _Authority:
        with _advice(self.directory):
            make_private(self.directory)
            check_directory(self.directory)
            home = self.certificate_path.parent
            if not home.is_dir():
                certificate, key = new_authority(now)
                files = {"ca.pem": (certificate_pem(certificate), 0o644), "ca-key.pem": (export_key(key), 0o400)}
                publish_directory(home, files)
            check_directory(home)
            return self._read(now)

    def _read(self, now: datetime) -> _Authority:
        problem = "is damaged"
        try:
            certificate = read_certificate(self.certificate_path)
            key = load_pem_private_key(read_own(self.key_path, _MAX_SIZE), None)
            whole = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key()
        except FileNotFoundError as error:
            problem, whole = f"has no {Path(error.filename).name}", False
        except (ValueError, TypeError, UnsupportedAlgorithm):
            whole = False
        if whole and now > certificate.not_valid_after_utc:
            problem, whole = f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", False
        if not whole or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(
                f"the local CA in {self.certificate_path.parent} {problem}",
                fix="Delete that directory, run the command again, and trust the new CA.",
            )
        if who := others_with_access(stat.S_IMODE(self.key_path.stat().st_mode)):
            logger.warning(
                "%s: the CA key is open to %s, who can impersonate any site to clients that trust this CA; chmod 0400",
                self.key_path, who,
            )  # fmt: skip
        return _Authority(certificate, key)


def read_certificate(path: Path) -> x509.Certificate:
    """That in a file of our own (PEM). Raises OSError, or ValueError for what `cryptography` does not parse."""
    return _parsed(read_own(path, _MAX_SIZE))


def _parsed(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except x509.InvalidVersion as error:  # no ValueError
        raise ValueError(str(error)) from error


def _issue_into(
    target: Path, leaf: Leaf, authority: _Authority, lifetime: timedelta, now: datetime, *, own: bool, renew: bool
) -> IssuedCertificate:
    certfile, keyfile = target / CERTIFICATE, target / KEY
    present = _read_pair(certfile, keyfile)
    if own and present is not None and is_ours(present[0]):
        leaf = leaf.and_those_of(present[0])  # a server may be serving it under all of its names
    if present is not None and not renew and _still_good(*present, authority, leaf, now):
        return _issued(target, leaf.names, present[0], created=False)
    if not own and (certfile.exists() or keyfile.exists()) and (present is None or not is_ours(present[0])):
        raise ConfigurationError(
            f"{target} contains a {CERTIFICATE} or {KEY} that asgi-tls did not create",
            fix="Choose another directory, or move these files.",
        )
    certificate, key = new_leaf(leaf, authority.certificate, authority.key, now, lifetime)
    with _advice(target, own=own):
        files = {KEY: (export_key(key), 0o600), CERTIFICATE: (certificate_pem(certificate), 0o644)}
        replace_files(target, files)
    return _issued(target, leaf.names, certificate, created=True)


def _read_pair(certfile: Path, keyfile: Path) -> tuple[x509.Certificate, bool] | None:
    """The certificate, and whether the key belongs to it. None when either cannot be read."""
    try:
        certificate = _parsed(read_regular(certfile, _MAX_SIZE)[0])
        key = load_pem_private_key(read_regular(keyfile, _MAX_SIZE)[0], None)
        return certificate, key.public_key() == certificate.public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _still_good(
    certificate: x509.Certificate, key_fits: bool, authority: _Authority, leaf: Leaf, now: datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        same = leaf.describes(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return key_fits and same and begin <= now and (end - now) / (end - begin) > RENEW_BELOW


def _issued(target: Path, names: tuple[str, ...], certificate: x509.Certificate, *, created: bool) -> IssuedCertificate:
    return IssuedCertificate(
        certfile=target / CERTIFICATE,
        keyfile=target / KEY,
        certificate_names=names,
        not_after=certificate.not_valid_after_utc,
        created=created,
    )


@contextlib.contextmanager
def _advice(directory: Path, *, own: bool = True) -> Iterator[None]:
    """Turns an OSError into a ConfigurationError. `directory` is the CA's `own`, or one that the caller chose."""
    try:
        yield
    except OSError as error:
        place = "ASGI_TLS_HOME" if own else "--directory"
        fix = f"Set {place} to a directory that only this user can write to."
        if is_full(error):
            fix = f"Free space on the disk of {directory}, or set {place} to a directory on another one."
        raise ConfigurationError(
            f"{error.filename or directory}: {error.strerror or os.fspath(directory)}", fix=fix
        ) from error
