"""ServerContext: a profile and certificates become the one `ssl.SSLContext` that a server holds for its whole life.

Key material is never loaded into that context: `load_cert_chain` on a live context is not atomic, and breaks it when
the pair is bad. Each set of certificates gets a context of its own, and the ClientHello is handed over to it by name.
`use` builds all of them first, and swaps them in one assignment.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from asgi_tls import _openssl
from asgi_tls.certificate import Certificate
from asgi_tls.certificate.by_name import DEFAULT
from asgi_tls.certificate.challenges import ChallengePair, challenges
from asgi_tls.certificate.keyfile import load_cert_chain, load_crls, load_pair
from asgi_tls.context import proof
from asgi_tls.context.certified import CertifiedContext, Trust, TrustedObject, TrustedSocket
from asgi_tls.context.policy import apply_profile, enforceable, set_ciphers, settle
from asgi_tls.context.resumption import Resumption
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.events import Notice
from asgi_tls.handshake.blocking import TLSSocket
from asgi_tls.handshake.challenge import PROTOCOL, is_validation, validated
from asgi_tls.handshake.ssl_object import HandshakeContext, TLSObject
from asgi_tls.hostnames import covers
from asgi_tls.profile import TLSProfile
from asgi_tls.tickets import Rotation, ends_of

logger = logging.getLogger("asgi_tls")

ClientAuth = Literal["required", "optional"]

# The contexts that are made before a client asks for their names.
_AHEAD: Final = 64

# RFC 8446 section 4.6.1 leaves the number open. A client gets a new one whenever it comes back, and each takes about a
# twentieth of the CPU of a handshake; OpenSSL would send two.
_TICKETS: Final = 1

_VERIFY: Final[dict[ClientAuth | None, ssl.VerifyMode]] = {
    None: ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class ServerContext:
    """The live context (`ssl_context`) and the certificates behind it.

    `alpn` are the server's application protocols, the most wanted first. With `client_auth`, clients are asked for a
    certificate of one of the CAs given to `use`. `notes` are sentences on what this platform leaves out of the profile:
    groups that its OpenSSL lacks, and with `allow_unsupported` whatever else it cannot enforce, which raises otherwise.
    With `check_crl`, clients are accepted only while each CA of their chain has a CRL in force. `rotation` says when
    the keys of session tickets change, `threaded` that several threads may make handshakes at once. `find_staple` takes
    the SHA-256 fingerprint of a certificate and gives the OCSP response to staple to it, DER, or None; it is called
    in handshakes.

    `certificates` are those that are served now, by host name. `reload` asks whoever watches their files to read them
    at once.

    Raises UnsupportedError, and ConfigurationError from `use`.
    """

    reload: Callable[[], None]

    def __init__(
        self,
        profile: TLSProfile,
        *,
        alpn: Sequence[str] = (),
        client_auth: ClientAuth | None = None,
        check_crl: bool = False,
        allow_unsupported: bool = False,
        find_staple: Callable[[str], bytes | None] | None = None,
        rotation: Rotation | None = None,
        threaded: bool = True,
    ) -> None:
        self.profile = profile
        self._find_staple = find_staple if _openssl.reachable() else None
        self.reload = _nobody_watches
        self._alpn = tuple(alpn)
        self._client_auth: ClientAuth | None = client_auth
        self._served = Prepared()
        self._validations: dict[ChallengePair, CertifiedContext] = {}
        context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
        self._groups, notes = apply_profile(context, profile, allow_unsupported=allow_unsupported)
        self._allow_unsupported = allow_unsupported
        self._proven = enforceable(profile, server=True)
        if not _openssl.reachable():
            notes.append(_lost(profile))
        else:
            _openssl.prefer_own_groups(context, self._groups, client_auth=client_auth is not None)
        context.num_tickets = _TICKETS
        context.verify_mode = _VERIFY[client_auth]
        self.resumption: Resumption | None = None
        if _openssl.reachable():
            self.resumption = Resumption(context, rotation or Rotation(), threaded=threaded)
            context.tls_before_each = self.resumption.refresh
            context.tls_on_no_ticket = self.resumption.cache_nothing
        elif client_auth is not None:
            _without_sessions(context)
        if check_crl:
            # OpenSSL copies the flags from the context that a connection begins with, and the lists from the one that
            # it is handed over to. With partial chains it would ask for the CRL of the anchor's issuer.
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        elif client_auth is not None:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # any CA may be an anchor, as for our clients
        self.notes = notes
        context.sslobject_class = TLSObject if client_auth is None else TrustedObject
        context.sslsocket_class = TLSSocket if client_auth is None else TrustedSocket
        context.sni_callback = self._on_server_name
        self.ssl_context = context

    def use(
        self,
        certificates: Mapping[str, Sequence[Certificate]],
        *,
        client_ca: str | None = None,
        client_crl: str | None = None,
        ticket_secret: bytes | None = None,
    ) -> None:
        """Serve these certificates from the next ClientHello on, or raise and change nothing.

        `certificates` maps host names, "*.example.org" and "default" to the certificates for that name, one for each
        key type. `client_ca` and `client_crl` are PEM text. The keys of session tickets are derived from
        `ticket_secret`; None keeps the previous one, at first a random one. Open connections are not affected.

        The first time, where the policy could not be set, the context is proven to have it; `notes` may grow.

        Raises ConfigurationError, CertificateError, UnsupportedError.
        """
        self.swap(self.prepare(certificates, client_ca=client_ca, client_crl=client_crl, ticket_secret=ticket_secret))
        if not self._proven:
            name = next(iter(certificates))
            asked = None if name == DEFAULT else name.replace("*", "any")
            found = proof.of_server(self.ssl_context, self.profile, self._groups, asked)
            self.notes += settle(found, self.profile, allow_unsupported=self._allow_unsupported)
            self._proven = True

    def prepare(
        self,
        certificates: Mapping[str, Sequence[Certificate]],
        *,
        client_ca: str | None = None,
        client_crl: str | None = None,
        ticket_secret: bytes | None = None,
    ) -> Prepared:
        """All of `use` that takes time and may fail. Any thread may call it; what is served does not change.

        Raises ConfigurationError, CertificateError.
        """
        if not certificates:
            raise ConfigurationError("there is no certificate to serve", fix="Set at least one.")
        if self._client_auth is not None and client_ca is None:
            raise ConfigurationError(
                "client_auth is set, but there is no CA to verify clients with", fix="Pass client_ca."
            )
        served = self._served
        trust = served.trust
        if (client_ca, client_crl) != (trust.client_ca, trust.client_crl):
            trust = Trust(client_ca, client_crl, forget=None if self.resumption is None else self.resumption.forget)
        known = {slot.identity: slot for slot in served.names.values()} if trust is served.trust else {}
        slots: dict[tuple[int, ...], _Slot] = {}
        names: dict[str, _Slot] = {}
        for name, group in certificates.items():
            identity = tuple(map(id, group))
            slot = slots.get(identity) or known.get(identity)
            if slot is None or served.certificates.get(name) != group:
                check_group(name, group)
            slots[identity] = names[name] = slot = slot or _Slot(identity, tuple(group))
            if slot.context is None and (len(slots) <= _AHEAD or _is_built(served.names.get(name))):
                slot.context = self._build(group, trust)
        return Prepared(
            certificates={name: slot.group for name, slot in names.items()},
            names=names,
            only=names.get(DEFAULT) if len(names) == 1 else None,
            has_addresses=any(name[-1].isdigit() or ":" in name for name in names),
            hosts=frozenset(host for slot in slots.values() for one in slot.group for host in one.hosts),
            trust=trust,
            ticket_secret=ticket_secret,
            ends=ends_of(self.profile, self._client_auth, trust.client_ca, trust.client_crl),
        )

    def swap(self, prepared: Prepared) -> None:
        """Serve what was prepared last from the next ClientHello on. Call it in the event loop's thread, if any.

        When the trust has changed, no earlier session is resumed, since a client that is no longer trusted would get
        in by it, and a client whose handshake is under way is refused. Where libssl is out of reach, clients with
        certificates get no tickets, and their sessions in OpenSSL's cache are refused.
        """
        before, self._served = self._served, prepared  # one assignment, so no handshake sees a half of it
        if before.trust is not prepared.trust:
            before.trust.over = True
            if self.resumption is None and before.trust.client_ca is not None:
                prepared.trust.since = time.time()
        if self.resumption is not None:
            self.resumption.use(prepared.ticket_secret, prepared.ends)

    @property
    def certificates(self) -> Mapping[str, tuple[Certificate, ...]]:
        """Those that are served now, by host name. Another mapping after each change."""
        return self._served.certificates

    def covers(self, host: str) -> bool:
        """Whether a certificate that is served now is valid for this canonical host (RFC 9525 section 6.3).

        Anybody may ask, by plain HTTP, so it takes the same time with any number of certificates.
        """
        return covers(self._served.hosts, host)

    def without_sessions(self) -> None:
        """Let no client resume. For servers without an event loop, which drop no ticket: see `TrustedObject`."""
        _without_sessions(self.ssl_context)

    def _build(self, certificates: Sequence[Certificate], trust: Trust) -> ssl.SSLContext:
        context = CertifiedContext(ssl.PROTOCOL_TLS_SERVER)
        # Versions, groups and the verify mode stay those of the outer context; the rest is taken here. So are the TLS
        # 1.3 suites, once a client was asked for another key share.
        set_ciphers(context, self.profile)
        if self.profile.ciphersuites and _openssl.capabilities().ciphersuites:
            _openssl.set_ciphersuites(context, self.profile.ciphersuites)
        if self._alpn:
            _openssl.set_protocols(context, self._alpn)
        for certificate in certificates:
            load_cert_chain(context, certificate)
        if len(certificates) == 1:
            context.tls_leaf = certificates[0].leaf_der
        if self._find_staple is not None:
            fingerprints = [certificate.fingerprint_sha256 for certificate in certificates]
            context.tls_stapling = _openssl.staple(context, fingerprints, self._find_staple)
        context.tls_trust = trust
        if trust.client_ca is not None:
            context.load_verify_locations(cadata=trust.client_ca)
            _openssl.name_client_authorities(context)
            # Whether to verify is for the outer context to say; getpeercert() asks the one that was handed over to.
            context.verify_mode = ssl.CERT_OPTIONAL
        if trust.client_crl is not None:
            load_crls(context, trust.client_crl)
        return context

    def _on_server_name(
        self, connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if (widen := connection.tls_widen) is not None:  # type: ignore[union-attr]
            connection.tls_widen = None  # type: ignore[union-attr]
            widen()
        if challenges.is_waiting:
            if connection.tls_is_validation:  # type: ignore[union-attr]
                return None  # as for its first ClientHello, before the HelloRetryRequest
            sent, connection.tls_hello = connection.tls_hello, None  # type: ignore[union-attr]
            if is_validation(bytes(sent or b"")):
                return self._on_validation(connection, server_name)
        served = self._served
        asked = server_name
        if asked is None and served.has_addresses:
            asked = connection.tls_local_ip()  # type: ignore[union-attr]
        slot = served.find(asked)
        connection.tls_server_name = server_name  # type: ignore[union-attr]
        if slot is None:
            connection.tls_name_refused = True  # type: ignore[union-attr]
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME  # RFC 6066 section 3, RFC 9325 section 3.7
        if slot.context is None:
            try:
                slot.context = self._build(slot.group, served.trust)
            except (ASGITLSError, OSError) as error:  # no descriptor is left: the next ClientHello tries it again
                logger.error("no TLS context for the name %r: %s", server_name, error)  # noqa: TRY400 -- no traceback
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = slot.context
        return None

    def _on_validation(self, connection: Any, server_name: str | None) -> int | None:
        """A CA asks by tls-alpn-01. Whether clients are verified stays as it is: a session that was made without a
        certificate would let somebody in. It ends with its handshake, by this mark and not by its protocol.
        """
        connection.tls_server_name = server_name
        pair = None if server_name is None else challenges.tls_alpn(validated(server_name))
        if pair is None:
            connection.tls_name_refused = True
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context = self._validations.get(pair)
        if context is None:
            if len(self._validations) >= _AHEAD:
                self._validations.clear()
            try:
                context = CertifiedContext(ssl.PROTOCOL_TLS_SERVER)
                load_pair(context, pair.cert_pem, pair.key_pem)
            except (ASGITLSError, OSError) as error:
                logger.error("no TLS context to validate the name %r: %s", server_name, error)  # noqa: TRY400
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            _openssl.set_protocols(context, [PROTOCOL])
            self._validations[pair] = context
        connection.tls_is_validation = True
        connection.context = context
        return None


@dataclass(eq=False)
class _Slot:
    """Certificates that answer side by side. Of thousands, most are rarely asked for, and a context takes 20 KiB and
    0.7 ms: it is made ahead for a few and where one is replaced that was in use, else for the first ClientHello.
    """

    identity: tuple[int, ...]  # of the certificates, while they live
    group: tuple[Certificate, ...]
    context: ssl.SSLContext | None = None


def _is_built(slot: _Slot | None) -> bool:
    return slot is not None and slot.context is not None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` made for `swap`: all that a handshake reads, in one object."""

    certificates: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    names: Mapping[str, _Slot] = field(default_factory=dict)
    only: _Slot | None = None  # for all names
    has_addresses: bool = False
    hosts: frozenset[str] = frozenset()
    trust: Trust = field(default_factory=Trust)
    ticket_secret: bytes | None = field(default=None, repr=False)
    ends: bytes = b""

    def find(self, server_name: str | None) -> _Slot | None:
        """What answers for the name that a client asks for, None where nothing does."""
        if self.only is not None:
            return self.only
        names = self.names
        if server_name is not None:
            name = server_name.lower().removesuffix(".")  # RFC 6066 section 3: without the dot, but some send it
            found = names.get(name) or names.get("*." + name.partition(".")[2])
            if found is not None:
                return found
        return names.get(DEFAULT)


def _lost(profile: TLSProfile) -> Notice:
    """What is missing without libssl, in one sentence."""
    lost = ["no OCSP stapling", "no resumption at another worker (with client certificates none at all)"]
    if profile.speaks("TLSv1.2"):
        lost.append("in TLS 1.2 the client's order of groups")
    why = _openssl.capabilities().reason
    text = f"Without libssl there is {', '.join(lost)}: {why}. `asgi-tls doctor` names Pythons that have it."
    return Notice("libssl", text)


def _nobody_watches() -> None:
    """Nothing reads the files again: the context was made outside an event loop."""


def _without_sessions(context: ssl.SSLContext) -> None:
    """Give no client a session to resume, where sessions cannot be ended when a CA is removed."""
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def check_group(name: str, certificates: Sequence[Certificate]) -> None:
    """Raise ConfigurationError unless these can answer side by side for this name."""
    if not certificates:
        raise ConfigurationError(f"there is no certificate for {name!r}", fix="Set at least one.")
    kinds: dict[str, Certificate] = {}
    for certificate in certificates:
        kind = certificate.kind
        if kind in kinds:
            raise ConfigurationError(
                f"{certificate.source} and {kinds[kind].source} both have an {kind} key; a name takes one of each type",
                fix="Remove one of them, or set each for its own host name.",
            )
        kinds[kind] = certificate
        if name != DEFAULT and not certificate.covers(name) and not certificate.stands_in:
            raise ConfigurationError(
                f"{certificate.source} is set for {name!r}, but its names are "
                f"{', '.join(certificate.subject_alt_names)}",
                fix="Set it for one of its names, or get a certificate for this one.",
            )
