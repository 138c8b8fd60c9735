"""HTTP/3 in hypercorn: new connections get the certificate that is served over TCP, however often it is renewed.

hypercorn loads a certificate into aioquic's configuration once, when a worker's QuicProtocol is made, and aioquic
copies it from there for each connection. So QuicProtocol gets a subclass that looks, before each datagram, whether
the live context has another certificate by now. `hypercorn.asyncio.udp_server` imports QuicProtocol from its module
when a worker starts to listen, which is after the context was made: the subclass is put in its place in that module.
A configuration that is not ours is served as before. It would break if hypercorn imported the class earlier or kept
the configuration under another name than `quic_config`; tests/servers/test_quic.py would show it: the old certificate
would be served.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Mapping
from typing import Any, Final

from asgi_tls.certificate import Certificate
from asgi_tls.context import ServerContext

logger = logging.getLogger("asgi_tls")

_contexts: Final[weakref.WeakKeyDictionary[object, ServerContext]] = weakref.WeakKeyDictionary()


def follow(owner: object, context: ServerContext) -> None:
    """Serve HTTP/3 with this context's certificate. `owner` is hypercorn's configuration, or its create_ssl_context."""
    try:
        from hypercorn.protocol import quic
    except ImportError:  # without aioquic there is no HTTP/3
        return
    _contexts[owner] = context
    quic.QuicProtocol = _following(quic.QuicProtocol)  # type: ignore[misc]


@functools.cache
def _following(base: Any) -> Any:
    if getattr(base, "follows_asgi_tls", False):
        return base

    class Following(base):  # type: ignore[misc]  # hypercorn's class of this process
        follows_asgi_tls = True

        def __init__(self, app: Any, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(app, config, *args, **kwargs)
            self._live = _contexts.get(config) or _contexts.get(config.create_ssl_context)
            self._seen: Mapping[str, tuple[Certificate, ...]] | None = None

        async def handle(self, event: Any) -> None:
            if self._live is not None and self._live.certificates is not self._seen:
                self._seen = self._live.certificates
                # HTTP/3 serves one certificate, from one source: check_quic has seen to it.
                ((certificate, *_), *_) = self._seen.values()
                _use(self.quic_config, certificate)
            await super().handle(event)

    Following.__name__ = Following.__qualname__ = base.__name__
    return Following


def _use(configuration: Any, certificate: Certificate) -> None:
    """What aioquic's load_cert_chain does, with the bytes that were validated, and without reading a file."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    leaf, *chain = load_pem_x509_certificates(certificate.chain_pem)
    configuration.certificate, configuration.certificate_chain = leaf, chain
    # It was checked when it was loaded; checking it again would hold up the event loop.
    configuration.private_key = load_pem_private_key(
        certificate.key_pem, password=None, unsafe_skip_rsa_key_validation=True
    )
