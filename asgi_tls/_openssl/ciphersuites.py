"""TLS 1.3 suites."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from asgi_tls._openssl.library import native, reach
from asgi_tls.errors import UnsupportedError


def set_ciphersuites(context: ssl.SSLContext, ciphersuites: Iterable[str]) -> None:
    """Offer and accept these TLS 1.3 suites only, and read them back. Raises UnsupportedError."""
    wanted = tuple(ciphersuites)
    names = ":".join(wanted)
    if not native(context, "set_ciphersuites", names):
        lib = reach()
        lib.SSL_CTX_set_ciphersuites(lib.context(context), names.encode("ascii"))
    found = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    if found != set(wanted):
        raise UnsupportedError(
            f"OpenSSL has {', '.join(sorted(found)) or 'no TLS 1.3 suite'} where {names} was asked for",
            fix="See `asgi-tls doctor` for what this OpenSSL can do.",
        )
