"""Why a redirect to https would come back as http: what a proxy's fields say, and what servers make of them.

The middleware trusts none of these fields. It recognizes the patterns, to explain a loop in the log.

What servers read of a proxy that they trust: uvicorn takes X-Forwarded-Proto where it is exactly `http` or `https`,
gunicorn where it is exactly `https`, hypercorn's ProxyFixMiddleware the last word of the last field; of Forwarded (RFC
7239) only ProxyFixMiddleware(mode="modern") reads anything. None of them takes the scheme from X-Forwarded-For.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from asgi_tls.middleware.answer import SECURE_SCHEMES

if TYPE_CHECKING:
    from starlette.types import Scope

_PROTO: Final = re.compile(r'proto="?(\w+)', re.IGNORECASE)
_FOR: Final = ("x-forwarded-for", "forwarded", "x-real-ip")

_TRUST: Final = (
    "Trust the address that your proxy connects from: uvicorn and gunicorn by --forwarded-allow-ips={address} "
    "(uvicorn also needs --proxy-headers, its default), hypercorn by wrapping the application in "
    "hypercorn.middleware.ProxyFixMiddleware."
)
_ONE_WORD: Final = (
    "uvicorn and gunicorn take only the single word https, in lower case; hypercorn's ProxyFixMiddleware takes the "
    "last one (trusted_hops=1). Let the proxy that terminates TLS replace the field (nginx: proxy_set_header "
    "X-Forwarded-Proto $scheme;), and the proxies behind it leave it alone. If the server does not trust the proxy "
    "either: uvicorn and gunicorn have --forwarded-allow-ips."
)
_MISSING: Final = (
    "The proxy does not say whether the visitor came by https, so no server can know. Let it send X-Forwarded-Proto "
    "(nginx: proxy_set_header X-Forwarded-Proto $scheme;), and trust it: uvicorn and gunicorn by "
    "--forwarded-allow-ips, hypercorn by hypercorn.middleware.ProxyFixMiddleware."
)
_ONLY_FORWARDED: Final = (
    "uvicorn and gunicorn do not read Forwarded: let the proxy send X-Forwarded-Proto: https as well, and trust it by "
    "--forwarded-allow-ips. Under hypercorn, wrap the application in "
    'hypercorn.middleware.ProxyFixMiddleware(mode="modern").'
)


class Loop(NamedTuple):
    """Why redirects would loop: `kind` names the reason, `seen` is what the request has, `fix` what to do."""

    kind: str
    seen: str
    fix: str


def loop_of(scope: Scope) -> Loop | None:
    """Why a redirect of this plain request would loop, if a proxy says so."""
    fields: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in _FOR or name == "x-forwarded-proto":
            fields[name] = ", ".join(filter(None, (fields.get(name), value.decode("latin-1"))))
    given = fields.get("x-forwarded-proto", "").strip()
    if given in SECURE_SCHEMES:
        return Loop("untrusted", f"X-Forwarded-Proto: {given}", _TRUST.format(address=_address(scope, fields)))
    if given:
        words = {word.strip() for word in given.lower().split(",")}
        return Loop("spelling", f"X-Forwarded-Proto: {given[:80]!r}", _ONE_WORD) if words & SECURE_SCHEMES else None
    protos = {word.lower() for word in _PROTO.findall(fields.get("forwarded", ""))}
    if protos & SECURE_SCHEMES:
        return Loop("forwarded", "Forwarded, but not X-Forwarded-Proto", _ONLY_FORWARDED)
    if fields and not protos:
        other = next((f"{name.title()}, but not" for name in fields if name in _FOR), "an empty")
        return Loop("missing", f"{other} X-Forwarded-Proto", _MISSING)
    return None


def _address(scope: Scope, fields: dict[str, str]) -> str:
    """The address that the proxy connects from. A field says what the visitor wants it to say, so it is not trusted."""
    client = scope.get("client")
    if not client:
        return "'*'"  # a Unix socket: its permissions say who may connect
    address = str(client[0])
    return "PROXY_ADDRESS" if any(address in value for value in fields.values()) else address
