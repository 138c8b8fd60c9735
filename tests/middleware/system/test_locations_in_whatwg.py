"""Browsers read URLs by other rules than RFC 3986: their parser finds the allowed hosts in our Locations too."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from asgi_servers import call, hello, http_scope

from asgi_tls.middleware import HTTPSRedirectMiddleware

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.system

PIECES = [b"", b"\t", b"\n", b"\xff", *rb"/ \ @ : // evil.example example.com # ? %5c ..".split()]
HOSTS = b"example.com EXAMPLE.com.:80 [::1] 127.0.0.1:8080 a_b.example.com 0x7f.1 evil.example".split()


def test_browsers_agree_on_the_host(node: Any) -> None:
    app = HTTPSRedirectMiddleware(hello, hosts=["example.com", "*.example.com", "::1", "127.0.0.1"])
    locations: list[str] = []
    for host, pieces in itertools.product(HOSTS, itertools.product(PIECES, repeat=3)):
        path = b"/" + b"".join(pieces)
        reply = call(app, http_scope(headers=[(b"host", host)], raw_path=path, path="/", query_string=pieces[0]))
        locations += reply.all("location")
    assert len(locations) > 10_000
    names = set(node.run("hostnames.mjs", stdin=json.dumps(locations)))
    assert names == {"example.com", "a_b.example.com", "[::1]", "127.0.0.1"}
