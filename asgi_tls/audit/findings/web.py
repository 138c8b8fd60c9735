"""Findings about HTTP: plain, redirected, and its headers."""

from __future__ import annotations

from typing import Final

from asgi_tls.audit.findings.kinds import Kind, rfc

_MDN: Final = "https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/"
_MIDDLEWARE: Final = "TLSMiddleware sets it"

KINDS: Final = {
    "http-on-tls-port": Kind(
        severity="critical", cap="F", reference=rfc(9110, "4.2.2"),
        title="The HTTPS port serves plain HTTP",
        cause="Requests without TLS get their answer in the clear.",
        fix="Serve TLS and nothing else on this port; a server that lost its key file falls back like this.",
    ),
    "plain-silent": Kind(
        severity="info", reference=rfc(9110, "15.4"),
        title="Plain HTTP on the HTTPS port gets no answer",
        cause="Whoever types http:// for this port sees an empty reply.",
        fix="asgi_tls answers with a redirect.",
    ),
    "http-closed": Kind(
        severity="info", reference=rfc(6797, "7.2"),
        title="The port of plain HTTP is closed",
        cause="Whoever types the name without https:// may not arrive.",
        fix="Nothing, if that is meant. `--tls-redirect-port 80` listens there and leads to https.",
    ),
    "http-refused": Kind(
        severity="info", reference=rfc(6797, "7.2"),
        title="Plain HTTP is refused rather than redirected",
        cause="The port is open, and its answer leads nowhere.",
        fix="Nothing, if that is meant. `--tls-redirect-port 80` leads to https.",
    ),
    "redirect-missing": Kind(
        severity="medium", cap="A", reference=rfc(6797, "7.2"),
        title="Plain HTTP is served and not redirected",
        cause="Everything that is asked for over http:// travels in the clear.",
        fix="Redirect each request to https: TLSMiddleware does, or `--tls-redirect-port 80`.",
    ),
    "redirect-not-https": Kind(
        severity="medium", cap="A", reference=rfc(6797, "7.2"),
        title="The redirect of plain HTTP does not lead to https",
        cause="Its first hop stays in the clear, where anybody on the way can change it.",
        fix="Let the first hop lead to https.",
    ),
    "redirect-other-host": Kind(
        severity="low", reference="https://hstspreload.org/#submission-requirements",
        title="The first redirect leads to another host",
        cause="The first host never gets to set its HSTS, and cannot be preloaded.",
        fix="Redirect to https on the same host first, and from there to the other.",
    ),
    "redirect-downgrade": Kind(
        severity="high", cap="C", reference=rfc(6797, "12.4"),
        title="HTTPS redirects to plain HTTP",
        cause="It takes clients out of TLS.",
        fix="Check what the application thinks of its scheme: behind a proxy it needs the forwarded headers.",
    ),
    "hsts-missing": Kind(
        severity="medium", cap="A", reference=rfc(6797, "7.1"),
        title="No Strict-Transport-Security",
        cause="The first request of each visit may go out in plain HTTP and be hijacked.",
        fix=f"Send `Strict-Transport-Security: max-age=63072000; includeSubDomains`. {_MIDDLEWARE}.",
    ),
    "hsts-repeated": Kind(
        severity="low", reference=rfc(6797, "8.1"),
        title="Strict-Transport-Security is sent more than once",
        cause="Clients read the first one only. Application and proxy may both set it.",
        fix="Set it in one place.",
    ),
    "hsts-malformed": Kind(
        severity="medium", cap="A", reference=rfc(6797, "6.1"),
        title="Strict-Transport-Security is malformed",
        cause="It lacks max-age, repeats a directive, or has a word that browsers ignore.",
        fix="Write `max-age=63072000; includeSubDomains`.",
    ),
    "hsts-short": Kind(
        severity="low", cap="A", reference=rfc(6797, "11.2"),
        title="Strict-Transport-Security holds for less than a year",
        cause="Browsers forget it between visits.",
        fix="Set max-age to 63072000 (two years) once all works over https.",
    ),
    "hsts-zero": Kind(
        severity="medium", cap="A", reference=rfc(6797, "6.1.1"),
        title="Strict-Transport-Security switches itself off",
        cause="A max-age of 0 makes browsers forget the host.",
        fix="Set max-age to 63072000, unless HTTPS is to be given up.",
    ),
    "hsts-preload": Kind(
        severity="low", reference="https://hstspreload.org/#submission-requirements",
        title="preload is announced without its conditions",
        cause="The list wants includeSubDomains and a max-age of at least a year beside it.",
        fix="Add them, or take preload out.",
    ),
    "hsts-over-http": Kind(
        severity="low", reference=rfc(6797, "7.2"),
        title="Strict-Transport-Security is sent over plain HTTP",
        cause="Browsers ignore it there, and the RFC forbids it.",
        fix=f"Send it over TLS only. {_MIDDLEWARE} that way.",
    ),
    "csp-missing": Kind(
        severity="low", reference=f"{_MDN}Content-Security-Policy",
        title="No Content-Security-Policy",
        cause="Injected scripts run unhindered.",
        fix=f"{_MIDDLEWARE}: content=\"api\" or \"web\".",
    ),
    "csp-unsafe": Kind(
        severity="low", reference=f"{_MDN}Content-Security-Policy",
        title="The Content-Security-Policy lets inline scripts run",
        cause="'unsafe-inline' or 'unsafe-eval' takes away most of what the policy is for.",
        fix="Use nonces or hashes.",
    ),
    "content-type-options": Kind(
        severity="low", reference=f"{_MDN}X-Content-Type-Options",
        title="X-Content-Type-Options is not nosniff",
        cause="Browsers guess the type of a response, and may take data for a script.",
        fix=f"Send `X-Content-Type-Options: nosniff`. {_MIDDLEWARE}.",
    ),
    "framing": Kind(
        severity="low", reference=f"{_MDN}Content-Security-Policy/frame-ancestors",
        title="Any site may frame this one",
        cause="Neither frame-ancestors nor X-Frame-Options says who may (clickjacking).",
        fix=f"Send `frame-ancestors 'none'` and `X-Frame-Options: DENY`. {_MIDDLEWARE}.",
    ),
    "headers-advised": Kind(
        severity="info", reference=_MDN,
        title="Further headers are advised",
        cause="Each of them narrows what a browser does with the site.",
        fix="TLSMiddleware sets all of them.",
    ),
    "server-version": Kind(
        severity="info", reference=f"{_MDN}Server",
        title="The Server header tells a version",
        cause="It helps whoever looks for known holes.",
        fix="Switch it off: uvicorn --no-server-header, hypercorn include_server_header, nginx server_tokens.",
    ),
    "cookie-insecure": Kind(
        severity="medium", cap="A", reference=f"{_MDN}Set-Cookie#secure",
        title="A cookie is set without Secure",
        cause="Browsers send it over plain HTTP too, where anybody on the way reads it.",
        fix="Add Secure to each cookie.",
    ),
    "cookie-prefix": Kind(
        severity="low", reference=f"{_MDN}Set-Cookie#cookie_prefixes",
        title="A cookie breaks the rules of its prefix",
        cause="Browsers drop __Secure- and __Host- cookies without Secure, __Host- ones with Domain or another Path.",
        fix="Add Secure; for __Host- also Path=/, and no Domain.",
    ),
    "cookie-advised": Kind(
        severity="info", reference=f"{_MDN}Set-Cookie",
        title="A cookie lacks HttpOnly or SameSite",
        cause="Scripts can read it, or other sites send it.",
        fix="Add HttpOnly unless scripts need it, and SameSite=Lax or Strict.",
    ),
    "http-none": Kind(
        severity="info", reference=rfc(9110),
        title="The server spoke no HTTP over TLS",
        cause="Its headers could not be judged.",
        fix="Nothing, if it is another service. Behind a client certificate, HTTP is out of sight.",
    ),
}  # fmt: skip
