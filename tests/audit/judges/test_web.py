"""Plain HTTP, redirects and headers, judged without a network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import answer, found, seen

from asgi_tls import INTERMEDIATE
from asgi_tls.audit.judges.grade import grade
from asgi_tls.audit.probes import http
from asgi_tls.audit.probes.http import Answer, Plain
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import judge
from asgi_tls.audit.report.rows import rows_of


def redirect(location: str) -> dict[str, Any]:
    return {"plain_http": Plain(answer=Answer(status=301, fields=(("Location", location),)))}


@pytest.mark.parametrize(
    ("changes", "expected", "grade"),
    [
        ({"client_certificate": True, "answer": None}, {"client-certificate", "http-none"}, "A"),
        ({"answer": None}, {"http-none"}, "A"),
        ({"plain_tls": Plain(answer=None)}, {"plain-silent"}, "A+"),
        ({"plain_tls": Plain(answer=Answer(status=200, fields=()))}, {"http-on-tls-port"}, "F"),
        ({"plain_tls": Plain(answer=Answer(status=400, fields=()))}, set(), "A+"),
        ({"plain_http": Plain(answer=None, open=False)}, {"http-closed"}, "A+"),
        ({"plain_http": Plain(answer=None)}, {"http-refused"}, "A+"),
        ({"plain_http": Plain(answer=Answer(status=404, fields=()))}, {"http-refused"}, "A+"),
        (redirect("//site.example/"), {"redirect-not-https"}, "A"),
        (redirect("https://site.example./"), set(), "A+"),
        (redirect("https://[/"), {"http-refused"}, "A+"),
    ],
)
def test_findings_and_grade(changes: dict[str, Any], expected: set[str], grade: str) -> None:
    assert found(seen(**changes)) == (expected, grade)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=31536000", set()),
        ('MAX-AGE="63072000" ; IncludeSubDomains', set()),
        ("max-age=31536000; includeSubDomains; preload", set()),
        ("max-age=31535999", {"hsts-short"}),
        ("max-age=0", {"hsts-zero"}),
        ("includeSubDomains", {"hsts-malformed"}),
        ("", {"hsts-malformed"}),
        ("max-age=abc", {"hsts-malformed"}),
        ("max-age=1; max-age=2", {"hsts-malformed"}),
        ("max-age=63072000, max-age=1", {"hsts-malformed"}),
        ("max-age=63072000; preload", {"hsts-preload"}),
        ("max-age=300; includeSubDomains; preload", {"hsts-preload", "hsts-short"}),
        ("max-age=99999999999999999999", set()),
    ],
)
def test_hsts(value: str, expected: set[str]) -> None:
    ids, grade = found(seen(**answer(Strict_Transport_Security=value)))
    assert ids == expected
    assert (grade == "A+") is not bool(expected - {"hsts-preload"})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content_Security_Policy": None}, {"csp-missing"}),
        ({"Content_Security_Policy": "script-src 'self' 'unsafe-inline'"}, {"csp-unsafe"}),
        ({"Content_Security_Policy": "script-src 'nonce-abc' 'unsafe-inline'"}, set()),
        ({"Content_Security_Policy": "default-src 'none'; script-src 'unsafe-eval'"}, {"csp-unsafe"}),
        ({"Content_Security_Policy": "frame-ancestors 'none'"}, {"csp-unsafe"}),
        ({"Content_Security_Policy": "default-src 'none'", "X_Frame_Options": "ALLOWALL"}, {"framing"}),
        ({"Content_Security_Policy": "default-src 'none'", "X_Frame_Options": "sameorigin"}, set()),
        ({"X_Content_Type_Options": "nosnif"}, {"content-type-options"}),
        ({"Referrer_Policy": None}, {"headers-advised"}),
        ({"Server": "nginx/1.22.1"}, {"server-version"}),
        ({"Server": "hypercorn-h11"}, set()),
        ({"Set_Cookie": "a=b; Secure; HttpOnly; SameSite=Lax"}, set()),
        ({"Set_Cookie": "a=b; secure"}, {"cookie-advised"}),
        ({"Set_Cookie": "a=b; HttpOnly; SameSite=Lax"}, {"cookie-insecure"}),
        ({"Set_Cookie": "__Host-a=b; Secure; Path=/; Domain=x; HttpOnly; SameSite=Lax"}, {"cookie-prefix"}),
        ({"Set_Cookie": ""}, {"cookie-insecure", "cookie-advised"}),
    ],
)
def test_headers(headers: dict[str, str | None], expected: set[str]) -> None:
    assert found(seen(**answer(**headers)))[0] == expected


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.7", "[::1]"])
@pytest.mark.parametrize("value", [None, "max-age=0"])
def test_loopback_names_need_no_hsts(host: str, value: str | None) -> None:
    """The middleware sends none there: every port of the machine is one host to a browser."""
    target = parse_target(f"https://{host}")
    observed = seen(target=target, plain_http=None, **answer(Strict_Transport_Security=value))
    report = judge(observed, profile=INTERMEDIATE)
    assert {finding.id for finding in report.findings} == {"name-mismatch"}
    assert grade(observed, ()) == "A+"
    assert dict(rows_of(report))["HSTS"].startswith("none (not expected" if value is None else "max-age=0")


def test_an_address_needs_no_hsts_and_gets_no_plus_without_it() -> None:
    ids, grade = found(seen(target=parse_target("https://127.0.0.1"), **answer(Strict_Transport_Security=None)))
    assert "hsts-missing" not in ids
    assert grade == "M"  # the certificate is for a name


@given(st.binary(max_size=200))
def test_any_head_is_parsed_or_not(data: bytes) -> None:
    parsed = http.parse(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n")  # raises nothing: the head is whole
    if parsed is not None:
        judge(seen(answer=parsed))
