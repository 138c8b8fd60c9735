"""A FastAPI application with one page that uses what a strict Content-Security-Policy still allows."""

from __future__ import annotations

import fastapi
from starlette.responses import HTMLResponse, JSONResponse, Response

from asgi_tls.middleware import TLSMiddleware

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<link rel="stylesheet" href="/page.css"><style nonce="{nonce}">h1 {{ color: green }}</style></head>
<body><h1>A page</h1><img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">
<p id="inline">-</p><p id="file">-</p><p id="fetched">-</p>
<script nonce="{nonce}">document.getElementById("inline").textContent = "inline script ran";</script>
<script src="/page.js"></script></body></html>"""
SCRIPT = """document.getElementById("file").textContent = "script file ran";
fetch("/data").then((response) => response.json()).then((data) => {
  document.getElementById("fetched").textContent = data.say;
  document.body.id = "ready";
});"""


def web_page(hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "site.test")) -> fastapi.FastAPI:
    app = fastapi.FastAPI(title="The middleware's tests")
    app.add_middleware(TLSMiddleware, hosts=hosts, content="web")

    @app.get("/", response_class=HTMLResponse)
    def page(request: fastapi.Request) -> Response:
        return HTMLResponse(PAGE.format(nonce=request.state.csp_nonce))

    @app.get("/injected", response_class=HTMLResponse)
    def injected() -> Response:
        return HTMLResponse("<!DOCTYPE html><body><script>document.body.textContent = 'ran'</script></body>")

    @app.get("/page.js", include_in_schema=False)
    def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    @app.get("/page.css", include_in_schema=False)
    def style() -> Response:
        return Response("body { font-family: sans-serif }", media_type="text/css")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/data")
    def data() -> Response:
        return JSONResponse({"say": "fetched data arrived"})

    return app
