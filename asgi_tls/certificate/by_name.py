"""The argument of `ServerTLS(certificates)` in one shape, whatever was given: certificate sources by host name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from asgi_tls.certificate import CertificateSource
from asgi_tls.certificate.loaded import is_source
from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import checked_name, parse_ip

DEFAULT: Final = "default"
"""The name in a mapping of certificates that answers for every name that is not in it."""

Sources = CertificateSource | Sequence[CertificateSource]
"""One source, or several for the same names: an ECDSA and an RSA certificate."""


def sources_by_name(certificates: object, directory: object) -> dict[str, tuple[CertificateSource, ...]]:
    """The sources by name, with a `directory` of more pairs or None. Reads nothing. Raises ConfigurationError."""
    if not isinstance(certificates, Mapping):
        return {DEFAULT: _as_sources(certificates, DEFAULT)}
    if not certificates and directory is None:
        raise ConfigurationError("certificates is an empty mapping", fix='Map a host name, or "default", to a source.')
    named: dict[str, tuple[CertificateSource, ...]] = {}
    for spelling, sources in certificates.items():
        name = spelling if spelling == DEFAULT else _host_name(spelling)
        if name in named:
            raise ConfigurationError(f"certificates maps {name!r} twice", fix="Keep one of the entries.")
        named[name] = _as_sources(sources, name)
    return named


def _as_sources(value: object, name: str) -> tuple[CertificateSource, ...]:
    if is_source(value):
        return (value,)
    if isinstance(value, Sequence) and not isinstance(value, str) and value and all(map(is_source, value)):
        return tuple(value)
    raise ConfigurationError(
        f"the certificates for {name!r} are {value!r}",
        fix='Give a source such as PEMFiles("fullchain.pem", "privkey.pem"), or a list of them.',
    )


def _host_name(spelling: object) -> str:
    """A name as clients send it: A-labels in lower case, with an optional "*." in front."""
    fix = 'Give "example.com", "*.example.org" or "default".'
    if not isinstance(spelling, str):
        raise ConfigurationError(f"{spelling!r} in certificates is not a valid host name", fix=fix)
    name = checked_name(spelling)
    if parse_ip(name) is not None:
        raise ConfigurationError(
            f"{spelling!r} is an IP address, which clients do not send in SNI (RFC 6066 section 3)",
            fix=fix,
        )
    return name
