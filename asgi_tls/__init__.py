"""TLS 1.3 and secure transport for Python ASGI servers: the public names.

Each is imported when it is first asked for: an application that only uses the middleware loads no TLS library.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgi_tls.certificate import KubernetesSecret, LetsEncrypt, PEMFiles
    from asgi_tls.context.client_context import create_client_context
    from asgi_tls.middleware import (
        HSTS,
        EarlyDataMiddleware,
        HTTPSRedirectMiddleware,
        SecurityHeadersMiddleware,
        TLSMiddleware,
    )
    from asgi_tls.middleware.connection import tls_connection
    from asgi_tls.profile import INTERMEDIATE, MODERN, TLSProfile
    from asgi_tls.renewal.acme.source import ACME
    from asgi_tls.server import ServerTLS

__all__ = [
    "ACME",
    "HSTS",
    "INTERMEDIATE",
    "MODERN",
    "EarlyDataMiddleware",
    "HTTPSRedirectMiddleware",
    "KubernetesSecret",
    "LetsEncrypt",
    "PEMFiles",
    "SecurityHeadersMiddleware",
    "ServerTLS",
    "TLSMiddleware",
    "TLSProfile",
    "create_client_context",
    "tls_connection",
]

_HOMES = {
    "certificate": ("KubernetesSecret", "LetsEncrypt", "PEMFiles"),
    "context.client_context": ("create_client_context",),
    "middleware": (
        "HSTS",
        "EarlyDataMiddleware",
        "HTTPSRedirectMiddleware",
        "SecurityHeadersMiddleware",
        "TLSMiddleware",
    ),
    "middleware.connection": ("tls_connection",),
    "profile": ("INTERMEDIATE", "MODERN", "TLSProfile"),
    "renewal.acme.source": ("ACME",),
    "server": ("ServerTLS",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"asgi_tls.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
