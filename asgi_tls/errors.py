"""Every error that asgi_tls raises on purpose.

Each has a `code` for programs and a `fix` for people; the message ends with it. `asgi-tls explain CODE` gives details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import ClassVar


class ASGITLSError(Exception):
    """The base class: `except ASGITLSError` catches every error that this package raises on purpose.

    `code` is a stable, kebab-case name of the failure. `fix` is what to do about it. `settings` are the settings in the
    text, by their names in ServerTLS; `problem` and `fix` contain them as `{name}`.
    """

    code: ClassVar[str] = "error"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        if code is not None:
            cls.code = code

    def __init__(self, problem: str, *, fix: str, settings: Sequence[str] = ()) -> None:
        self.settings = tuple(settings)
        self._texts = problem, fix
        self.spell(str)

    def spell(self, spelling: Callable[[str], str]) -> None:
        """Write each setting in the text as the reader typed it: `spelling` gives the option or variable for a name."""
        problem, fix = self._texts
        for name in self.settings:
            problem, fix = (text.replace(f"{{{name}}}", spelling(name)) for text in (problem, fix))
        self.args = self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}. {self.fix}"

    @property
    def more(self) -> str:
        """A sentence that names the command with details, for people."""
        return f"More: asgi-tls explain {self.code}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default reduction, and worker processes send errors around.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(kind: type[ASGITLSError], state: dict[str, object]) -> ASGITLSError:
    error = kind.__new__(kind)
    error.args = (state["problem"], state["fix"])
    error.__dict__.update(state)
    return error


class ProfileError(ASGITLSError, ValueError, code="profile"):
    """The profile contradicts itself or RFC 9325."""


class UnknownNameError(ProfileError, code="profile-unknown-name"):
    """A cipher suite or group has neither an OpenSSL nor an IANA name."""


class WrongListError(ProfileError, code="profile-wrong-list"):
    """A TLS 1.2 suite is in the list for TLS 1.3, or the reverse."""


class WeakCipherError(ProfileError, code="profile-weak-cipher"):
    """A suite has no authenticated encryption or no forward secrecy."""


class VersionError(ProfileError, code="profile-version"):
    """A version is below TLS 1.2, or the minimum is above the maximum."""


class CertificateError(ASGITLSError, code="certificate"):
    """A certificate or key must not be served. `path` is its file, None without one."""

    def __init__(self, problem: str, *, fix: str, path: Path | None = None, settings: Sequence[str] = ()) -> None:
        super().__init__(problem if path is None else f"{path}: {problem}", fix=fix, settings=settings)
        self.path = path


class MissingFileError(CertificateError, code="certificate-missing-file"):
    """The file does not exist."""


class UnreadableFileError(CertificateError, code="certificate-unreadable-file"):
    """The file cannot be read: no permission, a directory, a pipe, or an I/O error."""


class TooManyOpenFilesError(UnreadableFileError, code="too-many-open-files"):
    """The process or the system has no descriptor left to open the file (EMFILE, ENFILE)."""


class EmptyFileError(CertificateError, code="certificate-empty-file"):
    """The file is empty."""


class TruncatedFileError(CertificateError, code="certificate-truncated-file"):
    """A PEM block begins and does not end."""


class NotPEMError(CertificateError, code="certificate-not-pem"):
    """The file has no PEM block of the expected type, or a key that cannot be parsed."""


class MalformedCertificateError(CertificateError, code="certificate-malformed"):
    """A certificate or CRL is not valid X.509, and OpenSSL cannot parse it either."""


class PasswordError(CertificateError, code="certificate-password"):
    """The key is encrypted, and the password is missing or wrong."""


class KeyMismatchError(CertificateError, code="certificate-key-mismatch"):
    """The private key does not belong to the certificate."""


class ChainOrderError(CertificateError, code="certificate-chain-order"):
    """The certificates are in the wrong order (RFC 5246 section 7.4.2: the leaf comes first)."""


class MissingIntermediateError(CertificateError, code="certificate-missing-intermediate"):
    """A certificate between the leaf and its root is missing."""


class LeafOnlyError(MissingIntermediateError, code="certificate-leaf-only"):
    """The file contains only the leaf, and the file beside it the whole chain (cert.pem, fullchain.pem)."""


class ExpiredError(CertificateError, code="certificate-expired"):
    """A certificate of the chain has expired (notAfter)."""


class NotYetValidError(CertificateError, code="certificate-not-yet-valid"):
    """A certificate of the chain is not yet valid (notBefore)."""


class NoSubjectAltNameError(CertificateError, code="certificate-no-san"):
    """The certificate has no subjectAltName: clients ignore the common name since RFC 6125."""


class CAAsLeafError(CertificateError, code="certificate-ca-as-leaf"):
    """The leaf has basicConstraints CA:TRUE: a CA certificate cannot be a server certificate."""


class WeakKeyError(CertificateError, code="certificate-weak-key"):
    """A key is RSA with less than 2048 bits, or of a type that TLS 1.3 clients do not accept."""


class WeakSignatureError(CertificateError, code="certificate-weak-signature"):
    """A certificate is signed with SHA-1 or MD5, which RFC 9155 forbids."""


class CRLError(CertificateError, code="crl-unavailable"):
    """A CA of client certificates has no valid revocation list, although revocation is checked."""


class StaplingError(CertificateError, code="certificate-stapling"):
    """The certificate has no good OCSP response, although `stapling="required"`."""


class ConfigurationError(ASGITLSError, code="configuration"):
    """Settings contradict each other, or would have no effect. Nothing was started."""


class TrustStoreError(ASGITLSError, code="trust-store"):
    """A trust store could not be read or changed. `problem` contains the program's output."""


class UnsupportedError(ASGITLSError, code="unsupported"):
    """This Python, OpenSSL or server does not support what the settings require."""


class UnreachableError(ASGITLSError, code="unreachable"):
    """The audited server does not answer, or does not speak TLS."""


def check_type(name: str, value: object, expected: type | UnionType, fix: str, *, settings: Sequence[str] = ()) -> None:
    """Raise ConfigurationError for a setting of another type: it comes from a caller without types, or a variable."""
    if not isinstance(value, expected):
        raise ConfigurationError(f"{name} is {value!r}", fix=fix, settings=settings)


def some(names: Sequence[str], most: int) -> str:
    """A list for a sentence, at most so long: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
