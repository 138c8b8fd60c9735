"""ASGI middleware for secure transport. It never imports `ssl`: it works under any server, behind any proxy."""

from __future__ import annotations

from asgi_tls.middleware.docs_pages import REDOC, SWAGGER_UI, SWAGGER_UI_OAUTH2_REDIRECT
from asgi_tls.middleware.early_data import EarlyDataMiddleware
from asgi_tls.middleware.headers import SecurityHeadersMiddleware
from asgi_tls.middleware.hsts import HSTS
from asgi_tls.middleware.redirect import HTTPSRedirectMiddleware
from asgi_tls.middleware.redirect_app import redirect_app
from asgi_tls.middleware.tls import TLSMiddleware

__all__ = [
    "HSTS",
    "REDOC",
    "SWAGGER_UI",
    "SWAGGER_UI_OAUTH2_REDIRECT",
    "EarlyDataMiddleware",
    "HTTPSRedirectMiddleware",
    "SecurityHeadersMiddleware",
    "TLSMiddleware",
    "redirect_app",
]
