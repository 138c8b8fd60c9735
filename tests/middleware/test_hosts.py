"""What is a host, and which hosts are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.hosts import AllowedHosts, Authority, configured_host, parse_authority

LONG = b"a" * 63


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        (b"example.com", "example.com", None),
        (b"EXAMPLE.Com", "example.com", None),
        (b"example.com.", "example.com", None),
        (b"example.com:8080", "example.com", 8080),
        (b"example.com:", "example.com", None),
        (b"example.com:00080", "example.com", 80),
        (b"example.com:65535", "example.com", 65535),
        (b"localhost", "localhost", None),
        (b"my_service:8000", "my_service", 8000),
        (b"xn--mnchen-3ya.example", "xn--mnchen-3ya.example", None),
        (b"1.example.com", "1.example.com", None),
        (b"127.0.0.1:8000", "127.0.0.1", 8000),
        (b"[::1]", "[::1]", None),
        (b"[::1]:8443", "[::1]", 8443),
        (b"[2001:DB8:0:0::1]", "[2001:db8::1]", None),
        (b".".join([LONG] * 3), ".".join(["a" * 63] * 3), None),
    ],
)
def test_an_authority_has_one_normal_form(value: bytes, host: str, port: int | None) -> None:
    assert parse_authority(value) == Authority(host, port)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b".",
        b"..",
        b"example..com",
        b".example.com",
        b"example.com..",
        b" example.com",
        b"example.com ",
        b"example.com\t",
        b"example.com\r\nX: y",
        b"example.com\n",
        b"example.com\x00",
        b"user@example.com",
        b"user:password@example.com",
        b"example.com:80@evil.example",
        b"example.com/path",
        b"example.com\\evil.example",
        b"example.com?x",
        b"example.com#x",
        b"example.com,evil.example",
        b"example.com evil.example",
        b"http://example.com",
        b"//example.com",
        b"example%2ecom",
        b"ex%61mple.com",
        "münchen.example".encode(),
        b"m\xfcnchen.example",
        b"-example.com",
        b"example-.com",
        b"*.example.com",
        b"example.com:0",
        b"example.com:65536",
        b"example.com:999999",
        b"example.com:+80",
        b"example.com:-1",
        b"example.com:8o",
        b"example.com:\xef\xbc\x98",
        b"example.com:80:80",
        b"::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[::1]x",
        b"[::1]:x",
        b"[::1%25eth0]",
        b"[fe80::1%eth0]",
        b"[v1.fe80]",
        b"[127.0.0.1]",
        b"[1::2::3]",
        b"[12345::]",
        b"127.1",
        b"2130706433",
        b"0x7f.0.0.1",
        b"127.0.0.1.",
        b"0x7f000001",
        b"256.0.0.1",
        b"1.2.3.4.5",
        b"127.0.0.01",
        LONG + b"a.example",
        b".".join([LONG] * 5),
    ],
)
def test_anything_else_is_no_authority(value: bytes) -> None:
    assert parse_authority(value) is None


@given(st.binary(max_size=80))
def test_a_parsed_host_holds_only_harmless_characters(value: bytes) -> None:
    authority = parse_authority(value)
    if authority is not None:
        assert set(authority.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-[]:")
        # Its normal form parses to itself.
        assert parse_authority(authority.host.encode()) == Authority(authority.host, None)


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
        (["*"], "[::1]", True),
        (["::1"], "[::1]", True),
        (["[0:0::1]"], "[::1]", True),
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
def test_hosts_that_are_none_are_refused(hosts: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        AllowedHosts(hosts)


def test_the_error_names_the_setting_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="port_map"):
        configured_host("example.com:8443")
