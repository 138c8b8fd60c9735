"""Header settings for the pages that FastAPI serves by default: /docs, /docs/oauth2-redirect and /redoc.

They load their scripts from a CDN and start them inline, so that the defaults would leave them blank. Only these paths
are loosened, and the CDN only as far as the package that the page loads: jsdelivr.net serves everybody's files.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        # "Authorize" opens the login page of another origin, and waits to hear from it.
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

FASTAPI_PAGES: Mapping[str, Mapping[str, str | None]] = MappingProxyType(
    {"/docs": SWAGGER_UI, "/docs/oauth2-redirect": SWAGGER_UI_OAUTH2_REDIRECT, "/redoc": REDOC}
)
