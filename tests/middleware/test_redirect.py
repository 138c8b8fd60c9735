"""Where a request is redirected to, and which requests are not."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgi_servers import call, hello, http_scope, websocket_scope
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import parse_authority
from asgi_tls.middleware import HTTPSRedirectMiddleware, redirect_app

HOSTS = ["example.com", "*.example.org", "2001:db8::1", "192.0.2.1"]


def redirecting(**settings: Any) -> HTTPSRedirectMiddleware:
    return HTTPSRedirectMiddleware(hello, **{"hosts": HOSTS, **settings})


def host(value: bytes) -> dict[str, Any]:
    return {"headers": [(b"host", value)]}


@pytest.mark.parametrize(
    ("scope", "location"),
    [
        ({}, "https://example.com/"),
        ({"raw_path": b"/a/b%20c", "path": "/a/b c"}, "https://example.com/a/b%20c"),
        ({"raw_path": b"/%ff%FE", "path": "/\ufffd\ufffd"}, "https://example.com/%ff%FE"),
        ({"raw_path": b"/a%2Fb%2e%2e", "path": "/a/b.."}, "https://example.com/a%2Fb%2e%2e"),
        ({"raw_path": b"/\xff", "path": "/\xff"}, "https://example.com/%FF"),
        ({"raw_path": b"/%0d%0aX:y", "path": "/\r\nX:y"}, "https://example.com/%0d%0aX:y"),
        ({"raw_path": b"/\r\nX:y", "path": "/\r\nX:y"}, "https://example.com/%0D%0AX:y"),
        ({"raw_path": b"//evil.example/x", "path": "//evil.example/x"}, "https://example.com//evil.example/x"),
        ({"raw_path": b"/\\evil.example", "path": "/\\evil.example"}, "https://example.com/%5Cevil.example"),
        ({"raw_path": b"/a#b", "path": "/a#b"}, "https://example.com/a%23b"),
        ({"raw_path": b"/;a=b,c@d", "path": "/;a=b,c@d"}, "https://example.com/;a=b,c@d"),
        ({"raw_path": b"", "path": ""}, "https://example.com/"),
        ({"query_string": b"a=1&b=%20&c=%ff"}, "https://example.com/?a=1&b=%20&c=%ff"),
        ({"query_string": b"next=http://evil.example"}, "https://example.com/?next=http://evil.example"),
        ({"query_string": b"a b\r\n\xe9"}, "https://example.com/?a%20b%0D%0A%E9"),
        ({"query_string": b"a=\\b#c"}, "https://example.com/?a=%5Cb%23c"),
        ({"query_string": b"?"}, "https://example.com/??"),
        (host(b"EXAMPLE.com."), "https://example.com/"),
        (host(b"a.b.example.org:80"), "https://a.b.example.org/"),
        (host(b"example.com:000080"), "https://example.com/"),
        (host(b"[2001:DB8:0::1]:8080"), "https://[2001:db8::1]/"),
        (host(b"192.0.2.1:"), "https://192.0.2.1/"),
        ({"headers": [(b"Host", b"example.com")]}, "https://example.com/"),
        ({"method": "POST"}, "https://example.com/"),
        ({"scheme": "HTTP"}, "https://example.com/"),
        ({"scheme": "gopher"}, "https://example.com/"),
        # The absolute form names its own host, and it is judged like any other.
        ({"raw_path": b"http://x.example.org/a?"}, "https://x.example.org/a"),
        ({"raw_path": b"HTTP://x.example.org"}, "https://x.example.org/"),
        # uvicorn puts root_path in front of raw_path, hypercorn does not.
        ({"root_path": "/api", "raw_path": b"/api/x", "path": "/api/x"}, "https://example.com/api/x"),
        ({"root_path": "/api", "raw_path": b"/x", "path": "/x"}, "https://example.com/api/x"),
        ({"root_path": "/api/", "raw_path": b"/x", "path": "/x"}, "https://example.com/api/x"),
        ({"root_path": "/api", "raw_path": b"/apix", "path": "/apix"}, "https://example.com/api/apix"),
        ({"root_path": "//evil.example", "raw_path": b"/", "path": "/"}, "https://example.com/evil.example/"),
    ],
)
def test_the_location_is_the_same_resource_over_https(scope: dict[str, Any], location: str) -> None:
    reply = call(redirecting(), http_scope(**scope))
    assert (reply.status, reply.body) == (308, b"")
    assert ("location", location) in reply.headers  # ASGI wants names in lower case


def test_the_application_reads_its_request_as_without_it() -> None:
    async def echo(_scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["type"].encode()})

    app = HTTPSRedirectMiddleware(echo, hosts=HOSTS)
    assert call(app, http_scope(scheme="https", method="POST")).body == b"http.request"


@pytest.mark.parametrize(
    ("missing", "scope", "location"),
    [
        ("raw_path", {"path": "/a b/ü%"}, "https://example.com/a%20b/%C3%BC%25"),
        ("raw_path", {"path": "/\r\nX: y"}, "https://example.com/%0D%0AX:%20y"),
        ("raw_path", {"path": "/\udcff"}, "https://example.com/%ED%B3%BF"),
        ("query_string", {}, "https://example.com/"),
        ("scheme", {}, "https://example.com/"),
        ("root_path", {}, "https://example.com/"),
    ],
)
def test_optional_keys_of_the_scope_may_be_missing(missing: str, scope: dict[str, Any], location: str) -> None:
    full = http_scope(**scope)
    del full[missing]
    assert call(redirecting(), full)["location"] == location


@pytest.mark.parametrize(
    "scope",
    [
        {"headers": []},
        {"headers": [(b"host", b"example.com"), (b"host", b"example.com")]},
        {"headers": [(b"host", b"example.com"), (b"Host", b"evil.example")]},
        host(b"evil.example"),
        host(b"example.com.evil.example"),
        host(b"evil.example#example.com"),
        host(b"example.com@evil.example"),
        host(b"example.org"),
        host(b""),
        host(b"example.com:99999"),
        {"headers": [(b"x-forwarded-host", b"example.com")]},
        {"raw_path": b"*", "method": "OPTIONS"},
        {"raw_path": b"example.com:443", "method": "CONNECT"},
        {"raw_path": b"ftp://example.com/"},
        {"raw_path": b"http://evil.example/"},
        {"raw_path": b"http://example.com@evil.example/"},
        {"raw_path": b"http:///x"},
        {"raw_path": b"http://example.com\\@evil.example/"},
        {"raw_path": b"http://example.com/", "headers": []},
    ],
)
def test_a_host_off_the_list_or_a_strange_target_gets_400_and_no_location(scope: dict[str, Any]) -> None:
    reply = call(redirecting(), http_scope(**scope))
    assert reply.status == 400
    assert "location" not in reply
    assert b"evil" not in reply.body


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_status_can_be_chosen(status: int) -> None:
    assert call(redirecting(redirect_status=status), http_scope()).status == status


@pytest.mark.parametrize(
    ("settings", "host_field", "location"),
    [
        ({"https_port": 8443}, b"example.com", "https://example.com:8443/"),
        ({"https_port": 8443}, b"example.com:8080", "https://example.com:8443/"),
        ({"port_map": {80: 443, 8080: 8443}}, b"example.com:8080", "https://example.com:8443/"),
        ({"port_map": {80: 443, 8080: 8443}}, b"example.com", "https://example.com/"),
        ({"port_map": {8080: 8443}}, b"example.com:9999", "https://example.com/"),
        ({"port_map": {80: 8443}}, b"[2001:db8::1]", "https://[2001:db8::1]:8443/"),
        ({"canonical_host": "www.example.com"}, b"example.com", "https://www.example.com/"),
        ({"canonical_host": "münchen.example"}, b"a.example.org", "https://xn--mnchen-3ya.example/"),
        ({"canonical_host": "www.example.com"}, b"www.example.com", "https://www.example.com/"),
        ({"canonical_host": "www.example.com"}, b"evil.example", None),
    ],
)
def test_ports_and_the_canonical_host(settings: dict[str, Any], host_field: bytes, location: str | None) -> None:
    reply = call(redirecting(**settings), http_scope(**host(host_field)))
    assert reply.all("location") == ([location] if location else [])


@pytest.mark.parametrize("scheme", ["https", "wss", "HTTPS"])
def test_what_came_over_tls_passes_whatever_its_host(scheme: str) -> None:
    assert call(redirecting(), http_scope(scheme=scheme, **host(b"evil.example"))).body == b"hello\n"


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/health", True),
        ("/health/", False),
        ("/healthz", False),
        ("/internal/", True),
        ("/internal/live", True),
        ("/internal", False),
        ("/internal/../admin", False),
        ("/internal/./x", False),
        ("/internal/..\\admin", False),
        ("/.well-known/acme-challenge/abc-_123", True),
        ("/.well-known/acme-challenge/", False),
        ("/.well-known/acme-challenge/a/b", False),
        ("/.well-known/acme-challenge/../admin", False),
        ("/.well-known/acme-challenge/a.b", False),
        ("/x/.well-known/acme-challenge/abc", False),
        ("/.well-known/other", False),
    ],
)
def test_exempt_paths_and_acme_challenges_pass(path: str, passes: bool) -> None:
    app = redirecting(exempt=["/health", "/internal/*"])
    reply = call(app, http_scope(path=path, raw_path=path.encode()))
    assert reply.status == (200 if passes else 308)


def test_exempt_paths_are_those_of_the_application() -> None:
    app = redirecting(exempt=["/health"])
    below = {"root_path": "/api", "path": "/api/health", "raw_path": b"/api/health"}
    assert call(app, http_scope(**below)).status == 200
    # hypercorn leaves root_path out of path.
    assert call(app, http_scope(root_path="/api", path="/health", raw_path=b"/health")).status == 200


def test_a_challenge_is_fetched_and_nothing_else() -> None:
    path = "/.well-known/acme-challenge/abc"
    assert call(redirecting(), http_scope(method="POST", path=path, raw_path=path.encode())).status == 308
    assert call(redirecting(), http_scope(method="HEAD", path=path, raw_path=path.encode())).status == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"hosts": []},
        {"hosts": "example.com"},
        {"canonical_host": "https://example.com"},
        {"canonical_host": "*.example.com"},
        {"https_port": 0},
        {"https_port": 65536},
        {"https_port": "https"},
        {"https_port": True},
        {"port_map": {80: 0}},
        {"port_map": {0: 443}},
        {"redirect_status": 303},
        {"redirect_status": 200},
        {"exempt": "/health"},
        {"exempt": ["health"]},
        {"exempt": ["/a*"]},
        {"exempt": ["/*/a"]},
        {"webroot": "/does/not/exist"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings)) + "|host|port|path rule"):
        redirecting(**settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"https_port": 65536}, "https_port is 65536"),
        ({"port_map": {80: 0}}, "a port in port_map is 0"),
        ({"port_map": {0: 443}}, "a port in port_map is 0"),
        ({"redirect_status": 303}, r"redirect_status is 303\. Choose one of 301, 302, 307, 308, without quotes\.$"),
        ({"exempt": "/health"}, r"exempt is the string '/health'\. Write exempt=\['/health'\]\.$"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{says}"):
        redirecting(**settings)


def test_a_websocket_is_denied_with_the_way_to_go() -> None:
    reply = call(redirecting(), websocket_scope(query_string=b"a=1"))
    assert [each["type"] for each in reply.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (reply.status, reply["location"]) == (308, "wss://example.com/?a=1")
    assert call(redirecting(), websocket_scope(**host(b"evil.example"))).status == 400


@pytest.mark.parametrize("extensions", [{}, None])
def test_a_websocket_is_closed_where_the_server_cannot_deny(extensions: dict[str, Any] | None) -> None:
    (message,) = call(redirecting(), websocket_scope(extensions=extensions)).messages
    assert message["type"] == "websocket.close"


XFP, XFF = b"x-forwarded-proto", b"x-forwarded-for"
OPTIONS = ("--forwarded-allow-ips=10.0.0.2", "--proxy-headers", "ProxyFixMiddleware")
# What a plain request has, who is connected, and what the warning must name.
LOOPS: list[tuple[list[tuple[bytes, bytes]], str, tuple[str, ...]]] = [
    ([(XFP, b"https")], "10.0.0.2", OPTIONS),
    ([(b"X-Forwarded-Proto", b" https ")], "10.0.0.2", OPTIONS),
    ([(XFP, b"wss"), (XFF, b"192.0.2.7")], "10.0.0.2", OPTIONS),
    # What stands in a field is the visitor's address, or what the visitor claims: never one to trust.
    ([(XFP, b"https"), (XFF, b"192.0.2.7")], "192.0.2.7", ("--forwarded-allow-ips=PROXY_ADDRESS",)),
    ([(XFP, b"https"), (b"x-real-ip", b"192.0.2.7")], "192.0.2.7", ("--forwarded-allow-ips=PROXY_ADDRESS",)),
    ([(XFP, b"HTTPS")], "10.0.0.2", ("'HTTPS'", "single word https", "proxy_set_header X-Forwarded-Proto $scheme")),
    ([(XFP, b"https,https")], "192.0.2.7", ("'https,https'", "single word https", "trusted_hops")),
    ([(XFP, b"https, http"), (XFF, b"192.0.2.7")], "192.0.2.7", ("'https, http'", "single word https")),
    ([(XFP, b"https"), (XFP, b"https")], "10.0.0.2", ("'https, https'", "single word https")),
    ([(XFP, b"http, https")], "10.0.0.2", ("'http, https'", "single word https")),
    ([(b"forwarded", b'for=192.0.2.1;proto="https"')], "10.0.0.2", ("do not read Forwarded", 'mode="modern"')),
    ([(XFF, b"192.0.2.7")], "10.0.0.2", ("X-Forwarded-For, but not X-Forwarded-Proto", "$scheme")),
    ([(XFP, b""), (XFF, b"192.0.2.7")], "10.0.0.2", ("has X-Forwarded-For, but not X-Forwarded-Proto", "$scheme")),
    ([(XFP, b"")], "10.0.0.2", ("an empty X-Forwarded-Proto", "$scheme")),
    ([(b"X-Real-IP", b"192.0.2.7")], "10.0.0.2", ("X-Real-Ip, but not X-Forwarded-Proto", "$scheme")),
    ([(b"Forwarded", b"for=192.0.2.1")], "10.0.0.2", ("Forwarded, but not X-Forwarded-Proto", "$scheme")),
]


@pytest.mark.parametrize(("fields", "client", "named"), LOOPS)
def test_a_loop_behind_a_proxy_is_explained_once(
    fields: list[tuple[bytes, bytes]], client: str, named: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    app = redirecting()
    headers = [(b"host", b"example.com"), *fields]
    with caplog.at_level(logging.WARNING, logger="asgi_tls"):
        for _ in range(3):
            # The field is not believed: it redirects as before.
            assert call(app, http_scope(headers=headers, client=(client, 1))).status == 308
    (record,) = caplog.records
    assert record.name == "asgi_tls"
    for expected in (*named, "explain redirect-loop"):
        assert expected in record.getMessage()
    # Each names the options of uvicorn and gunicorn, and hypercorn's way.
    assert "--forwarded-allow-ips" in record.getMessage()
    assert "ProxyFixMiddleware" in record.getMessage()
    assert "allow-ips=192" not in record.getMessage()


@pytest.mark.parametrize(
    "fields", [[], [(XFP, b"http")], [(XFP, b"http"), (XFF, b"192.0.2.7")], [(b"forwarded", b"for=a;proto=http")]]
)
def test_no_loop_no_warning(fields: list[tuple[bytes, bytes]], caplog: pytest.LogCaptureFixture) -> None:
    assert call(redirecting(), http_scope(headers=[(b"host", b"example.com"), *fields])).status == 308
    assert not caplog.records


def test_each_kind_of_loop_has_its_warning(caplog: pytest.LogCaptureFixture) -> None:
    app = redirecting()
    for fields, *_ in LOOPS:
        call(app, http_scope(headers=[(b"host", b"example.com"), *fields]))
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 4


def test_a_loop_over_a_unix_socket_has_no_address(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"host", b"example.com"), (b"x-forwarded-proto", b"https")]
    call(redirecting(), http_scope(headers=headers, client=None))
    assert "--forwarded-allow-ips='*'" in caplog.text


LOCAL = [b"localhost", b"LOCALHOST.:8000", b"app.localhost", b"127.0.0.1:8000", b"127.9.9.9", b"[::1]:8000"]


@pytest.mark.parametrize("field", LOCAL)
@pytest.mark.parametrize("settings", [{}, {"redirect_status": 301}, {"canonical_host": "example.com"}])
def test_loopback_hosts_get_a_redirect_that_no_browser_keeps(field: bytes, settings: dict[str, Any]) -> None:
    app = redirecting(hosts=["localhost", "*.localhost", "127.0.0.1", "127.9.9.9", "::1"], **settings)
    reply = call(app, http_scope(**host(field)))
    assert (reply.status, reply["cache-control"]) == (307, "no-store")
    assert reply["location"].startswith("https://")


@pytest.mark.parametrize("field", [*LOCAL, b"testserver", b"testserver.local", b"test"])
def test_in_development_loopback_hosts_are_served(field: bytes, caplog: pytest.LogCaptureFixture) -> None:
    app = redirecting(development=True)
    for _ in range(2):
        assert call(app, http_scope(**host(field))).body == b"hello\n"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "development=True" in record.getMessage()
    authority = parse_authority(field)
    assert authority is not None
    assert f"plain HTTP requests to {authority.host} are served" in record.getMessage()
    assert "Leave the setting out in production" in record.getMessage()


def test_in_development_other_hosts_are_redirected_as_ever() -> None:
    app = redirecting(development=True)
    assert call(app, http_scope()).status == 308
    for field in (
        b"evil.example",
        b"testserver.example",
        b"other.test",
        b"other.local",
        b"localhost.evil.example",
        b"128.0.0.1",
    ):
        assert call(app, http_scope(**host(field))).status == 400
    assert call(redirecting(), http_scope(**host(b"testserver"))).status == 400


@pytest.mark.parametrize(
    ("scope", "says", "logged"),
    [
        (host(b"testserver"), ["hosts=[", "development=True"], "testserver"),
        (host(b"a b\r\n"), ["Host field is missing, repeated or not a valid host"], "not a valid host"),
        ({"headers": []}, ["Host field is missing"], "missing"),
    ],
)
def test_a_refusal_names_the_fix_and_is_logged_once(
    scope: dict[str, Any], says: list[str], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = redirecting()
    for _ in range(3):
        reply = call(app, http_scope(**scope))
        assert reply.status == 400
        for each in (*says, "asgi-tls explain redirect-refused"):
            assert each in reply.body.decode()
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    for each in (logged, "hosts=[", "development=True"):
        assert each in warnings[0].getMessage()
    assert "\r" not in caplog.text


def test_http_1_0_has_no_host_and_goes_to_the_canonical_one() -> None:
    app = redirecting(canonical_host="www.example.com")
    assert call(app, http_scope(http_version="1.0", headers=[]))["location"] == "https://www.example.com/"
    assert call(app, http_scope(http_version="1.1", headers=[])).status == 400
    twice = [(b"host", b"example.com")] * 2
    assert call(app, http_scope(http_version="1.0", headers=twice)).status == 400
    assert call(redirecting(), http_scope(http_version="1.0", headers=[])).status == 400


@pytest.mark.parametrize(("version", "scheme"), [("1.1", "wss"), ("2", "https"), ("3", "https")])
def test_the_target_of_a_websocket_is_what_its_client_asks_for(version: str, scheme: str) -> None:
    reply = call(redirecting(), websocket_scope(http_version=version))
    assert reply["location"] == f"{scheme}://example.com/"


def test_a_websocket_without_a_version_is_one_of_http_1_1() -> None:
    scope = websocket_scope()
    del scope["http_version"]
    assert call(redirecting(), scope)["location"] == "wss://example.com/"


def test_redirect_app_redirects_and_has_nothing_else() -> None:
    app = redirect_app(hosts=["example.com"], https_port=8443)
    assert call(app, http_scope(raw_path=b"/x"))["location"] == "https://example.com:8443/x"
    assert call(app, http_scope(scheme="https")).status == 404
    assert "hosts=[…] of redirect_app" in call(app, http_scope(**host(b"other.example"))).body.decode()
    path = "/.well-known/acme-challenge/abc"
    assert call(app, http_scope(path=path, raw_path=path.encode())).status == 404


# Bytes that attackers are fond of, between the pieces of real hosts.
PRINTED = rb"example.com evil.example www. @ : / \ # ? % [ ] ::1 80 . .. // http:// https: , ; 0x7f %0d%0a %2f"
PIECES = st.sampled_from([*PRINTED.split(), b"\r\n", b"\n", b" ", b"\t", b"\x00", b"\xff"])
IN_A_LOCATION = {*range(0x21, 0x7F)} - {*b"\\#"}
BYTES = st.one_of(st.binary(max_size=30), st.lists(PIECES, max_size=6).map(b"".join))


@given(
    host_field=st.one_of(
        BYTES, st.sampled_from([b"example.com", b"a.example.org:8080", b"[2001:db8::1]:1", b"192.0.2.1"])
    ),
    path=st.one_of(BYTES, BYTES.map(b"/".__add__)),
    query=BYTES,
    root=st.one_of(st.just(""), st.text(max_size=8)),
    kind=st.sampled_from([http_scope, websocket_scope]),
)
def test_no_location_leaves_the_allowed_hosts_and_none_splits(
    host_field: bytes, path: bytes, query: bytes, root: str, kind: Any
) -> None:
    scope = kind(raw_path=path, path=path.decode("latin-1"), query_string=query, root_path=root, **host(host_field))
    reply = call(redirecting(port_map={8080: 8443}), scope)
    assert reply.status in (308, 400)
    assert len(reply.all("location")) == (reply.status == 308)
    for location in reply.all("location"):
        assert set(location.encode("latin-1")) <= IN_A_LOCATION
        scheme, _, rest = location.partition("://")
        assert scheme == ("wss" if kind is websocket_scope else "https")
        authority = rest.split("/", 1)[0]
        name = authority.removesuffix(":8443")
        assert name in ("example.com", "[2001:db8::1]", "192.0.2.1") or name.endswith(".example.org")
        assert urlsplit(location).netloc == authority


@given(path=st.text(max_size=30), query=BYTES)
def test_a_decoded_path_is_escaped_again(path: str, query: bytes) -> None:
    scope = http_scope(path="/" + path, query_string=query)
    del scope["raw_path"]
    location = call(redirecting(), scope)["location"]
    assert location.startswith("https://example.com/")
    assert set(location.encode("latin-1")) <= IN_A_LOCATION


@given(path=st.binary(max_size=40).map(lambda each: b"/" + bytes(0x21 + byte % 94 for byte in each)))
def test_a_path_of_visible_ascii_is_kept_byte_for_byte(path: bytes) -> None:
    path = path.replace(b"?", b"%3f").replace(b"\\", b"%5c").replace(b"#", b"%23")
    reply = call(redirecting(), http_scope(raw_path=path, query_string=path[1:]))
    expected = b"https://example.com" + path + (b"?" + path[1:] if path[1:] else b"")
    assert reply["location"].encode() == expected
