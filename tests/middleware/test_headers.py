"""Our headers beside those of the application, message by message."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from types import FrameType
from typing import Any

import fastapi
import pytest
from asgi_servers import Reply, call, hello, http_scope, websocket_scope
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import HTMLResponse

from asgi_tls.middleware import SecurityHeadersMiddleware, TLSMiddleware
from asgi_tls.middleware.nonce import new_nonce

HSTS = "strict-transport-security"
OURS = 8


def sends(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def answer(headers: Any, scheme: str = "https", **settings: Any) -> Reply:
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    app = sends(start, {"type": "http.response.body", "body": b"x"})
    return call(SecurityHeadersMiddleware(app, **settings), http_scope(scheme=scheme))


@pytest.mark.parametrize("name", [b"x-frame-options", b"X-Frame-Options", b"X-FRAME-OPTIONS"])
def test_the_applications_own_header_wins(name: bytes) -> None:
    assert answer([(name, b"SAMEORIGIN")]).all("x-frame-options") == ["SAMEORIGIN"]


@pytest.mark.parametrize("name", [b"x-frame-options", b"X-Frame-Options"])
def test_unless_ours_is_to_override_it(name: bytes) -> None:
    reply = answer([(name, b"SAMEORIGIN"), (name, b"SAMEORIGIN"), (b"x-own", b"1")], override=True)
    assert reply.all("x-frame-options") == ["DENY"]
    assert reply["x-own"] == "1"


def test_the_applications_fields_keep_their_order_and_number() -> None:
    cookies = [(b"set-cookie", b"a=1"), (b"vary", b"x"), (b"set-cookie", b"b=2"), (b"x-frame-options", b"SAMEORIGIN")]
    reply = answer(cookies)
    assert [(name.encode(), value.encode()) for name, value in reply.headers[:4]] == cookies
    # Ours, less the one that the application has.
    assert len(reply.headers) == 4 + OURS - 1


def test_an_application_with_several_policies_keeps_them_all() -> None:
    name = b"content-security-policy"
    reply = answer([(name, b"default-src 'self'"), (name, b"img-src 'none'")])
    assert reply.all("content-security-policy") == ["default-src 'self'", "img-src 'none'"]


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize(
    ("own", "over_tls"),
    [
        ([], ["max-age=63072000; includeSubDomains"]),
        ([b"max-age=1"], ["max-age=1"]),
        ([b"max-age=1", b"max-age=2"], ["max-age=1"]),
    ],
)
def test_hsts_is_there_once_over_tls_and_never_over_http(own: list[bytes], over_tls: list[str], override: bool) -> None:
    for name in (b"strict-transport-security", b"Strict-Transport-Security"):
        fields = [(name, value) for value in own]
        expected = ["max-age=63072000; includeSubDomains"] if override else over_tls
        assert answer(fields, override=override).all(HSTS) == expected
        for scheme in ("http", "ws", "", "https "):
            assert answer(fields, scheme, override=override).all(HSTS) == []


def test_hsts_that_we_do_not_set_is_single_too() -> None:
    fields = [(HSTS.encode(), b"max-age=1"), (b"Strict-Transport-Security", b"max-age=2")]
    assert answer(fields, hsts=None).all(HSTS) == ["max-age=1"]
    assert answer(fields, hsts=None, override=True).all(HSTS) == ["max-age=1"]


def test_an_untrusted_forwarded_header_brings_no_hsts() -> None:
    scope = http_scope(headers=[(b"host", b"example.com"), (b"x-forwarded-proto", b"https")])
    assert call(SecurityHeadersMiddleware(hello), scope).all(HSTS) == []


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-a", b"1")],
        ((b"x-a", b"1"),),
        [[b"x-a", b"1"]],
        {b"x-a": b"1"}.items(),
    ],
)
@pytest.mark.parametrize("conflict", [False, True])
def test_any_iterable_of_pairs_will_do(headers: Any, conflict: bool) -> None:
    fields = [*headers, (b"referrer-policy", b"origin")] if conflict else headers
    reply = answer(fields)
    assert reply["x-a"] == "1"
    assert reply["referrer-policy"] == ("origin" if conflict else "strict-origin-when-cross-origin")
    assert answer(pair for pair in fields).headers == reply.headers


@pytest.mark.parametrize("start", [{}, {"headers": None}, {"headers": []}, {"headers": ()}])
def test_a_response_without_headers(start: dict[str, Any]) -> None:
    app = sends({"type": "http.response.start", "status": 204, **start}, {"type": "http.response.body"})
    assert len(call(SecurityHeadersMiddleware(app), http_scope(scheme="https")).headers) == OURS


def test_messages_are_not_changed_so_that_they_can_be_sent_again() -> None:
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"x-a", b"1")],
        "trailers": True,
    }
    before = {**start, "headers": [*start["headers"]]}
    middleware = SecurityHeadersMiddleware(sends(start))
    first = call(middleware, http_scope(scheme="https", path="/docs"))
    assert start == before
    assert first.messages[0]["trailers"] is True
    assert call(middleware, http_scope()).all(HSTS) == []


def test_everything_but_the_head_of_the_response_passes_untouched() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]},
        {"type": "http.response.start", "status": 103, "headers": [(b"link", b"</a>")]},
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.pathsend", "path": "/dev/null"},
        {"type": "http.response.trailers", "headers": [(b"x-t", b"1")], "more_trailers": False},
    ]
    reply = call(SecurityHeadersMiddleware(sends(*messages)), http_scope(scheme="https"))
    assert [each for each in reply.messages if each.get("status") != 200] == [
        each for each in messages if each.get("status") != 200
    ]
    assert len(reply.messages[2]["headers"]) == OURS


def test_a_response_that_an_error_handler_starts_late_is_covered() -> None:
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        try:
            scope["no such key"]
        except KeyError:
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body", "body": b"sorry"})

    reply = call(SecurityHeadersMiddleware(handler), http_scope(scheme="https"))
    assert (reply.status, len(reply.headers)) == (500, OURS)


def test_errors_of_the_application_go_through() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("the application's")

    with pytest.raises(ValueError, match="the application's"):
        call(TLSMiddleware(broken, hosts=["example.com"]), http_scope(scheme="https"))


@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start"])
def test_websocket_handshakes_get_them_too(kind: str) -> None:
    message: dict[str, Any] = {"type": kind, "headers": [(b"x-a", b"1")]}
    if kind != "websocket.accept":
        message["status"] = 403
    app = SecurityHeadersMiddleware(sends(message, {"type": "websocket.close"}))
    sent = call(app, websocket_scope(scheme="wss")).messages
    assert len(sent[0]["headers"]) == 1 + OURS
    assert sent[1] == {"type": "websocket.close"}
    assert len(call(app, websocket_scope()).messages[0]["headers"]) == OURS


def test_lifespan_and_unknown_scopes_pass() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def nothing(*_: Any) -> Any: ...

    for middleware in (SecurityHeadersMiddleware(app), TLSMiddleware(app, hosts=["example.com"])):
        for scope in ({"type": "lifespan"}, {"type": "pubsub"}):
            asyncio.run(middleware(scope, nothing, nothing))
            assert seen.pop() == (scope, nothing, nothing)


def policy_of(app: Any, path: str, middleware: Any = SecurityHeadersMiddleware, **settings: Any) -> str:
    scope = http_scope(scheme="https", path=path, raw_path=path.encode(), **settings.pop("scope", {}))
    return call(middleware(app, **settings), scope)["content-security-policy"]


def fastapi_app(**settings: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI(**settings)

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>hello</p>")

    return app


@pytest.mark.parametrize("content", ["auto", "api", "web"])
def test_the_pages_of_fastapi_have_their_own_policy(content: Any) -> None:
    app = fastapi_app()
    app.mount("/sub", fastapi_app(docs_url="/my/docs", redoc_url=None))
    for scope in ({}, {"root_path": "/api"}):
        prefix = scope.get("root_path", "")
        for path, marks in {
            "/docs": "swagger-ui-dist@5/",
            "/redoc": "redoc@2/",
            "/docs/oauth2-redirect": "'unsafe-inline'",
            "/sub/my/docs": "swagger-ui-dist@5/",
            "/sub/docs/oauth2-redirect": "'unsafe-inline'",
        }.items():
            assert marks in policy_of(app, prefix + path, content=content, scope=scope), path
        for path in ("/", "/page", "/docs/", "/docs/x", "/DOCS", "/x/docs", "/sub/docs", "/sub/redoc", "/openapi.json"):
            policy = policy_of(app, prefix + path, content=content, scope=scope)
            assert "https:" not in policy
            assert "unsafe" not in policy


def test_a_page_of_another_framework_at_the_same_path_has_none() -> None:
    for path in ("/docs", "/redoc"):
        assert "cdn" not in policy_of(sends_html, path)
    assert "cdn" not in policy_of(fastapi_app(docs_url=None), "/docs")


def test_they_can_be_taken_away() -> None:
    app = fastapi_app()
    assert policy_of(app, "/docs", paths={"/docs": {}}) == policy_of(app, "/page")
    own = {"Content-Security-Policy": "default-src 'self'"}
    assert policy_of(app, "/docs", paths={"/docs": own}) == "default-src 'self'"
    assert "swagger-ui-dist@5/" in policy_of(app, "/docs", headers=own)


async def sends_html(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


API = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TYPES = {
    b"text/html": True,
    b"text/html; charset=utf-8": True,
    b" TEXT/HTML ;charset=utf-8": True,
    b"application/xhtml+xml": True,
    b"application/json": False,
    b"text/plain": False,
    b"text/htmlx": False,
    b"image/svg+xml": False,
    b"": False,
    b"multipart/mixed; boundary=text/html": False,
}


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
@pytest.mark.parametrize(("content_type", "is_html"), TYPES.items())
def test_the_policy_follows_the_content_type(name: bytes, content_type: bytes, is_html: bool) -> None:
    for _ in range(2):
        policy = answer([(b"x-a", b"1"), (name, content_type)])["content-security-policy"]
        assert (policy != API) is is_html
        assert ("script-src 'self'; style-src 'self';" in policy) is is_html
        assert ("form-action 'self'" in policy) is is_html
    for content in ("api", "web"):
        assert ("script-src" in answer([(name, content_type)], content=content)["content-security-policy"]) is (
            content == "web"
        )


def test_one_middleware_keeps_the_types_apart() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", scope["path"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    middleware = SecurityHeadersMiddleware(app)
    for _ in range(3):
        for content_type, is_html in TYPES.items():
            reply = call(middleware, http_scope(scheme="https", path=content_type.decode()))
            assert (reply["content-security-policy"] != API) is is_html, content_type


def test_both_policies_can_be_overridden() -> None:
    own = {"Content-Security-Policy": "default-src 'self'"}
    for content_type in (b"text/html", b"application/json"):
        for setting, policies in ((own, ["default-src 'self'"]), ({"Content-Security-Policy": None}, [])):
            start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
            middleware = SecurityHeadersMiddleware(sends(start), headers=setting)
            assert call(middleware, http_scope()).all("content-security-policy") == policies


def test_304_leaves_the_policy_of_the_page_that_the_browser_has() -> None:
    """A cache takes the fields of a 304 into what it has stored (RFC 9111 section 3.2)."""
    app = SecurityHeadersMiddleware(sends({"type": "http.response.start", "status": 304, "headers": [(b"etag", b"1")]}))
    for _ in range(2):
        reply = call(app, http_scope(scheme="https"))
        assert "content-security-policy" not in reply
        assert len(reply.headers) == 1 + OURS - 1


def test_a_policy_of_the_applications_own_stays_with_its_304() -> None:
    headers = [(b"content-security-policy", b"default-src 'self'")]
    app = SecurityHeadersMiddleware(sends({"type": "http.response.start", "status": 304, "headers": headers}))
    assert call(app, http_scope())["content-security-policy"] == "default-src 'self'"


LOOPBACK = [b"localhost", b"LOCALHOST.:8443", b"app.localhost", b"127.0.0.1:8443", b"127.1.2.3", b"[::1]:8443"]


@pytest.mark.parametrize("field", LOOPBACK)
@pytest.mark.parametrize("own", [[], [(b"Strict-Transport-Security", b"max-age=1")]])
def test_loopback_hosts_get_no_hsts(field: bytes, own: list[tuple[bytes, bytes]]) -> None:
    """Browsers would hold it against all that is ever developed on this machine."""
    app = sends({"type": "http.response.start", "status": 200, "headers": own})
    for middleware in (SecurityHeadersMiddleware(app), TLSMiddleware(app, hosts=["example.com"])):
        for kind, scheme in ((http_scope, "https"), (websocket_scope, "wss")):
            for position in (0, 1):
                headers = [(b"accept", b"*/*")]
                headers.insert(position, (b"host", field))
                assert call(middleware, kind(scheme=scheme, headers=headers)).all(HSTS) == []
        for other in (b"example.com", b"localhost.example.com", b"10.0.0.1", b"a b", b"127.example.com"):
            variants: list[Any] = [[(b"host", other)], [(b"accept", b"*/*"), (b"host", other)], [[b"host", other]], []]
            for fields in variants:
                assert len(call(middleware, http_scope(scheme="https", headers=fields)).all(HSTS)) == 1


def test_made_up_hosts_do_not_fill_the_memory() -> None:
    middleware = SecurityHeadersMiddleware(hello)
    for number in range(500):
        scope = http_scope(scheme="https", headers=[(b"host", b"host-%d.example" % number)])
        assert len(call(middleware, scope).all(HSTS)) == 1
    assert len(middleware._elsewhere) < 250


def bytecodes(middleware: Any, host: bytes, field: bytes) -> int:
    """How many instructions of Python a request to `host` takes, whose response has `field`: the application's too."""
    counted = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    async def send(_: Any) -> None:
        pass

    scope = http_scope(scheme="https", headers=[(b"host", host)], path=field.decode())
    request, before = middleware(scope, None, send), sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(StopIteration):
            request.send(None)
    finally:
        sys.settrace(before)
    return counted


async def sends_its_path(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(scope["path"].encode(), b"1")]})


def test_each_short_way_saves_more_than_a_tenth_of_the_request() -> None:
    """A host and a field that were not noted, since there have been too many of them, go the long ways."""
    middleware = TLSMiddleware(sends_its_path, hosts=["*"])
    for number in range(300):
        call(middleware, http_scope(scheme="https", headers=[(b"host", b"h%d.example" % number)], path=f"x-{number}"))
    known, late = (b"h1.example", b"x-1"), (b"h299.example", b"x-299")
    for _ in range(2):  # Python 3.12 and 3.13 report less of what is traced for the first time
        short, long_request, long_response, long_both = (
            bytecodes(middleware, host, field) for field in (known[1], late[1]) for host in (known[0], late[0])
        )
    assert short < 0.9 * min(long_request, long_response)
    assert max(long_request, long_response) < 0.9 * long_both


def test_cors_and_corp_that_contradict_each_other_are_noticed_once(caplog: pytest.LogCaptureFixture) -> None:
    allowing = (b"Access-Control-Allow-Origin", b"https://app.example")

    def asked(*own: tuple[bytes, bytes], content_type: bytes = b"image/png", **settings: Any) -> None:
        headers = [allowing, (b"content-type", content_type), *own]
        app = sends({"type": "http.response.start", "status": 200, "headers": headers})
        middleware = SecurityHeadersMiddleware(app, **settings)
        for _ in range(3):
            call(middleware, http_scope(scheme="https"))

    asked((b"cross-origin-resource-policy", b"cross-origin"))
    asked(headers={"Cross-Origin-Resource-Policy": "cross-origin"})
    asked(content_type=b"application/json")  # fetch() asks by CORS, to which the policy does not apply
    assert not caplog.records
    asked()
    (record,) = caplog.records
    assert "https://app.example" in record.getMessage()
    assert 'headers={"Cross-Origin-Resource-Policy": "cross-origin"}' in record.getMessage()


def test_paths_lie_on_top_of_headers_and_the_longest_prefix_counts() -> None:
    settings: dict[str, Any] = {
        "headers": {"X-A": "base", "X-B": "base"},
        "paths": {"/a": {"X-A": "exact"}, "/a/*": {"X-A": "prefix"}, "/a/b/*": {"x-a": "longer", "X-B": None}},
    }
    middleware = SecurityHeadersMiddleware(hello, **settings)
    for path, value, other in [
        ("/", "base", ["base"]),
        ("/a", "exact", ["base"]),
        ("/a/", "prefix", ["base"]),
        ("/a/x", "prefix", ["base"]),
        ("/a/b", "prefix", ["base"]),
        ("/a/b/c", "longer", []),
        ("/a/b/../c", "base", ["base"]),
        ("/ab", "base", ["base"]),
    ]:
        reply = call(middleware, http_scope(path=path))
        assert (reply["x-a"], reply.all("x-b")) == (value, other), path


def test_a_nonce_is_fresh_and_known_to_the_application() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["csp_nonce"])
        await hello(scope, receive, send)

    middleware = SecurityHeadersMiddleware(app, content="web")
    for number in range(3):
        state = {"lifespan": number}
        scope = http_scope(scheme="https", state=state)
        reply = call(middleware, scope)
        assert reply["content-security-policy"].count(f"'nonce-{seen[-1]}'") == 2
        # The same dictionary: what the server and outer middleware hold on to stays true.
        assert scope["state"] is state
        assert state["lifespan"] == number
    assert len(set(seen)) == 3
    assert all(len(each) >= 22 for each in seen)


def test_without_a_placeholder_there_is_no_nonce() -> None:
    for content in ("auto", "api"):
        scope = http_scope(scheme="https")
        call(SecurityHeadersMiddleware(hello, content=content), scope)
        assert "state" not in scope


@pytest.mark.filterwarnings("ignore:.* is multi-threaded, use of fork:DeprecationWarning")  # by what ran before it
def test_no_two_nonces_are_the_same_not_even_after_a_fork() -> None:
    def draw() -> set[str]:
        return {new_nonce() for _ in range(200)}

    parent = draw()
    new_nonce()  # some of the batch are left
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        children = [*pool.map(_draw, [200] * 4)]
    parent |= draw()
    everything = parent.union(*children)
    assert len(everything) == 400 + 4 * 200
    assert all(len(each) == 24 for each in everything)


def _draw(count: int) -> set[str]:
    return {new_nonce() for _ in range(count)}


def test_a_path_with_a_nonce_among_paths_without() -> None:
    middleware = SecurityHeadersMiddleware(
        hello, paths={"/page": {"Content-Security-Policy-Report-Only": "script-src 'nonce-{nonce}'"}}
    )
    scope = http_scope(path="/page")
    reply = call(middleware, scope)
    assert reply["content-security-policy-report-only"] == f"script-src 'nonce-{scope['state']['csp_nonce']}'"


NAMES = st.sampled_from(
    b"strict-transport-security Strict-Transport-Security x-frame-options X-Frame-Options x-own "
    b"content-security-policy set-cookie CONTENT-TYPE".split()
)


@given(
    fields=st.lists(st.tuples(NAMES, st.sampled_from([b"a", b"b"])), max_size=6),
    scheme=st.sampled_from(["http", "https"]),
    override=st.booleans(),
)
def test_whatever_the_application_sends(fields: list[tuple[bytes, bytes]], scheme: str, override: bool) -> None:
    middleware = SecurityHeadersMiddleware(
        sends({"type": "http.response.start", "status": 200, "headers": fields}), override=override
    )
    for _ in range(2):
        reply = call(middleware, http_scope(scheme=scheme))
        assert len(reply.all(HSTS)) == (scheme == "https")
        own = [value.decode() for name, value in fields if name.lower() == b"x-frame-options"]
        assert reply.all("x-frame-options") == (["DENY"] if override or not own else own)
        for name in ("x-own", "set-cookie", "content-type"):
            assert reply.all(name) == [value.decode() for each, value in fields if each.lower() == name.encode()]


def test_made_up_header_names_do_not_fill_the_memory() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(name, b"1")]})

    middleware = SecurityHeadersMiddleware(app)
    for number in range(300):
        reply = call(middleware, http_scope(path=f"x-{number}"))
        assert len(reply.headers) == OURS
    assert len(middleware._without.default.harmless) < 250
