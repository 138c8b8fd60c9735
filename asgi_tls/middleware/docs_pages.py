"""Header settings for the pages that FastAPI makes: Swagger UI with its OAuth2 redirect, and ReDoc.

They load their scripts from a CDN and start them inline, so the defaults would leave them blank. Only these pages have
a relaxed policy, and on the CDN it allows only the package that the page loads: jsdelivr.net serves anybody's files.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from asgi_tls.middleware.paths import route_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

_CDN = "https://cdn.jsdelivr.net/npm"
_CSP = "Content-Security-Policy"
_COOP = "Cross-Origin-Opener-Policy"
_CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SWAGGER_UI: Mapping[str, str | None] = MappingProxyType(
    {
        _CSP: (
            f"default-src 'none'; script-src 'self' 'unsafe-inline' {_CDN}/swagger-ui-dist@5/; "
            f"style-src 'self' 'unsafe-inline' {_CDN}/swagger-ui-dist@5/; "
            f"img-src 'self' data: https://fastapi.tiangolo.com; font-src 'self' data:; connect-src 'self'; {_CLOSED}"
        ),
        # "Authorize" opens the login page of another origin, and waits for its answer.
        _COOP: "same-origin-allow-popups",
    }
)

SWAGGER_UI_OAUTH2_REDIRECT: Mapping[str, str | None] = MappingProxyType(
    {
        _CSP: f"default-src 'none'; script-src 'unsafe-inline'; {_CLOSED}",
        # The page answers through window.opener, which every other value would cut.
        _COOP: "unsafe-none",
    }
)

REDOC: Mapping[str, str | None] = MappingProxyType(
    {
        _CSP: (
            f"default-src 'none'; script-src 'self' {_CDN}/redoc@2/ {_CDN}/redoc@next/; worker-src blob:; "
            "style-src 'self' 'unsafe-inline' https://fonts.googleapis.com/css; font-src https://fonts.gstatic.com; "
            "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
            f"connect-src 'self'; {_CLOSED}"
        )
    }
)

PAGES: Mapping[str, Mapping[str, str | None]] = MappingProxyType(
    {"docs_url": SWAGGER_UI, "swagger_ui_oauth2_redirect_url": SWAGGER_UI_OAUTH2_REDIRECT, "redoc_url": REDOC}
)
"""By the attribute of a FastAPI application that says where the page is."""


def page_of(scope: Scope) -> str | None:
    """Which of the pages answers this request; None for any other.

    Starlette records in the scope which application the request has reached, mounted ones included, and its root path.
    """
    app = scope.get("app")
    path = route_path(scope["path"], scope.get("root_path") or "")
    return next((name for name in PAGES if getattr(app, name, None) == path), None)
