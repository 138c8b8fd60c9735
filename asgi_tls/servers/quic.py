"""HTTP/3 in hypercorn: it serves the same renewed certificate as TCP, and reports each connection to the application.

hypercorn loads a certificate into aioquic's configuration once, when a worker's QuicProtocol is made, and aioquic
copies it from there for each connection. So a subclass of QuicProtocol checks before each datagram whether
the live context has a new certificate. `hypercorn.asyncio.udp_server` imports QuicProtocol from its module
when a worker starts to listen, which is after the context was made: the subclass is put in its place in that module.
A configuration that is not ours is served unchanged.

The tasks of a connection's requests are started while `_handle_events` runs, and inherit the variable that is set
around it. Nothing but the application that this class calls reads it.

It would break if hypercorn imported the class earlier or kept the configuration under another name than `quic_config`:
tests/servers/test_quic.py would be served the old certificate. Or if it renamed `_handle_events`: in the same test
the application would learn nothing about its connection.
"""

from __future__ import annotations

import functools
import logging
import time
import weakref
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.material import read_material
from asgi_tls.certificate.pem import read_blocks
from asgi_tls.connection import TLSConnection, connected
from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import CertificateError
from asgi_tls.handshake.facts import fields_of
from asgi_tls.handshake.peer import address_of
from asgi_tls.handshake.reception import Reception

logger = logging.getLogger("asgi_tls")

# The handshake of the connection whose events are handled.
_served: Final[ContextVar[QuicHandshake | None]] = ContextVar("asgi_tls.quic", default=None)


def install() -> None:
    """Serve HTTP/3 with the certificate of each configuration's live context."""
    try:
        from hypercorn.protocol import quic
    except ImportError:  # without aioquic there is no HTTP/3
        return
    quic.QuicProtocol = _following(quic.QuicProtocol)  # type: ignore[misc]


@functools.cache
def _following(base: Any) -> Any:
    if getattr(base, "follows_asgi_tls", False):
        return base

    class Following(base):  # type: ignore[misc]  # hypercorn's class of this process
        follows_asgi_tls = True

        def __init__(self, app: Any, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(_connected(app), config, *args, **kwargs)
            self._live: ServerContext | None = getattr(config.create_ssl_context, "live", None)
            self._seen: Mapping[str, tuple[Certificate, ...]] | None = None
            self._handshakes: weakref.WeakKeyDictionary[Any, QuicHandshake] = weakref.WeakKeyDictionary()

        async def handle(self, event: Any) -> None:
            if self._live is not None and self._live.certificates is not self._seen:
                self._seen = self._live.certificates
                # HTTP/3 serves one certificate, from one source: check_quic has seen to it.
                ((certificate, *_), *_) = self._seen.values()
                try:
                    _use(self.quic_config, certificate)
                except ValueError:  # see can_parse
                    logger.warning("HTTP/3 keeps its certificate: aioquic cannot parse that of %s", certificate.source)
            await super().handle(event)

        async def _handle_events(self, connection: Any, client: tuple[Any, ...] | None = None) -> None:
            if self._live is None:
                await super()._handle_events(connection, client)
                return
            handshake = self._handshakes.get(connection.quic)
            if handshake is None:
                handshake = self._handshakes[connection.quic] = QuicHandshake(connection.quic.tls, client)
            token = _served.set(handshake)
            try:
                await super()._handle_events(connection, client)
            finally:
                _served.reset(token)
            if connection.h3 is not None:
                handshake.report(self._live.ssl_context.tls_reception)

    Following.__name__ = Following.__qualname__ = base.__name__
    return Following


def _connected(app: Any) -> Any:
    def connected_app(scope: Any, *channels: Any) -> Any:
        handshake = _served.get()
        return (app if handshake is None else connected(app, handshake))(scope, *channels)

    return connected_app


class QuicHandshake:
    """What aioquic reports of a handshake: the version, which is always TLS 1.3 (RFC 9001 section 4.2), the suite, the
    application protocol, the certificate that was served, and whether a session was resumed. Not the group, nor the
    name that the client asked for. `tls` is aioquic's context of the connection.
    """

    def __init__(self, tls: Any, client: tuple[Any, ...] | None) -> None:
        self._tls, self._started, self._reported = tls, time.perf_counter(), False
        self._address = address_of(client)
        self._facts: TLSConnection | None = None

    @property
    def tls_connection(self) -> TLSConnection | None:
        """The facts, None while the handshake is under way."""
        if self._facts is None:
            self._facts = self._describe()
        return self._facts

    def _describe(self) -> TLSConnection | None:
        from cryptography.hazmat.primitives.serialization import Encoding

        tls = self._tls
        if tls.alpn_negotiated is None or tls.key_schedule is None:
            return None
        return TLSConnection(
            protocol="TLSv1.3",
            cipher=f"TLS_{tls.key_schedule.cipher_suite.name}",
            group=None,
            alpn=tls.alpn_negotiated,
            server_name=None,
            resumed=tls.session_resumed,
            server_certificate=None if tls.certificate is None else tls.certificate.public_bytes(Encoding.DER),
        )

    def report(self, reception: Reception | None) -> None:
        """Make the event of the handshake, once."""
        if self._reported or reception is None or (facts := self.tls_connection) is None:
            return
        self._reported = True
        if reception.dispatcher.wants_sessions():
            elapsed = time.perf_counter() - self._started
            reception.dispatcher.tell_session(fields_of(facts, self._address, elapsed=elapsed))


def can_parse(paths: Sequence[Path]) -> bool:
    """Whether aioquic can serve a certificate: it parses certificates by `cryptography`, which refuses more than
    OpenSSL. What else is wrong with the files is found when they are loaded.
    """
    from cryptography.x509 import InvalidVersion, load_der_x509_certificate

    from asgi_tls.certificate.chain import certificate_blocks

    try:
        for path in paths[:1]:
            material = read_material(path, "certificate")
            for block in certificate_blocks(material, read_blocks(material)):
                load_der_x509_certificate(block.der)  # what it does not look at may be odd
    except CertificateError:
        return True
    except (ValueError, InvalidVersion):
        return False
    return True


def _use(configuration: Any, certificate: Certificate) -> None:
    """What aioquic's load_cert_chain does, with the bytes that were validated, and without reading a file."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import InvalidVersion, load_pem_x509_certificates

    try:
        leaf, *chain = load_pem_x509_certificates(certificate.chain_pem)
    except InvalidVersion as error:
        raise ValueError(str(error)) from error
    configuration.certificate, configuration.certificate_chain = leaf, chain
    # It was checked when it was loaded; checking it again would hold up the event loop.
    configuration.private_key = load_pem_private_key(
        certificate.key_pem, password=None, unsafe_skip_rsa_key_validation=True
    )
