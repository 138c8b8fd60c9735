"""Our defaults beside helmet's, header by header. docs/middleware.md has the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgi_servers import call, hello, http_scope

from asgi_tls.middleware import SecurityHeadersMiddleware

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.system

SAME = ["cross-origin-opener-policy", "cross-origin-resource-policy", "x-content-type-options"]

# Ours asks for as much as helmet's, or more.
STRICTER = {
    "strict-transport-security": ("max-age=31536000; includeSubDomains", "max-age=63072000; includeSubDomains"),
    "x-frame-options": ("SAMEORIGIN", "DENY"),
}

# helmet sends no referrer at all; ours is the default of browsers, and tells other origins no more than the origin.
LOOSER = {"referrer-policy": ("no-referrer", "strict-origin-when-cross-origin")}

# For Internet Explorer, Flash, and defaults of today's browsers.
ONLY_THEIRS = {
    "origin-agent-cluster": "?1",
    "x-dns-prefetch-control": "off",
    "x-download-options": "noopen",
    "x-permitted-cross-domain-policies": "none",
    "x-xss-protection": "0",
}

ONLY_OURS = {"permissions-policy"}

# Belongs to the answer, not to helmet.
PLUMBING = {"connection", "content-length", "content-type", "date", "keep-alive"}


@pytest.mark.parametrize("content", ["api", "web"])
def test_every_header_is_accounted_for(node: Any, content: Any) -> None:
    theirs = {name: value for name, value in node.run("helmet.mjs").items() if name not in PLUMBING}
    reply = call(SecurityHeadersMiddleware(hello, content=content), http_scope(scheme="https"))
    ours = {name: value for name, value in reply.headers if name not in PLUMBING}
    policies = theirs.pop("content-security-policy"), ours.pop("content-security-policy")
    for name in SAME:
        assert theirs.pop(name) == ours.pop(name)
    for name, pair in (STRICTER | LOOSER).items():
        assert (theirs.pop(name), ours.pop(name)) == pair
    assert theirs == ONLY_THEIRS
    assert set(ours) == ONLY_OURS
    # helmet's policy allows styles from anywhere, inline ones too; neither of ours does.
    assert "style-src 'self' https: 'unsafe-inline'" in policies[0].replace(";", "; ")
    assert "https:" not in policies[1]
    assert "unsafe" not in policies[1]
