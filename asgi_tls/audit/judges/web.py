"""Findings about HTTP: plain HTTP, its redirect, and the headers over HTTPS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from asgi_tls.audit.judges.findings import Finding
from asgi_tls.audit.probes.http import Answer, Plain
from asgi_tls.audit.probes.observed import Observed
from asgi_tls.audit.probes.target import Target
from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.fields import CSP_NAMES, HSTS_NAME, defaults
from asgi_tls.middleware.hsts import HSTS, PRELOAD_MIN_AGE

YEAR: Final = PRELOAD_MIN_AGE
_JUDGED: Final = frozenset({"x-content-type-options", "x-frame-options"})
_SCRIPTS: Final = ("script-src", "script-src-elem", "default-src")


def judge_web(seen: Observed) -> Iterator[Finding]:
    """Plain HTTP on both ports, then the headers of HTTPS."""
    target = seen.target
    if seen.plain_tls is not None:
        yield from _on_the_tls_port(seen.plain_tls)
    if seen.plain_http is not None:
        yield from _on_the_http_port(seen.plain_http, target)
    if seen.answer is None:
        yield Finding("http-none")
        return
    hop = seen.answer.leads_to(str(target))
    if hop is not None and hop.scheme == "http":
        yield Finding("redirect-downgrade", seen.answer.location or "")
    yield from _hsts(seen.answer, target)
    yield from _headers(seen.answer)
    yield from _cookies(seen.answer)


def hsts_of(answer: Answer) -> HSTS | None:
    """What a browser would take from it: the first field, if it can be read."""
    value = answer.first(HSTS_NAME)
    return None if value is None else _parsed(value)


def preload_eligible(seen: Observed) -> bool:
    """Whether a browser's preload list would take the host (hstspreload.org), once `preload` is in its HSTS.

    If port 80 answers, its first redirect must lead to https on the same host. The list has neither addresses nor
    loopback names.
    """
    policy = None if seen.answer is None else hsts_of(seen.answer)
    if policy is None or not policy.include_subdomains or policy.max_age < YEAR or not seen.target.needs_hsts:
        return False
    plain = seen.plain_http
    if plain is None or not plain.open:
        return True
    hop = None if plain.answer is None else plain.answer.leads_to(seen.target.plain_url)
    return hop is not None and hop.scheme == "https" and hop.host == seen.target.host


def _on_the_tls_port(plain: Plain) -> Iterator[Finding]:
    if plain.answer is None:
        yield Finding("plain-silent")
    elif plain.answer.status < 300:
        yield Finding("http-on-tls-port", f"status {plain.answer.status}")


def _on_the_http_port(plain: Plain, target: Target) -> Iterator[Finding]:
    answer = plain.answer
    if not plain.open:
        yield Finding("http-closed", f"port {target.http_port}")
        return
    if answer is None:
        yield Finding("http-refused", "no HTTP answer")
        return
    if answer.first(HSTS_NAME) is not None:
        yield Finding("hsts-over-http")
    hop = answer.leads_to(target.plain_url)
    if hop is None and answer.status < 300:
        yield Finding("redirect-missing", f"status {answer.status}")
    elif hop is None:
        yield Finding("http-refused", f"status {answer.status}")
    elif hop.scheme != "https":
        yield Finding("redirect-not-https", answer.location or "")
    elif hop.host != target.host:
        yield Finding("redirect-other-host", answer.location or "")


def _hsts(answer: Answer, target: Target) -> Iterator[Finding]:
    values = answer.all(HSTS_NAME)
    if not values:
        if target.needs_hsts:
            yield Finding("hsts-missing")
        return
    if len(values) > 1:
        yield Finding("hsts-repeated", " | ".join(values))
    policy = _parsed(values[0])
    if policy is None:
        yield Finding("hsts-malformed", values[0])
        return
    if policy.max_age == 0:
        if not target.is_loopback:
            yield Finding("hsts-zero")
    elif policy.max_age < YEAR:
        yield Finding("hsts-short", f"max-age={policy.max_age}")
    if _wants_preload(values[0]) and not policy.preload:
        yield Finding("hsts-preload", values[0])


def _parsed(value: str) -> HSTS | None:
    """A preload without its conditions is left out: it is judged by itself."""
    try:
        return HSTS.parse(value)
    except ConfigurationError:
        rest = ";".join(each for each in value.split(";") if each.strip().lower() != "preload")
    try:
        return HSTS.parse(rest) if _wants_preload(value) else None
    except ConfigurationError:
        return None


def _wants_preload(value: str) -> bool:
    return any(each.strip().lower() == "preload" for each in value.split(";"))


def _headers(answer: Answer) -> Iterator[Finding]:
    policies = [_policy(value) for value in answer.all(CSP_NAMES[0])]
    if not policies:
        yield Finding("csp-missing")
    elif unsafe := _unsafe(policies):
        yield Finding("csp-unsafe", unsafe)
    if (answer.first("x-content-type-options") or "").lower() != "nosniff":
        yield Finding("content-type-options")
    framed = any("frame-ancestors" in policy for policy in policies)
    if not framed and (answer.first("x-frame-options") or "").lower() not in {"deny", "sameorigin"}:
        yield Finding("framing")
    missing = [name for name in defaults() if name not in _JUDGED and answer.first(name) is None]
    if missing:
        yield Finding("headers-advised", ", ".join(missing))
    server = answer.first("server") or ""
    if re.search(r"/\s*v?\d", server):
        yield Finding("server-version", server)


def _policy(value: str) -> dict[str, str]:
    """Directives by name; the first of a name counts (CSP Level 3 section 2.2.1)."""
    found: dict[str, str] = {}
    for directive in filter(None, (each.strip() for each in value.split(";"))):
        name, _, sources = directive.partition(" ")
        found.setdefault(name.lower(), sources.strip().lower())
    return found


def _unsafe(policies: Sequence[dict[str, str]]) -> str | None:
    """What lets inline scripts run, when every policy does: all of them must agree."""
    reasons = []
    for policy in policies:
        sources = next((policy[name] for name in _SCRIPTS if name in policy), None)
        if sources is None:
            reasons.append("no script-src and no default-src")
        elif "'unsafe-eval'" in sources:
            reasons.append("'unsafe-eval'")
        # A nonce or a hash makes browsers ignore 'unsafe-inline' (CSP Level 3 section 6.7.3.2).
        elif "'unsafe-inline'" in sources and not re.search(r"'(?:nonce-|sha(?:256|384|512)-)", sources):
            reasons.append("'unsafe-inline'")
        else:
            return None
    return ", ".join(dict.fromkeys(reasons))


def _cookies(answer: Answer) -> Iterator[Finding]:
    insecure, prefixed, advised = [], [], []
    for value in answer.all("set-cookie"):
        pair, *attributes = (each.strip() for each in value.split(";"))
        name = pair.partition("=")[0].strip()
        found = {each.partition("=")[0].strip().lower(): each.partition("=")[2].strip() for each in attributes}
        if "secure" not in found:
            insecure.append(name)
        if _breaks_prefix(name, found):
            prefixed.append(name)
        if not {"httponly", "samesite"} <= {*found}:
            advised.append(name)
    for finding, names in (("cookie-insecure", insecure), ("cookie-prefix", prefixed), ("cookie-advised", advised)):
        if names:
            yield Finding(finding, ", ".join(names))


def _breaks_prefix(name: str, attributes: dict[str, str]) -> bool:
    lower = name.lower()
    if lower.startswith("__host-"):
        return "secure" not in attributes or "domain" in attributes or attributes.get("path") != "/"
    return lower.startswith("__secure-") and "secure" not in attributes
