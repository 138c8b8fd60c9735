"""TLS 1.3 and secure transport for Python ASGI servers."""

from asgi_tls.certificate import KubernetesSecret, LetsEncrypt, PEMFiles
from asgi_tls.client import create_client_context
from asgi_tls.middleware import EarlyDataMiddleware, HTTPSRedirectMiddleware, SecurityHeadersMiddleware, TLSMiddleware
from asgi_tls.profile import INTERMEDIATE, MODERN, TLSProfile
from asgi_tls.server import ServerTLS

__all__ = [
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
]
