"""A client context that verifies, with the policy of a profile: for httpx, asyncio and all that take an SSLContext."""

from __future__ import annotations

import functools
import logging
import os
import ssl
from pathlib import Path

from asgi_tls.certificate import CertificateSource
from asgi_tls.certificate.keyfile import load_cert_chain
from asgi_tls.certificate.loaded import is_source
from asgi_tls.certificate.sources import check_path
from asgi_tls.certificate.trust import load_ca_bundle
from asgi_tls.context import proof
from asgi_tls.context.policy import AS_PROFILE, AS_SWITCH, apply_profile, enforceable, settle
from asgi_tls.errors import ConfigurationError, check_type
from asgi_tls.profile import INTERMEDIATE, TLSProfile

logger = logging.getLogger("asgi_tls")


def create_client_context(
    *,
    cafile: str | os.PathLike[str] | None = None,
    profile: TLSProfile = INTERMEDIATE,
    certificate: CertificateSource | None = None,
    allow_unsupported: bool = False,
) -> ssl.SSLContext:
    """A client context with the profile's versions, suites and groups, that always verifies chain and host name.

    `cafile` is a PEM file of the CAs to trust, and of no others; without it, those of the system. `certificate` is
    the client's own, for mutual TLS. Verification cannot be switched off on the result.

    Raises CertificateError, ConfigurationError, UnsupportedError.
    """
    check_type("profile", profile, TLSProfile, AS_PROFILE)
    check_type("allow_unsupported", allow_unsupported, bool, AS_SWITCH)
    if certificate is not None and not is_source(certificate):
        raise ConfigurationError(
            f"certificate is {certificate!r}", fix='Give a source such as PEMFiles("c.pem", "c-key.pem").'
        )
    if cafile is not None:
        check_path("cafile", cafile)
    context = _VerifyingContext(ssl.PROTOCOL_TLS_CLIENT)
    groups, notes = apply_profile(context, profile, allow_unsupported=allow_unsupported)
    if not enforceable(profile, server=False):
        notes += settle(proof.of_client(context, profile, groups), profile, allow_unsupported=allow_unsupported)
    for note in notes:
        _warn_once(note)
    # What ssl.create_default_context does from Python 3.13 on: RFC 5280 to the letter, and any CA may be an anchor.
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if cafile is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=load_ca_bundle(Path(cafile)))
    if certificate is not None:
        load_cert_chain(context, certificate.load("client"))
    return context


@functools.cache
def _warn_once(note: str) -> None:
    """Clients may make a context for each request."""
    logger.warning("%s", note)


class _VerifyingContext(ssl.SSLContext):
    """Refuses the two assignments with which tutorials switch verification off."""

    # mypy wants a property overridden by a property of the same type; both are.
    @property
    def verify_mode(self) -> ssl.VerifyMode:
        return super().verify_mode

    @verify_mode.setter
    def verify_mode(self, value: int) -> None:
        if value != ssl.CERT_REQUIRED:
            raise _cannot_switch_off("verify_mode")
        ssl.SSLContext.verify_mode.__set__(self, value)  # type: ignore[attr-defined]

    @property
    def check_hostname(self) -> bool:
        return super().check_hostname

    @check_hostname.setter
    def check_hostname(self, value: bool) -> None:
        if not value:
            raise _cannot_switch_off("check_hostname")
        ssl.SSLContext.check_hostname.__set__(self, value)  # type: ignore[attr-defined]


def _cannot_switch_off(attribute: str) -> ConfigurationError:
    return ConfigurationError(
        f"{attribute} would switch off verification: the client would accept any server",
        fix="Give the CA of a private server as cafile; `asgi-tls ca path` prints that of the development CA.",
    )
