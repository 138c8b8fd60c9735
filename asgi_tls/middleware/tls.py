"""Everything in one line, in the right order: the connection's facts, headers, the redirect, early data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.early_data import SAFE_METHODS, EarlyDataMiddleware
from asgi_tls.middleware.headers import DEFAULT_HSTS, SecurityHeadersMiddleware
from asgi_tls.middleware.redirect import HTTPSRedirectMiddleware
from asgi_tls.middleware.unmade import remembered

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from secure import Secure
    from starlette.types import ASGIApp, Scope

    from asgi_tls.middleware.csp import Content
    from asgi_tls.middleware.hsts import HSTS


class TLSMiddleware(SecurityHeadersMiddleware):
    """Redirects to https, adds security headers, refuses unsafe early data, and fills the ASGI `tls` extension.

    Use it as `app.add_middleware(TLSMiddleware, hosts=["example.com"])`, or, to cover the framework's own error pages
    as well, as `app = TLSMiddleware(app, hosts=["example.com"])`. Only `hosts` is needed.

    hosts, canonical_host, https_port, port_map, redirect_status, exempt, webroot, development: see
        HTTPSRedirectMiddleware.
    content, hsts, secure, headers, paths, override: see SecurityHeadersMiddleware.
    safe_methods: see EarlyDataMiddleware.

    Raises ConfigurationError when a setting is wrong, or when two of them contradict each other.
    """

    @remembered
    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        canonical_host: str | None = None,
        https_port: int = 443,
        port_map: Mapping[int, int] | None = None,
        redirect_status: int = 308,
        exempt: Iterable[str] = (),
        webroot: str | os.PathLike[str] | None = None,
        development: bool = False,
        content: Content = "auto",
        hsts: HSTS | None = DEFAULT_HSTS,
        secure: Secure | None = None,
        headers: Mapping[str, str | None] | None = None,
        paths: Mapping[str, Mapping[str, str | None]] | None = None,
        override: bool = False,
        safe_methods: Iterable[str] = SAFE_METHODS,
    ) -> None:
        super().__init__(
            app, content=content, hsts=hsts, secure=secure, headers=headers, paths=paths, override=override
        )
        self._redirect = HTTPSRedirectMiddleware(
            app,
            hosts=hosts,
            canonical_host=canonical_host,
            https_port=https_port,
            port_map=port_map,
            redirect_status=redirect_status,
            exempt=exempt,
            webroot=webroot,
            development=development,
        )
        self._early_data = EarlyDataMiddleware(app, safe_methods=safe_methods)
        self._undisputed = self._early_data.safe_methods
        if self.preloads and self._redirect.leaves_host:
            raise ConfigurationError(
                "HSTS preload is set with a canonical_host, so that http://host redirects to another host at once",
                fix="The preload list wants the first redirect on the same host: leave canonical_host out.",
            )

    def _may_settle(self) -> bool:
        return not self._redirect.serves_challenges

    def _intercept(self, scope: Scope) -> ASGIApp | None:
        return self._redirect.intercept(scope) or self._early_data.intercept(scope)
