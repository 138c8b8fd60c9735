"""Everything that asgi_tls raises on purpose.

ASGITLSError
|-- ProfileError (also a ValueError)         a policy that contradicts itself or the standard
|   |-- UnknownNameError                     a suite or a group that nobody knows
|   |-- WrongListError                       a TLS 1.2 suite among the TLS 1.3 ones, or the reverse
|   |-- WeakCipherError                      CBC, or a key exchange without forward secrecy
|   `-- VersionError                         below TLS 1.2, or minimum above maximum
|-- CertificateError                         key material that must not be served
|   |-- MissingFileError                     no such file
|   |-- UnreadableFileError                  no permission, a directory, an I/O error
|   |-- EmptyFileError
|   |-- TruncatedFileError                   a PEM block that begins and does not end
|   |-- NotPEMError                          no PEM block of the kind that is wanted
|   |-- MalformedCertificateError            a certificate that OpenSSL cannot parse either
|   |-- PasswordError                        the key is encrypted: password missing or wrong
|   |-- KeyMismatchError                     the key belongs to another certificate
|   |-- ChainOrderError                      the leaf is not first, or the issuers are shuffled
|   |-- MissingIntermediateError             the chain does not connect
|   |   `-- LeafOnlyError                    cert.pem where fullchain.pem was meant
|   |-- ExpiredError
|   |-- NotYetValidError
|   |-- NoSubjectAltNameError
|   |-- CAAsLeafError                        a CA certificate offered as the server's own
|   |-- WeakKeyError                         RSA under 2048 bits, or a curve that TLS 1.3 does not know
|   |-- WeakSignatureError                   signed with SHA-1 or MD5
|   |-- CRLError                             a client CA without a revocation list in force
|   `-- StaplingError                        no good OCSP response, where one is required
|-- ConfigurationError                       settings that do not fit together
|-- UnreachableError                         a server that was to be audited does not answer
|-- TrustStoreError                          a trust store that could not be read or changed
`-- UnsupportedError                         this Python, OpenSSL or server cannot keep the promise

Each failure carries a `code` for programs and a `fix` for people; the message ends with the fix.
`asgi-tls explain CODE` tells more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


class ASGITLSError(Exception):
    """The root: `except ASGITLSError` catches whatever this package raises on purpose.

    `code` is a stable, kebab-case name of the failure. `fix` says what to do about it. `settings` are the settings that
    the text names, as ServerTLS calls them. They are given as `{name}` in `problem` and `fix`.
    """

    code = "error"

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
        """Where to read on: a sentence for whoever shows the error to a person."""
        return f"More: asgi-tls explain {self.code}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default reduction, and worker processes send errors around.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(kind: type[ASGITLSError], state: dict[str, object]) -> ASGITLSError:
    error = kind.__new__(kind)
    error.args = (state["problem"], state["fix"])
    error.__dict__.update(state)
    return error


class ProfileError(ASGITLSError, ValueError):
    """A profile that contradicts itself or RFC 9325."""

    code = "profile"


class UnknownNameError(ProfileError):
    """A cipher suite or group name that is neither OpenSSL's nor IANA's."""

    code = "profile-unknown-name"


class WrongListError(ProfileError):
    """A TLS 1.2 suite among the TLS 1.3 ones, or the reverse."""

    code = "profile-wrong-list"


class WeakCipherError(ProfileError):
    """A suite without authenticated encryption or without forward secrecy."""

    code = "profile-weak-cipher"


class VersionError(ProfileError):
    """A version below TLS 1.2, or a minimum above the maximum."""

    code = "profile-version"


class CertificateError(ASGITLSError):
    """Key material that must not be served. `path` names the file, where there is one."""

    code = "certificate"

    def __init__(self, problem: str, *, fix: str, path: Path | None = None, settings: Sequence[str] = ()) -> None:
        super().__init__(problem if path is None else f"{path}: {problem}", fix=fix, settings=settings)
        self.path = path


class MissingFileError(CertificateError):
    """No such file."""

    code = "certificate-missing-file"


class UnreadableFileError(CertificateError):
    """No permission to read it, or it is no regular file."""

    code = "certificate-unreadable-file"


class EmptyFileError(CertificateError):
    """The file holds nothing."""

    code = "certificate-empty-file"


class TruncatedFileError(CertificateError):
    """A PEM block that begins and does not end."""

    code = "certificate-truncated-file"


class NotPEMError(CertificateError):
    """No PEM block of the kind that was looked for, or a key that does not parse."""

    code = "certificate-not-pem"


class MalformedCertificateError(CertificateError):
    """A certificate or a CRL that is not encoded as X.509 demands, and that OpenSSL refuses for it."""

    code = "certificate-malformed"


class PasswordError(CertificateError):
    """The key is encrypted, and the password is missing or wrong."""

    code = "certificate-password"


class KeyMismatchError(CertificateError):
    """The private key belongs to another certificate."""

    code = "certificate-key-mismatch"


class ChainOrderError(CertificateError):
    """The certificates are all there, in the wrong order (RFC 5246 section 7.4.2: the leaf comes first)."""

    code = "certificate-chain-order"


class MissingIntermediateError(CertificateError):
    """The chain does not lead from the leaf to its issuer."""

    code = "certificate-missing-intermediate"


class LeafOnlyError(MissingIntermediateError):
    """The file holds the leaf alone, where the file beside it holds the whole chain."""

    code = "certificate-leaf-only"


class ExpiredError(CertificateError):
    """A certificate of the chain is past its notAfter."""

    code = "certificate-expired"


class NotYetValidError(CertificateError):
    """A certificate of the chain is before its notBefore."""

    code = "certificate-not-yet-valid"


class NoSubjectAltNameError(CertificateError):
    """No subjectAltName: clients have ignored the common name since RFC 6125."""

    code = "certificate-no-san"


class CAAsLeafError(CertificateError):
    """A certificate with basicConstraints CA:TRUE is no server certificate."""

    code = "certificate-ca-as-leaf"


class WeakKeyError(CertificateError):
    """RSA under 2048 bits, or a kind of key that TLS 1.3 clients do not accept."""

    code = "certificate-weak-key"


class WeakSignatureError(CertificateError):
    """Signed with SHA-1 or MD5, which RFC 9155 forbids."""

    code = "certificate-weak-signature"


class CRLError(CertificateError):
    """A CA of client certificates without a revocation list in force, where revocation is checked."""

    code = "crl-unavailable"


class StaplingError(CertificateError):
    """No good OCSP response for it, where `stapling="required"` asks for one."""

    code = "certificate-stapling"


class ConfigurationError(ASGITLSError):
    """Settings that do not fit together. Nothing was started."""

    code = "configuration"


class TrustStoreError(ASGITLSError):
    """A trust store that could not be read or changed. What the program said is in `problem`."""

    code = "trust-store"


class UnsupportedError(ASGITLSError):
    """This Python, OpenSSL or server cannot keep a promise that the settings make."""

    code = "unsupported"


class UnreachableError(ASGITLSError):
    """A server that was to be audited does not answer, or does not speak TLS."""

    code = "unreachable"
