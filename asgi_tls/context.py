"""ServerContext: a profile and certificates become the one `ssl.SSLContext` that a server holds for its whole life.

Key material is never loaded into that context: `load_cert_chain` on a live context is not atomic, and breaks it when
the pair is bad. Each set of certificates gets a context of its own, and the ClientHello is handed over to it by name.
`use` builds all of them first, and swaps them in one assignment.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from asgi_tls import _openssl
from asgi_tls._keyfile import load_cert_chain
from asgi_tls.blocking import TLSSocket
from asgi_tls.certificate import Certificate
from asgi_tls.errors import ConfigurationError, UnsupportedError
from asgi_tls.handshake import HandshakeContext, TLSObject
from asgi_tls.profile import TLSProfile, Version

ClientAuth = Literal["required", "optional"]

DEFAULT: Final = "default"
"""The name in a mapping of certificates that answers for every name that is not in it."""

_VERSION: Final[dict[Version, ssl.TLSVersion]] = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_VERIFY: Final[dict[ClientAuth | None, ssl.VerifyMode]] = {
    None: ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

# RFC 9325 section 4: at least 112 bits of security, for certificates and signatures of clients too.
_SECURITY_LEVEL: Final = "@SECLEVEL=2"


class ServerContext:
    """The live context (`ssl_context`) and the certificates behind it.

    `alpn` are the server's application protocols, the most wanted first. With `client_auth`, clients are asked for a
    certificate of one of the CAs given to `use`. `notes` are sentences on what this platform leaves out of the profile:
    groups that its OpenSSL lacks, and with `allow_unsupported` whatever else it cannot enforce, which raises otherwise.

    Raises UnsupportedError, and ConfigurationError from `use`.
    """

    def __init__(
        self,
        profile: TLSProfile,
        *,
        alpn: Sequence[str] = (),
        client_auth: ClientAuth | None = None,
        allow_unsupported: bool = False,
    ) -> None:
        self.profile = profile
        self._alpn = tuple(alpn)
        self._client_auth: ClientAuth | None = client_auth
        self._names: dict[str, ssl.SSLContext] = {}
        self._certificates: tuple[Certificate, ...] = ()
        context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
        groups, notes = apply_profile(context, profile, allow_unsupported=allow_unsupported)
        if len(groups) > 1:
            prefer = functools.partial(_openssl.prefer_own_groups, client_auth=client_auth is not None)
            notes += _enforce(prefer, context, groups, allow_unsupported=allow_unsupported)
        self.notes = notes
        context.verify_mode = _VERIFY[client_auth]
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))
        context.sslobject_class = TLSObject
        context.sslsocket_class = TLSSocket
        context.sni_callback = self._on_server_name
        self.ssl_context = context

    def use(self, certificates: Mapping[str, Sequence[Certificate]], *, client_ca: str | None = None) -> None:
        """Serve these certificates from the next ClientHello on, or raise and change nothing.

        `certificates` maps host names, "*.example.org" and "default" to the certificates for that name, one of each
        kind of key. `client_ca` is PEM text. Connections that exist are not touched.

        Raises ConfigurationError, CertificateError.
        """
        if not certificates:
            raise ConfigurationError("there is no certificate to serve", fix="Name at least one certificate source.")
        if self._client_auth is not None and client_ca is None:
            raise ConfigurationError(
                "client certificates are asked for, and there is no CA to verify them", fix="Give client_ca."
            )
        built: dict[tuple[int, ...], ssl.SSLContext] = {}
        names: dict[str, ssl.SSLContext] = {}
        for name, group in certificates.items():
            check_group(name, group)
            identity = tuple(id(certificate) for certificate in group)
            if identity not in built:
                built[identity] = self._build(group, client_ca)
            names[name] = built[identity]
        self._names = names  # the swap: one assignment, seen by the next ClientHello
        self._certificates = tuple(dict.fromkeys(one for group in certificates.values() for one in group))

    def covers(self, host: str) -> bool:
        """Whether clients accept one of the certificates for this host, a name or an address."""
        return any(certificate.covers(host) for certificate in self._certificates)

    def _build(self, certificates: Sequence[Certificate], client_ca: str | None) -> ssl.SSLContext:
        context = _CertifiedContext(ssl.PROTOCOL_TLS_SERVER)
        # Versions, groups, TLS 1.3 suites and the verify mode stay those of the outer context; the rest is taken here.
        set_ciphers(context, self.profile)
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))
        for certificate in certificates:
            load_cert_chain(context, certificate)
        if len(certificates) == 1:
            context.leaf = certificates[0].leaf_der
        if client_ca is not None:
            context.load_verify_locations(cadata=client_ca)
        return context

    def _on_server_name(
        self, connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        context = self._find(server_name)
        connection.server_name = server_name  # type: ignore[union-attr]
        if context is None:
            connection.name_refused = True  # type: ignore[union-attr]
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME  # RFC 6066 section 3, RFC 9325 section 3.7
        connection.context = context
        return None

    def _find(self, server_name: str | None) -> ssl.SSLContext | None:
        names = self._names
        if server_name is not None:
            name = server_name.lower()
            found = names.get(name) or names.get("*." + name.partition(".")[2])
            if found is not None:
                return found
        return names.get(DEFAULT)


class _CertifiedContext(ssl.SSLContext):
    """A context that remembers its leaf in DER, where it has one certificate only."""

    leaf: bytes | None = None


def apply_profile(
    context: ssl.SSLContext, profile: TLSProfile, *, allow_unsupported: bool = False
) -> tuple[tuple[str, ...], list[str]]:
    """Give a context the versions, suites and groups of a profile, and check that it took them.

    Returns the groups without those that this OpenSSL lacks, and sentences on what was left out.

    Raises UnsupportedError.
    """
    context.minimum_version = _VERSION[profile.minimum_version]
    context.maximum_version = _VERSION[profile.maximum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # the client knows whether it has AES in hardware
    set_ciphers(context, profile)
    groups, notes = usable_groups(profile)
    if profile.ciphersuites:
        notes += _enforce(_openssl.set_ciphersuites, context, profile.ciphersuites, allow_unsupported=allow_unsupported)
    notes += _enforce(_openssl.set_groups, context, groups, allow_unsupported=allow_unsupported)
    return groups, notes


def set_ciphers(context: ssl.SSLContext, profile: TLSProfile) -> None:
    """The TLS 1.2 suites. A profile of TLS 1.3 alone has none, and OpenSSL wants a list all the same: it gets one
    that the minimum version keeps from use."""
    names = profile.ciphers or ("ECDHE+AESGCM",)
    context.set_ciphers(":".join((*names, _SECURITY_LEVEL)))


def usable_groups(profile: TLSProfile) -> tuple[tuple[str, ...], list[str]]:
    """The profile's groups that this OpenSSL has, in order, and a sentence on those that it lacks.

    Raises UnsupportedError when none is left.
    """
    supported = _openssl.supported_groups()
    if supported is None:
        return profile.groups, []
    usable = tuple(name for name in profile.groups if name in supported)
    missing = [name for name in profile.groups if name not in supported]
    if not usable:
        raise UnsupportedError(
            f"{ssl.OPENSSL_VERSION} has none of the groups {', '.join(profile.groups)}",
            fix=f"Choose from {', '.join(supported)}.",
        )
    if not missing:
        return usable, []
    lacking = f"{ssl.OPENSSL_VERSION} lacks the groups {', '.join(missing)} of profile {profile.name}"
    return usable, [f"{lacking}, which are left out. OpenSSL 3.5 has all of them."]


def check_group(name: str, certificates: Sequence[Certificate]) -> None:
    """Raise ConfigurationError unless these can answer side by side for this name."""
    if not certificates:
        raise ConfigurationError(f"no certificate for {name!r}", fix="Give at least one source.")
    kinds: dict[str, Certificate] = {}
    for certificate in certificates:
        kind = certificate.key_type.split()[0]
        if kind in kinds:
            raise ConfigurationError(
                f"{certificate.source} and {kinds[kind].source} both have an {kind} key; a name takes one of each",
                fix="Leave one of them out, or map each to its own host name.",
            )
        kinds[kind] = certificate
        if name != DEFAULT and not certificate.covers(name):
            raise ConfigurationError(
                f"{certificate.source} is served for {name!r}, but its names are "
                f"{', '.join(certificate.subject_alt_names)}",
                fix="Map the source to one of its names, or order a certificate for this one.",
            )


def _enforce(
    setter: Callable[[ssl.SSLContext, Sequence[str]], None],
    context: ssl.SSLContext,
    values: Sequence[str],
    *,
    allow_unsupported: bool,
) -> list[str]:
    try:
        setter(context, values)
    except UnsupportedError as error:
        if not allow_unsupported:
            raise
        return [f"{error} It is left out, as allow_unsupported says."]
    return []
