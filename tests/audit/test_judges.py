"""From what was seen to findings and a grade, without a network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from audited import HEADERS
from hypothesis import given
from hypothesis import strategies as st
from pki import PKI

from asgi_tls import INTERMEDIATE, MODERN
from asgi_tls.audit import http
from asgi_tls.audit.findings import KINDS, SEVERITIES, Finding
from asgi_tls.audit.grade import GRADES, is_worse
from asgi_tls.audit.groups import Groups
from asgi_tls.audit.handshakes import Resumption, Trust
from asgi_tls.audit.http import Answer
from asgi_tls.audit.judge_certificate import covers
from asgi_tls.audit.observed import Hellos, Observed, ServedChain
from asgi_tls.audit.plain import Plain
from asgi_tls.audit.report import judge
from asgi_tls.audit.staple import read_staple
from asgi_tls.audit.suites import Suites
from asgi_tls.audit.target import parse_target
from asgi_tls.errors import ConfigurationError

AT = datetime.now(UTC)
CHAIN = PKI("Judged").leaf()
GOOD = Answer(status=200, fields=tuple(HEADERS.items()))
TLS12 = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)
TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def seen(**changes: Any) -> Observed:
    """A server without fault, and what is changed of it."""
    served = ServedChain(
        certificates=(CHAIN.certificate, *CHAIN.issuers), staple=None, staple_state="absent", trust=Trust(trusted=True)
    )
    good: dict[str, Any] = {
        "target": parse_target("https://localhost"),
        "address": "127.0.0.1",
        "at": AT,
        "versions": {"SSLv3": False, "TLSv1.0": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True},
        "suites": {
            "TLSv1.2": Suites(names=TLS12, preference=None),
            "TLSv1.3": Suites(names=TLS13, preference="client"),
        },
        "groups": Groups(names=("X25519MLKEM768", "X25519", "P-256", "P-384"), preference="server"),
        "hellos": Hellos(secure_renegotiation=True, extended_master_secret=True, downgrade_marked=True),
        "chains": (served,),
        "answer": GOOD,
        "plain_http": Plain(answer=Answer(status=308, fields=(("Location", "https://localhost/"),))),
    }
    return Observed(**{**good, **changes})


def found(observed: Observed, **how: Any) -> tuple[set[str], str]:
    report = judge(observed, **how)
    return {finding.id for finding in report.findings}, report.grade


def test_nothing_is_wrong() -> None:
    assert found(seen(), profile=INTERMEDIATE) == (set(), "A+")


@pytest.mark.parametrize(
    ("changes", "expected", "grade"),
    [
        ({"versions": {"SSLv3": True, "TLSv1.2": True, "TLSv1.3": True}}, {"protocol-sslv3"}, "F"),
        ({"versions": {"TLSv1.1": True, "TLSv1.3": True}}, {"protocol-tls11"}, "B"),
        ({"versions": {"TLSv1.2": True}}, {"protocol-no-tls13"}, "A-"),
        ({"versions": {"TLSv1.3": True}}, set(), "A+"),
        ({"hellos": None}, set(), "A+"),
        ({"hellos": Hellos(compression=True)}, {"compression"}, "C"),
        ({"hellos": Hellos(secure_renegotiation=False)}, {"renegotiation"}, "C"),
        ({"hellos": Hellos(extended_master_secret=False)}, {"extended-master-secret"}, "A+"),
        ({"hellos": Hellos(downgrade_marked=False)}, {"downgrade-unmarked"}, "A"),
        ({"dh_bits": 512}, {"dh-broken"}, "F"),
        ({"dh_bits": 1024}, {"dh-weak"}, "B"),
        ({"dh_bits": 2048}, set(), "A+"),
        ({"suites": {"TLSv1.2": Suites(names=("TLS_RSA_WITH_RC4_128_SHA",), preference=None)}}, {"suite-rc4"}, "C"),
        (
            {"suites": {"TLSv1.2": Suites(names=("TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",), preference=None)}},
            {"suite-64-bit-block"},
            "B",
        ),
        ({"suites": {"TLSv1.2": Suites(names=("TLS_RSA_WITH_DES_CBC_SHA",), preference=None)}}, {"suite-des"}, "F"),
        (
            {"suites": {"TLSv1.2": Suites(names=("TLS_RSA_EXPORT_WITH_RC4_40_MD5",), preference=None)}},
            {"suite-export"},
            "F",
        ),
        ({"old_groups": ("secp192r1", "secp256k1")}, {"group-weak"}, "B"),
        ({"groups": None}, set(), "A+"),
        ({"resumption": (Resumption(version="TLSv1.3", resumed=1, tried=2),)}, {"resumption-partial"}, "A+"),
        ({"resumption": (Resumption(version="TLSv1.2", resumed=0, tried=2),)}, {"resumption-none"}, "A+"),
        ({"refused": 4, "silent": 1}, {"alert-missing"}, "A+"),
        ({"refused": 4, "unanswered": 1}, {"unanswered"}, "A+"),
        ({"client_certificate": True, "answer": None}, {"client-certificate", "http-none"}, "A"),
        ({"answer": None}, {"http-none"}, "A"),
        ({"chains": ()}, set(), "A"),
        ({"unreadable_certificate": True}, {"certificate-unreadable"}, "F"),
        ({"plain_tls": Plain(answer=None)}, {"plain-silent"}, "A+"),
        ({"plain_tls": Plain(answer=Answer(status=200, fields=()))}, {"http-on-tls-port"}, "F"),
        ({"plain_tls": Plain(answer=Answer(status=400, fields=()))}, set(), "A+"),
        ({"plain_http": Plain(answer=None, open=False)}, {"http-closed"}, "A+"),
        ({"plain_http": Plain(answer=None)}, {"http-refused"}, "A+"),
        ({"plain_http": Plain(answer=Answer(status=404, fields=()))}, {"http-refused"}, "A+"),
        (
            {"plain_http": Plain(answer=Answer(status=301, fields=(("Location", "//localhost/"),)))},
            {"redirect-not-https"},
            "A",
        ),
        (
            {"plain_http": Plain(answer=Answer(status=301, fields=(("Location", "https://[/"),)))},
            {"http-refused"},
            "A+",
        ),
    ],
)
def test_findings_and_grade(changes: dict[str, Any], expected: set[str], grade: str) -> None:
    assert found(seen(**changes)) == (expected, grade)


def answer(**headers: str | None) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {name: value for name, value in {**HEADERS, **named}.items() if value is not None}
    return {"answer": Answer(status=200, fields=tuple(fields.items()))}


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


def test_an_address_needs_no_hsts_and_gets_no_plus_without_it() -> None:
    ids, grade = found(seen(target=parse_target("https://127.0.0.1"), **answer(Strict_Transport_Security=None)))
    assert "hsts-missing" not in ids
    assert grade == "M"  # the certificate is for localhost


def test_drift() -> None:
    assert found(seen(), profile=MODERN)[0] == {"profile-versions"}
    wide = {"groups": Groups(names=("X25519", "P-256", "P-384", "P-521"), preference=None)}
    assert found(seen(**wide), profile=INTERMEDIATE)[0] == {"profile-groups", "profile-lacks", "group-no-pq"}
    cbc = {"suites": {"TLSv1.2": Suites(names=("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",), preference=None)}}
    assert found(seen(**cbc), profile=INTERMEDIATE)[0] == {"profile-suites", "profile-lacks"}
    short = answer(Strict_Transport_Security="max-age=31536000")
    assert found(seen(**short), profile=INTERMEDIATE)[0] == {"profile-hsts"}


def untrusted(pair: Any, *, own_ca: bool, reason: str = "unable to get local issuer certificate") -> Observed:
    trust = Trust(trusted=False, self_signed="self-signed" in reason, reason=reason)
    chain = ServedChain(certificates=(pair.certificate, *pair.issuers), staple=None, staple_state="absent", trust=trust)
    return seen(chains=(chain,), own_ca=own_ca)


def test_trust_and_what_is_left_of_it_with_insecure() -> None:
    pki = PKI("Unknown")
    root_signed = pki.leaf(intermediate=False)
    public = pki.leaf(ca_issuers="http://ca.example/issuer.der").alone()
    cases = [
        (untrusted(root_signed, own_ca=False), {"not-trusted"}, set()),
        (untrusted(pki.leaf().alone(), own_ca=True), {"chain-incomplete"}, {"chain-incomplete"}),
        (untrusted(public, own_ca=False), {"chain-incomplete"}, {"chain-incomplete"}),
        (untrusted(pki.leaf(), own_ca=False), {"not-trusted"}, set()),
        (untrusted(pki.leaf(self_signed=True), own_ca=False, reason="self-signed certificate"), {"self-signed"}, set()),
    ]
    for observed, strict, lenient in cases:
        assert found(observed) == (strict, "T")
        assert found(observed, trust_matters=False) == (lenient, "B" if lenient else "A+")


@pytest.mark.parametrize(
    ("names", "addresses", "host", "expected"),
    [
        (["localhost"], [], "localhost", True),
        (["*.example.org"], [], "www.example.org", True),
        (["*.example.org"], [], "a.b.example.org", False),
        (["*.example.org"], [], "example.org", False),
        (["127.0.0.1"], [], "127.0.0.1", False),
        ([], ["127.0.0.1"], "127.0.0.1", True),
        ([], ["::1"], "::1", True),
        (["bad name", "*.", "example.org."], [], "example.org", True),
    ],
)
def test_names(names: list[str], addresses: list[str], host: str, expected: bool) -> None:
    assert covers(names, addresses, host) is expected


@given(st.binary(max_size=300))
def test_any_staple_is_read(data: bytes) -> None:
    assert read_staple(data, CHAIN.certificate).status == "unreadable"


@pytest.mark.parametrize(
    ("data", "status", "fields"),
    [
        (b"HTTP/1.1 200 OK\r\nA: 1\r\na:2\r\n\r\nbody", 200, (("A", "1"), ("a", "2"))),
        (b"HTTP/1.0 404\r\n\r\n", 404, ()),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nX: y\r\n\r\n", 204, (("X", "y"),)),
        (b"HTTP/1.1 200 OK\nX: y\n\n", 200, (("X", "y"),)),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 200, (("X", "a b"),)),
    ],
)
def test_an_answer(data: bytes, status: int, fields: tuple[tuple[str, str], ...]) -> None:
    parsed = http.parse(data)
    assert parsed is not None
    assert (parsed.status, parsed.fields) == (status, fields)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nA: 1",
        b"<html>",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
    ],
)
def test_no_answer(data: bytes) -> None:
    assert http.parse(data) is None


@given(st.binary(max_size=200))
def test_any_head_is_parsed_or_not(data: bytes) -> None:
    parsed = http.parse(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n")
    if parsed is not None:
        judge(seen(answer=parsed))


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("example.com", "example.com", 443, "/"),
        ("localhost:8443", "localhost", 8443, "/"),
        ("https://EXAMPLE.com:8443/a?b=c", "example.com", 8443, "/a?b=c"),
        ("https://[::1]:8443", "::1", 8443, "/"),
        ("https://b\u00fccher.example", "xn--bcher-kva.example", 443, "/"),
    ],
)
def test_targets(url: str, host: str, port: int, path: str) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com", "ftp://example.com", "https://", "https://user@example.com", "https://example.com:0",
        "https://example.com:99999", "https://example.com:x", "https://[::1", "https://exa mple.com",
        "https://example.com/\r\nX: y", "https://example.com/a b", "https://999.1.1.1", "https://*.example.com:1/\u00fc",
    ],
)  # fmt: skip
def test_no_targets(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\. [A-Z]"):
        parse_target(url)


@pytest.mark.parametrize("connect", ["127.0.0.1", "::1:443", "[::1]", "a:0", "a:65536", ":1"])
def test_no_address_to_connect_to(connect: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT|1 to 65535|not a valid host"):
        parse_target("https://example.com", connect=connect)


def test_the_table_of_findings() -> None:
    for name, kind in KINDS.items():
        assert name == name.lower()
        assert kind.severity in SEVERITIES
        assert kind.cap is None or kind.severity != "info"
        assert kind.reference.startswith("https://")
        assert kind.title[-1] not in ".:"
        assert kind.cause.endswith(".")
        assert kind.fix.endswith(".")
        assert Finding(name).kind is kind


def test_the_order_of_grades() -> None:
    assert GRADES == ("A+", "A", "A-", "B", "C", "F", "M", "T")
    assert is_worse("T", "A")
    assert not is_worse("A", "A")
    assert not is_worse("A+", "A")
