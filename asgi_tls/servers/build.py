"""The ServerTLS that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from asgi_tls.certificate import Certificate, CertificateSource, PasswordFile, PEMFiles, Purpose
from asgi_tls.certificate.by_name import DEFAULT
from asgi_tls.certificate.sources import files_or_secret
from asgi_tls.errors import ConfigurationError
from asgi_tls.events import Notice
from asgi_tls.profile import INTERMEDIATE, TLSProfile
from asgi_tls.server import ServerTLS
from asgi_tls.servers.given import Given
from asgi_tls.servers.listening import listeners_for
from asgi_tls.tickets import secret_from

DEVELOPMENT_NAMES: Final = ("localhost", "127.0.0.1", "::1")

# The fields of ServerTLS that are made of several settings, or of settings with another name.
_MADE: Final = {"certificates", "profile", "ticket_secret", "listeners"}


def server_tls(given: Given, password: str | None = None) -> ServerTLS:
    """The ServerTLS for these settings; `password` is that of the default certificate's key.

    Where no certificate is set, a development certificate for localhost is created, with a warning.

    Raises ASGITLSError.
    """
    values = given.values
    with given.spelled():
        return ServerTLS(
            _certificates(values, password),
            profile=profile_for(values),
            ticket_secret=secret_from(values.get("ticket_secret_file"), values.get("ticket_secret")),
            listeners=listeners_for(values),
            **{
                each.name: values[each.name]
                for each in fields(ServerTLS)
                if each.name in values and each.name not in _MADE
            },
        )


def profile_for(values: Mapping[str, Any]) -> TLSProfile:
    """The profile that these settings choose or derive.

    Raises ProfileError.
    """
    profile: TLSProfile = values.get("profile", INTERMEDIATE)
    for name, derive in (
        ("groups", TLSProfile.with_groups),
        ("ciphersuites", TLSProfile.with_ciphersuites),
        ("ciphers", TLSProfile.with_ciphers),
    ):
        if values.get(name):
            profile = derive(profile, *values[name])
    return profile


def _certificates(values: Mapping[str, Any], password: str | None) -> dict[str, list[CertificateSource]]:
    named: dict[str, list[CertificateSource]] = {}
    for name, pair in values.get("certificate", ()):
        named.setdefault(name, []).append(pair)
    first = _first_certificate(values, password)
    if first is not None:
        named.setdefault(DEFAULT, []).insert(0, first)
    elif not named and "directory" not in values:
        named[DEFAULT] = [development_certificate()]
    return named


def _first_certificate(values: Mapping[str, Any], password: str | None) -> CertificateSource | None:
    certfile, keyfile = values.get("certfile"), values.get("keyfile")
    if any(name.startswith("acme") for name in values):
        from asgi_tls.servers.acme_settings import ordered

        by_acme = ordered(values)
        for name in ("certfile", "letsencrypt", "keyfile"):
            if values.get(name):
                raise ConfigurationError(
                    f"{{acme}} and {{{name}}} are both set", fix="Keep one of them.", settings=("acme", name)
                )
        return by_acme
    if "letsencrypt" in values:
        if certfile or keyfile:
            raise ConfigurationError(
                "{letsencrypt} and {certfile} are both set",
                fix="Keep one of them.",
                settings=("letsencrypt", "certfile"),
            )
        source: CertificateSource = values["letsencrypt"]
        return source
    if certfile:
        file = values.get("keyfile_password_file")
        return files_or_secret(certfile, keyfile, PasswordFile(file) if password is None and file else password)
    alone = [name for name in ("keyfile", "keyfile_password_file") if values.get(name)]
    for name in [*alone, *(["keyfile_password"] if password else [])]:
        raise ConfigurationError(
            f"{{{name}}} is set without {{certfile}}",
            fix="Set {certfile} to the file with the certificate and its chain.",
            settings=(name, "certfile"),
        )
    return None


@dataclass(frozen=True)
class DevelopmentFiles(PEMFiles):
    """A pair of the local CA, and the warning that it is one."""

    warning: Notice = field(kw_only=True)

    def load(self, purpose: Purpose = "server") -> Certificate:
        return replace(super().load(purpose), warnings=(self.warning,))

    def __str__(self) -> str:
        return f"development certificate {self.certfile}"


def development_certificate(names: Sequence[str] = DEVELOPMENT_NAMES) -> CertificateSource:
    """A certificate of the local CA, created or renewed where needed."""
    from asgi_tls.dev.ca import LocalCA

    ca = LocalCA()
    issued = ca.issue(names)
    text = f"served for {', '.join(names)}, as no certificate is set; clients must trust {ca.certificate_path}"
    return DevelopmentFiles(issued.certfile, issued.keyfile, warning=Notice("development-certificate", text))
