"""Which hosts are allowed."""

from __future__ import annotations

import pytest

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.hosts import AllowedHosts


@pytest.mark.parametrize(
    ("allowed", "host", "answer"),
    [
        (["example.com"], "example.com", True),
        (["EXAMPLE.com."], "example.com", True),
        (["example.com"], "www.example.com", False),
        (["example.com"], "notexample.com", False),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "a.b.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "notexample.com", False),
        (["*.example.com"], "example.com.evil.example", False),
        (["a.example", "*.b.example"], "x.b.example", True),
        (["*"], "anything.example", True),
        (["*"], "::1", True),
        (["::1"], "::1", True),
        (["[0:0::1]"], "::1", True),
        (["127.0.0.1"], "127.0.0.1", True),
        (["münchen.example"], "xn--mnchen-3ya.example", True),
        (["*.münchen.example"], "www.xn--mnchen-3ya.example", True),
        (["straße.example"], "xn--strae-oqa.example", True),
    ],
)
def test_allowed_hosts(allowed: list[str], host: str, answer: bool) -> None:
    assert AllowedHosts(allowed).allows(host) is answer


@pytest.mark.parametrize(
    "hosts",
    [
        "example.com",
        [],
        [""],
        ["https://example.com"],
        ["example.com:443"],
        ["example.com/"],
        ["user@example.com"],
        ["ex*mple.com"],
        ["*example.com"],
        ["*."],
        ["*.*.com"],
        ["a.*.com"],
        ["*.1"],
        ["*.[::1]"],
        ["*.127.0.0.1"],
        ["two words"],
        ["a\r\nb"],
        ["xn--\u2028.example"],
    ],
)
def test_what_is_not_a_host_is_refused(hosts: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="hosts is |is not a valid host name|is not a host pattern"):
        AllowedHosts(hosts)
