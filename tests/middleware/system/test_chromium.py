"""What a browser makes of the defaults: no violation of the policy, FastAPI's pages alive, HSTS at work."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
from asgi_servers import CDN_NAMES, KeyPair, running_uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from web_page import web_page

from asgi_tls.explain import explain
from asgi_tls.middleware import TLSMiddleware, redirect_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

pytestmark = pytest.mark.system

HSTS = "strict-transport-security"


PLAIN_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Plain</title><link rel="stylesheet" href="/static/page.css">
<script src="/static/page.js" defer></script></head><body><h1>Plain</h1>
<form method="post" action="/send"><input name="word" value="hello"><button id="go">Send</button></form>
</body></html>"""
PLAIN_FILES = {
    "page.css": "h1 { color: rgb(1, 2, 3) }",
    "page.js": """
        const colour = getComputedStyle(document.querySelector("h1")).color;
        fetch("/data").then((response) => response.json()).then((data) => {
          document.body.insertAdjacentHTML("beforeend", `<p id="ready">${colour} ${data.say}</p>`);
        });""",
    "cors.js": """
        const say = (line) => document.body.insertAdjacentHTML("beforeend", `<p>${line}</p>`);
        const image = (address, cors) => new Promise((done) => {
          const element = new Image();
          if (cors) element.crossOrigin = "anonymous";
          element.onload = () => done("shown");
          element.onerror = () => done("blocked");
          element.src = address;
        });
        (async () => {
          const api = "https://api.test";
          say("data: " + (await (await fetch(`${api}/data`)).json()).say);
          const early = await fetch(`${api}/data`, { method: "POST", headers: { "Early-Data": "1" } });
          say("early: " + early.status);
          say("image: " + await image(`${api}/image`, false));
          say("image by CORS: " + await image(`${api}/image`, true));
          say("open image: " + await image(`${api}/open/image`, false));
          document.body.insertAdjacentHTML("beforeend", '<p id="ready">done</p>');
        })();""",
}
PIXEL = base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAA=")


def plain_app() -> fastapi.FastAPI:
    """Pages, a form, files and data without a word about security, behind TLSMiddleware with its defaults."""
    app = fastapi.FastAPI(title="Outer")
    paths = {"/open/*": {"Cross-Origin-Resource-Policy": "cross-origin"}}
    connect = {"Content-Security-Policy": "default-src 'self'; connect-src https://api.test; img-src https://api.test"}
    app.add_middleware(TLSMiddleware, hosts=["site.test", "api.test"], paths={**paths, "/cors": connect})
    app.add_middleware(CORSMiddleware, allow_origins=["https://site.test"], allow_headers=["Early-Data"],
                       allow_methods=["*"])  # fmt: skip

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PLAIN_PAGE)

    @app.get("/cors")
    def cors() -> HTMLResponse:
        return HTMLResponse('<!DOCTYPE html><title>CORS</title><body><script src="/static/cors.js"></script></body>')

    @app.post("/send")
    async def send(request: fastapi.Request) -> HTMLResponse:
        return HTMLResponse(f"<p id='sent'>{(await request.body()).decode()}</p>")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return Response(PLAIN_FILES[name], media_type="text/css" if name.endswith(".css") else "text/javascript")

    @app.get("/image")
    @app.get("/open/image")
    def picture() -> Response:
        return Response(PIXEL, media_type="image/gif")

    @app.get("/data")
    def data() -> dict[str, str]:
        return {"say": "data arrived"}

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)

    mounted = fastapi.FastAPI(title="Mounted", docs_url="/reference", redoc_url=None)

    @mounted.get("/things", summary="All the things")
    def things() -> list[str]:
        return []

    app.mount("/mounted", mounted)
    return app


def cdn(packages: Path) -> Starlette:
    """Stands in for the hosts that FastAPI's pages load from, which see no middleware of ours."""

    def package(request: Request) -> Response:
        name, _, path = request.path_params["path"].partition("/")
        return FileResponse(packages / name.partition("@")[0] / path)

    def anything(request: Request) -> Response:
        return Response(media_type="text/css" if request.url.path == "/css" else "image/svg+xml")

    return Starlette(routes=[Route("/npm/{path:path}", package), Route("/{path:path}", anything)])


class Counted:
    """An application, and the requests that it got."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"])
        await self.app(scope, receive, send)


@contextmanager
def site(node: Any, pair: KeyPair, app: Any) -> Iterator[tuple[Any, Counted]]:
    """A function that visits pages of https://site.test, and the application on its port 80."""
    plain = Counted(redirect_app(hosts=["site.test", "localhost"]))
    with ExitStack() as stack:
        tls_port = stack.enter_context(running_uvicorn(app, pair))
        plain_port = stack.enter_context(running_uvicorn(plain))
        cdn_port = stack.enter_context(running_uvicorn(cdn(node.directory / "node_modules"), pair))
        rules = [f"MAP site.test:443 127.0.0.1:{tls_port}", f"MAP site.test:80 127.0.0.1:{plain_port}"]
        rules += [f"MAP api.test:443 127.0.0.1:{tls_port}", f"MAP localhost:80 127.0.0.1:{plain_port}"]
        rules += [f"MAP localhost:443 127.0.0.1:{tls_port}"]
        rules += [f"MAP {name}:443 127.0.0.1:{cdn_port}" for name in CDN_NAMES]
        rules.append("MAP * ~NOTFOUND")
        arguments = [
            *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
            *["--disable-component-update", "--disable-sync"],
            f"--host-resolver-rules={', '.join(rules)}",
            f"--ignore-certificate-errors-spki-list={pair.public_key_hash()}",
        ]

        def visit(*visits: Any) -> Any:
            return node.run("browser.mjs", json.dumps({"args": arguments, "visits": visits}))

        yield visit, plain


def test_a_page_with_nonces_runs_and_an_injected_script_does_not(node: Any, key_pair: KeyPair) -> None:
    with site(node, key_pair, web_page()) as (visit, _):
        page, injected = visit({"url": "https://site.test/", "until": "#ready"}, {"url": "https://site.test/injected"})
    for said in ("inline script ran", "script file ran", "fetched data arrived"):
        assert said in page["text"]
    assert (page["console"], page["violations"], page["failed"]) == ([], [], [])
    # The observer works: it sees a violation where there is one.
    assert injected["text"] != "ran"
    assert [each.split()[0] for each in injected["violations"]] == ["script-src-elem"]


@pytest.mark.parametrize("content", ["auto", "api", "web"])
def test_the_pages_of_fastapi_render(node: Any, key_pair: KeyPair, tmp_path: Path, content: Any) -> None:
    app = fastapi.FastAPI(title="Rendered")
    app.add_middleware(TLSMiddleware, hosts=["site.test"], content=content)

    @app.get("/items", summary="All the items")
    def items() -> list[str]:
        return ["first item"]

    with site(node, key_pair, app) as (visit, _):
        docs, redoc, redirect = visit(
            {
                "url": "https://site.test/docs",
                "until": ".opblock-summary",
                "click": {"selector": ".opblock-summary-control", "until": ".opblock-body"},
                "screenshot": str(tmp_path / f"docs-{content}.png"),
            },
            {
                "url": "https://site.test/redoc",
                "until": ["h1", "[data-section-id]"],
                "screenshot": str(tmp_path / f"redoc-{content}.png"),
            },
            {"url": "https://site.test/docs/oauth2-redirect"},
        )
    assert "Rendered" in docs["text"]
    assert "/items" in docs["text"]
    assert "All the items" in redoc["text"]
    for page in (docs, redoc):
        assert (page["violations"], page["failed"]) == ([], [])
        assert [each for each in page["console"] if not each.startswith(("log:", "debug:", "info:"))] == []
    # Opened by hand, the page misses the window that opens it; that its script ran is what counts.
    assert redirect["violations"] == []
    assert any("opener" in each or "swaggerUIRedirectOauth2" in each for each in redirect["console"])


def test_pages_forms_and_mounted_documentation_work_without_a_setting(node: Any, key_pair: KeyPair) -> None:
    with site(node, key_pair, plain_app()) as (visit, _):
        page, docs = visit(
            {"url": "https://site.test/", "until": "#ready", "click": {"selector": "#go", "until": "#sent"}},
            {"url": "https://site.test/mounted/reference", "until": ".opblock-summary"},
        )
    assert page["text"] == "word=hello"
    assert (page["console"], page["violations"], page["failed"]) == ([], [], [])
    assert "/mounted/things" in docs["text"] or "/things" in docs["text"]
    assert (docs["violations"], docs["failed"]) == ([], [])


def test_cors_and_files_for_other_origins(node: Any, key_pair: KeyPair) -> None:
    with site(node, key_pair, plain_app()) as (visit, _):
        (page,) = visit({"url": "https://site.test/cors", "until": "#ready"})
    for said in ("data: data arrived", "early: 425", "image: blocked", "image by CORS: shown", "open image: shown"):
        assert said in page["text"]
    assert page["violations"] == []
    (blocked,) = page["failed"]
    assert "ERR_BLOCKED_BY_RESPONSE.NotSameOrigin" in blocked
    assert explain(blocked)[0].trouble.code == "resource-policy"


def test_a_redirect_of_localhost_does_not_stay_in_the_browser(node: Any, key_pair: KeyPair) -> None:
    with site(node, key_pair, plain_app()) as (visit, plain):
        visits = visit({"url": "http://localhost/data"}, {"url": "http://localhost/data"}, {"url": "http://localhost/"})
    for each in visits:
        assert [step["status"] for step in each["chain"]] == [307, 200]
        assert all(HSTS not in step["headers"] for step in each["chain"])
    # Each visit has reached the plain port: no redirect was remembered, and no HSTS.
    assert plain.paths == ["/data", "/data", "/"]


def test_http_lands_on_https_and_hsts_upgrades_the_next_visit(node: Any, key_pair: KeyPair) -> None:
    with site(node, key_pair, web_page()) as (visit, plain):
        first, second = visit({"url": "http://site.test/data"}, {"url": "http://site.test/data?again"})
        requests = plain.paths
    assert [(step["url"], step["status"]) for step in first["chain"]] == [
        ("http://site.test/data", 308),
        ("https://site.test/data", 200),
    ]
    assert HSTS not in first["chain"][0]["headers"]
    assert [(step["url"], step["status"]) for step in second["chain"]] == [
        ("http://site.test/data?again", 307),
        ("https://site.test/data?again", 200),
    ]
    assert second["chain"][0]["headers"]["non-authoritative-reason"] == "HSTS"
    # The second visit never reached the plain port.
    assert requests == ["/data"]
