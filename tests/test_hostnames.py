"""What is a host, a name that a certificate can be for, an address, a port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import (
    Authority,
    bracketed,
    checked_authority,
    checked_host,
    checked_name,
    checked_port,
    covers,
    is_loopback,
    names_for,
    parse_authority,
)

LONG = b"a" * 63


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        (b"example.com", "example.com", None),
        (b"example.com.:8080", "example.com", 8080),
        (b"EXAMPLE.Com", "example.com", None),
        (b"example.com.", "example.com", None),
        (b"example.com:8080", "example.com", 8080),
        (b"example.com:", "example.com", None),
        (b"example.com:00080", "example.com", 80),
        (b"example.com:" + b"0" * 5000 + b"80", "example.com", 80),
        (b"example.com:65535", "example.com", 65535),
        (b"localhost", "localhost", None),
        (b"my_service:8000", "my_service", 8000),
        (b"xn--mnchen-3ya.example", "xn--mnchen-3ya.example", None),
        (b"1.example.com", "1.example.com", None),
        (b"127.0.0.1:8000", "127.0.0.1", 8000),
        (b"[::1]", "::1", None),
        (b"[::1]:8443", "::1", 8443),
        (b"[2001:DB8:0:0::1]", "2001:db8::1", None),
        (b".".join([*[LONG] * 3, b"a" * 61]), ".".join([*["a" * 63] * 3, "a" * 61]), None),
    ],
)
def test_an_authority_has_one_canonical_form(value: bytes, host: str, port: int | None) -> None:
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
        b"example.com:0065536",
        b"example.com:000",
        b"example.com:" + b"9" * 5000,
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
        b".".join([*[LONG] * 3, b"a" * 62]),
        b".".join([LONG] * 5),
    ],
)
def test_anything_else_is_not_an_authority(value: bytes) -> None:
    assert parse_authority(value) is None


@given(st.binary(max_size=80))
def test_a_parsed_host_holds_only_harmless_characters(value: bytes) -> None:
    authority = parse_authority(value)
    if authority is not None:
        assert set(authority.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-:")
        # Its canonical form parses to itself.
        assert parse_authority(bracketed(authority.host).encode()) == Authority(authority.host, None)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.COM.", "example.com"),
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("my_service", "my_service"),
        # As browsers have them: UTS 46 maps, IDNA 2008 keeps what IDNA 2003 replaced (URL Standard, "domain to ASCII").
        ("M\u00dcNCHEN.example", "xn--mnchen-3ya.example"),
        ("stra\u00dfe.de", "xn--strae-oqa.de"),
        ("\u03b2\u03cc\u03bb\u03bf\u03c2.example", "xn--nxasmm1c.example"),
        ("b\u00fccher\u3002example", "xn--bcher-kva.example"),
        ("\uff41\uff0eexample", "a.example"),
        ("xn--53h.example", "xn--53h.example"),
    ],
)
def test_a_host_of_the_settings(text: str, host: str) -> None:
    assert checked_host(text) == host
    assert checked_name(text) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "*.example.com", "https://example.com", "example.com:443", "user@example.com", "a b", "a\r\nb",
     "1.2.3", "256.1.1.1", "[127.0.0.1]", "[::1", "fe80::1%eth0", "-a.example", "xn--\u2028.example", "\udc80",
     "\u00fc" * 64 + ".example", "\u00fc\u00fc..example", "\u2615.example"],
)  # fmt: skip
def test_what_is_not_a_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid host name") as caught:
        checked_host(text)
    assert "\n" not in str(caught.value)


def test_wildcards() -> None:
    assert checked_name("*.B\u00fccher.example") == "*.xn--bcher-kva.example"
    for text in ("*.localhost", "*.127.0.0.1", "*.::1"):
        with pytest.raises(ConfigurationError, match="a wildcard that no client matches"):
            checked_name(text)


@pytest.mark.parametrize(
    ("dns_names", "addresses", "host", "expected"),
    [
        (["a.example"], [], "a.example", True),
        (["localhost"], [], "localhost", True),
        (["*.a.example"], [], "b.a.example", True),
        (["*.a.example"], [], "*.a.example", True),
        (["*.a.example"], [], "a.example", False),
        (["*.a.example"], [], "c.b.a.example", False),
        (["*.a.example"], [], "*.b.example", False),
        (["127.0.0.1"], [], "127.0.0.1", False),  # written like an address, and no address
        ([], ["127.0.0.1"], "127.0.0.1", True),
        ([], ["::1"], "::1", True),
        (["*", "*.", "*.com", "*.127.0.0.1"], [], "a.com", False),
        (["*", "*.", "*.com"], [], "com", False),
        (["*", "*."], [], "::1", False),
        (["bad name", "*.", "Example.org."], [], "example.org", True),
    ],
)
def test_the_hosts_of_a_certificate(dns_names: list[str], addresses: list[str], host: str, expected: bool) -> None:
    assert covers(names_for(dns_names, addresses), host) is expected


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.3", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("127.example.com", False),
        ("10.0.0.1", False),
        ("::2", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_ports() -> None:
    assert (checked_port("the port", 443), checked_port("the port", "65535")) == (443, 65535)
    bad: list[int | str] = [0, -1, 65536, True, "", "+80", "80 ", "8o", "\u0668\u0660", "0x50", 10**5000 - 1]
    for port in bad[:-1]:
        with pytest.raises(ConfigurationError, match="^the port is .* 1 to 65535"):
            checked_port("the port", port)


def test_a_host_in_a_url() -> None:
    assert [bracketed(host) for host in ("::1", "127.0.0.1", "localhost")] == ["[::1]", "127.0.0.1", "localhost"]


def test_host_and_port() -> None:
    with pytest.raises(ConfigurationError, match="^the port of it is 'x'"):
        checked_authority("it", "localhost:x")
    assert checked_authority("it", "LOCALHOST:8000") == ("localhost", 8000)
    assert checked_authority("it", "[::1]:8000") == ("::1", 8000)
    for text in ("", "localhost", "::1:8000", "::1", "localhost:", "localhost:x", ":8000", "a b:80"):
        with pytest.raises(ConfigurationError, match="Give HOST:PORT|1 to 65535|not a valid host"):
            checked_authority("it", text)


@pytest.mark.parametrize("text", ["a.test,b.test", "a.test b.test", "a.test; b.test"])
def test_several_hosts_in_one_are_told_apart_from_a_url(text: str) -> None:
    with pytest.raises(ConfigurationError, match="argument or option of its own"):
        checked_name(text)
