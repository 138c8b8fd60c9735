"""The application's side of a proxy: its server trusts the proxy's headers, and its middleware knows the hosts."""

from __future__ import annotations

import shlex
from typing import Final

from asgi_tls.export.site import Site

# A peer on a Unix socket has no address; the socket's permissions decide who may connect.
_ANYBODY: Final = "'*'"
_UNKNOWN: Final = "PROXY_ADDRESS"


def commands(site: Site) -> dict[str, str]:
    """The command line for each server, with `app:app` for the application."""
    upstream, trusted = site.upstream, _trusted(site)
    if upstream.path:
        uvicorn, bind = f"--uds {shlex.quote(upstream.path)}", shlex.quote(f"unix:{upstream.path}")
    else:
        uvicorn, bind = f"--host {upstream.host} --port {upstream.port}", upstream.authority
    return {
        "uvicorn": f"uvicorn app:app {uvicorn} --proxy-headers --forwarded-allow-ips {trusted}",
        "hypercorn": f"hypercorn app:proxied --bind {bind}",
        "gunicorn": f"gunicorn app:app -k asgi --bind {bind} --forwarded-allow-ips {trusted}",
    }


def middleware(site: Site) -> str:
    """The line of Python that adds TLSMiddleware, with the same hosts and port as the proxy."""
    names = ", ".join(f'"{host}"' for host in site.hosts)
    port = "" if site.https_port == 443 else f", https_port={site.https_port}"
    return f"app.add_middleware(TLSMiddleware, hosts=[{names}]{port})"


def application_side(site: Site) -> str:
    """What to do in the application and for each server, as code, commands and comments."""
    each = commands(site)
    lines = [
        "# In the application:",
        "from asgi_tls import TLSMiddleware",
        middleware(site),
        "",
        "# uvicorn:",
        each["uvicorn"],
        "",
        "# hypercorn trusts the forwarded headers of every peer, so only the proxy may be able to reach its address.",
        "# In the application, at the end:",
        "from hypercorn.middleware import ProxyFixMiddleware",
        "proxied = ProxyFixMiddleware(app)",
        "# The command:",
        each["hypercorn"],
        "",
        "# gunicorn's ASGI worker takes the scheme from the proxy; the client's address stays the proxy's:",
        each["gunicorn"],
    ]
    if not site.upstream.is_here:
        lines += [
            "",
            f"# {_UNKNOWN} is the address that the proxy connects from. It speaks plain HTTP: use a network that you",
            "# trust.",
        ]
    return "\n".join(lines) + "\n"


def _trusted(site: Site) -> str:
    if site.upstream.path:
        return _ANYBODY
    if not site.upstream.is_here:
        return _UNKNOWN
    return "::1" if site.upstream.host == "::1" else "127.0.0.1"
