"""Each server has one thing wrong, and the audit finds that and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from audited import HEADERS, MODERN_CIPHERS, Plain, examine, ids, nginx, s_server
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dh
from cryptography.hazmat.primitives.serialization import Encoding, ParameterFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki import DAY, PKI, Pair

pytestmark = pytest.mark.system

WEAK = f"{MODERN_CIPHERS}:{{}}:@SECLEVEL=0"
ONLY_TLS12_AND_13 = ("-no_tls1", "-no_tls1_1")
# The second Oakley group, RFC 2409 section 6.2. OpenSSL serves none that is smaller.
OAKLEY_1024 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI("Audit")


@dataclass(frozen=True)
class Case:
    """A server of `openssl s_server`, and what is found. `pair` makes its certificate."""

    found: set[str]
    grade: str
    options: tuple[str, ...] = ()
    ciphers: str = MODERN_CIPHERS
    pair: Callable[[PKI], Pair] = lambda pki: pki.leaf()
    files: Callable[[PKI, Pair, Path], tuple[str, ...]] = lambda _pki, _pair, _directory: ()


def weak(found: str, grade: str, cipher: str, **how: Any) -> Case:
    return Case({found}, grade, ONLY_TLS12_AND_13, WEAK.format(cipher), **how)


def rsa(pki: PKI) -> Pair:
    return pki.leaf(key="rsa")


def parameters(prime: int) -> Callable[[PKI, Pair, Path], tuple[str, ...]]:
    def write(_pki: PKI, _pair: Pair, directory: Path) -> tuple[str, ...]:
        numbers = dh.DHParameterNumbers(prime, 2).parameters()
        (directory / "dh.pem").write_bytes(numbers.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3))
        return "-dhparam", str(directory / "dh.pem")

    return write


def staple(status: ocsp.OCSPCertStatus, age: timedelta) -> Callable[[PKI, Pair, Path], tuple[str, ...]]:
    def write(pki: PKI, pair: Pair, directory: Path) -> tuple[str, ...]:
        then = pki.now - age
        revoked = then if status is ocsp.OCSPCertStatus.REVOKED else None
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=pair.certificate,
                issuer=pki.intermediate.certificate,
                algorithm=hashes.SHA1(),
                cert_status=status,
                this_update=then,
                next_update=then + 7 * DAY,
                revocation_time=revoked,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, pki.intermediate.certificate)
            .sign(pki.intermediate.key, hashes.SHA256())
        )
        (directory / "ocsp.der").write_bytes(response.public_bytes(Encoding.DER))
        return "-status_file", str(directory / "ocsp.der")

    return write


def three_deep(pki: PKI, *, order: tuple[int, ...]) -> Pair:
    """A leaf under two intermediates, which are sent in this order."""
    upper = pki.ca("Upper", issuer=pki.root, path_length=1)
    lower = pki.ca("Lower", issuer=upper, path_length=0)
    leaf = pki.leaf(issuer=lower)
    return Pair(leaf.certificate, leaf.key, tuple(leaf.issuers[index] for index in order))


CASES: Mapping[str, Case] = {
    "nothing": Case(set(), "A+"),
    "nothing, with RSA": Case(set(), "A+", pair=rsa),
    "nothing, with DHE of 2048 bits": Case(
        set(), "A+", ciphers=f"{MODERN_CIPHERS}:DHE-RSA-AES128-GCM-SHA256", pair=rsa
    ),
    "nothing, with a good staple": Case(set(), "A+", ("-status",), files=staple(ocsp.OCSPCertStatus.GOOD, DAY)),
    "nothing, with a staple in TLS 1.3 alone": Case(
        set(), "A+", ("-status", "-tls1_3"), files=staple(ocsp.OCSPCertStatus.GOOD, DAY)
    ),
    "two intermediates": Case(set(), "A+", pair=lambda pki: three_deep(pki, order=(0, 1))),
    "TLS 1.0 and 1.1": Case(
        {"protocol-tls10", "protocol-tls11", "suite-cbc"}, "B", ciphers=WEAK.format("ECDHE-ECDSA-AES128-SHA")
    ),
    "TLS 1.1": Case({"protocol-tls11", "suite-cbc"}, "B", ("-no_tls1",), WEAK.format("ECDHE-ECDSA-AES128-SHA")),
    "TLS 1.0 alone": Case(
        {"protocol-tls10", "protocol-outdated", "suite-cbc"}, "F", ("-tls1",), WEAK.format("ECDHE-ECDSA-AES128-SHA")
    ),
    "no TLS 1.3": Case({"protocol-no-tls13"}, "A-", ("-no_tls1_3",)),
    "NULL": weak("suite-null", "F", "ECDHE-ECDSA-NULL-SHA"),
    "anonymous": weak("suite-anonymous", "F", "AECDH-AES128-SHA"),
    "no forward secrecy": weak("suite-static", "B", "AES128-GCM-SHA256", pair=rsa),
    "CBC": weak("suite-cbc", "A", "ECDHE-ECDSA-AES128-SHA256"),
    "CCM_8": weak("suite-short-tag", "A", "ECDHE-ECDSA-AES128-CCM8"),
    "DH of 1024 bits": weak("dh-weak", "B", "DHE-RSA-AES128-GCM-SHA256", pair=rsa, files=parameters(OAKLEY_1024)),
    "a small curve": Case(
        {"group-weak"}, "B", (*ONLY_TLS12_AND_13, "-groups", "X25519:P-256:P-192"), WEAK.format("ECDHE+AESGCM"), rsa
    ),
    "no resumption": Case({"resumption-none"}, "A+", ("-no_ticket", "-no_cache", "-num_tickets", "0")),
    "leaf alone": Case({"chain-incomplete"}, "T", pair=lambda pki: pki.leaf().alone()),
    "wrong order": Case({"chain-order"}, "A", pair=lambda pki: three_deep(pki, order=(1, 0))),
    "an intermediate is missing": Case({"not-trusted"}, "T", pair=lambda pki: three_deep(pki, order=(0,))),
    "a stranger in the chain": Case(
        {"chain-unrelated"},
        "A+",
        pair=lambda pki: Pair(
            (leaf := pki.leaf()).certificate, leaf.key, (*leaf.issuers, PKI("Other").root.certificate)
        ),
    ),
    "self-signed": Case({"self-signed"}, "T", pair=lambda pki: pki.leaf(self_signed=True)),
    "another CA": Case({"not-trusted"}, "T", pair=lambda _pki: PKI("Other").leaf()),
    "expired": Case({"expired"}, "T", pair=lambda pki: pki.expired("localhost")),
    "not valid yet": Case({"not-yet-valid"}, "T", pair=lambda pki: pki.not_yet_valid("localhost")),
    "an expired intermediate": Case(
        {"intermediate-expired"},
        "T",
        pair=lambda pki: pki.leaf(
            issuer=pki.ca("Old", issuer=pki.root, not_before=pki.now - 9 * DAY, not_after=pki.now - DAY)
        ),
    ),
    "due for renewal": Case(
        {"expiring"}, "A+", pair=lambda pki: pki.leaf(not_before=pki.now - 70 * DAY, not_after=pki.now + 20 * DAY)
    ),
    "about to expire": Case(
        {"expiring-soon"}, "A-", pair=lambda pki: pki.leaf(not_before=pki.now - 85 * DAY, not_after=pki.now + 5 * DAY)
    ),
    "too long a life": Case({"lifetime-long"}, "A+", pair=lambda pki: pki.leaf(not_after=pki.now + 1000 * DAY)),
    "another name": Case({"name-mismatch"}, "M", pair=lambda pki: pki.leaf("other.example", "*.localhost")),
    "no name": Case({"no-san"}, "M", pair=lambda pki: pki.leaf(san=False)),
    "RSA of 1024 bits": weak("key-weak", "F", "ECDHE-RSA-AES128-GCM-SHA256", pair=lambda pki: pki.leaf(key="rsa1024")),
    "Ed25519": Case({"key-unusual"}, "A+", pair=lambda pki: pki.leaf(key="ed25519")),
    "SHA-1": weak(
        "signature-weak", "F", "ECDHE-RSA-AES128-GCM-SHA256", pair=lambda pki: pki.leaf(key="rsa", signature="sha1")
    ),
    "for clients": Case({"usage"}, "T", pair=lambda pki: pki.leaf(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))),
    "a CA as a server": Case({"leaf-is-ca"}, "A", pair=lambda pki: pki.leaf(ca=True)),
    "must staple": Case({"must-staple"}, "B", pair=lambda pki: pki.leaf(must_staple=True)),
    "a revoked certificate": Case(
        {"staple-revoked"}, "F", ("-status",), files=staple(ocsp.OCSPCertStatus.REVOKED, DAY)
    ),
    "a stale staple": Case({"staple-stale"}, "A-", ("-status",), files=staple(ocsp.OCSPCertStatus.GOOD, 9 * DAY)),
    "a stale staple in TLS 1.3 alone": Case(
        {"staple-stale"}, "A-", ("-status", "-tls1_3"), files=staple(ocsp.OCSPCertStatus.GOOD, 9 * DAY)
    ),
}


@pytest.mark.filterwarnings("ignore:Diffie-Hellman")  # of cryptography, which makes the parameters
@pytest.mark.parametrize("name", CASES)
def test_openssl(pki: PKI, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    pair = case.pair(pki)
    options = (*case.options, *case.files(pki, pair, tmp_path))
    with s_server(tmp_path, pair, *options, ciphers=case.ciphers) as port:
        report = examine(port, pki, tmp_path, path="/index")
    assert ids(report) == case.found, report.findings
    assert report.grade == case.grade


def without(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in HEADERS.items() if name not in names)


def changed(**values: str) -> tuple[tuple[str, str], ...]:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return tuple({**HEADERS, **named}.items())


HSTS = "Strict-Transport-Security"


@dataclass(frozen=True)
class WebCase:
    """A server of nginx, and what is found."""

    found: set[str]
    grade: str
    how: Mapping[str, Any] = field(default_factory=dict)
    plain: Plain = Plain()  # noqa: RUF009 -- frozen
    host: str = "localhost"


def answers(line: str) -> dict[str, str]:
    return {"more": f"location / {{ {line} }}"}


def with_headers(headers: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {"headers": headers}


ELSEWHERE = Plain(location="https://site.example:{port}/")

WEB_CASES: Mapping[str, WebCase] = {
    "nothing": WebCase(set(), "A+"),
    "nothing, with HTTP/2": WebCase(set(), "A+", {"listen": "http2"}),
    "no HSTS": WebCase({"hsts-missing"}, "A", with_headers(without(HSTS)), ELSEWHERE, "site.example"),
    "no HSTS for this machine": WebCase(set(), "A+", with_headers(without(HSTS))),
    "short HSTS": WebCase({"hsts-short"}, "A", with_headers(changed(Strict_Transport_Security="max-age=86400"))),
    "HSTS of zero": WebCase(
        {"hsts-zero"},
        "A",
        with_headers(changed(Strict_Transport_Security="max-age=0")),
        ELSEWHERE,
        "site.example",
    ),
    "misspelt HSTS": WebCase(
        {"hsts-malformed"}, "A", with_headers(changed(Strict_Transport_Security="max-age=63072000; includeSubdomain"))
    ),
    "HSTS twice": WebCase({"hsts-repeated"}, "A+", with_headers((*HEADERS.items(), (HSTS, "max-age=1")))),
    "preload alone": WebCase(
        {"hsts-preload"}, "A+", with_headers(changed(Strict_Transport_Security="max-age=63072000; preload"))
    ),
    "HSTS over HTTP": WebCase({"hsts-over-http"}, "A+", plain=Plain(headers={HSTS: "max-age=63072000"})),
    "no CSP": WebCase({"csp-missing"}, "A+", with_headers(without("Content-Security-Policy"))),
    "a weak CSP": WebCase(
        {"csp-unsafe"},
        "A+",
        with_headers(changed(Content_Security_Policy="default-src 'self' 'unsafe-inline'; frame-ancestors 'self'")),
    ),
    "no nosniff": WebCase({"content-type-options"}, "A+", with_headers(without("X-Content-Type-Options"))),
    "frames": WebCase(
        {"framing"},
        "A+",
        with_headers(
            tuple(
                (name, "default-src 'none'" if name == "Content-Security-Policy" else value)
                for name, value in without("X-Frame-Options")
            )
        ),
    ),
    "a cookie without Secure": WebCase(
        {"cookie-insecure"}, "A", with_headers((*HEADERS.items(), ("Set-Cookie", "a=b; HttpOnly; SameSite=Lax")))
    ),
    "a cookie with a false prefix": WebCase(
        {"cookie-prefix"},
        "A+",
        with_headers((*HEADERS.items(), ("Set-Cookie", "__Host-a=b; Secure; Path=/x; HttpOnly; SameSite=Lax"))),
    ),
    "back to plain HTTP": WebCase({"redirect-downgrade"}, "C", answers("return 302 http://localhost/;")),
    "HTTP on the TLS port": WebCase(
        {"http-on-tls-port"},
        "F",
        {"more": 'location / { return 200 "ok"; } error_page 497 =200 /hello; location = /hello { return 200 "hi"; }'},
    ),
    "no redirect": WebCase({"redirect-missing"}, "A", plain=Plain(200, None)),
    "a redirect to http": WebCase({"redirect-not-https"}, "A", plain=Plain(301, "http://localhost/")),
    "a redirect elsewhere": WebCase({"redirect-other-host"}, "A+", plain=Plain(301, "https://www.example/")),
}


@pytest.mark.parametrize("name", WEB_CASES)
def test_nginx(pki: PKI, tmp_path: Path, name: str) -> None:
    case = WEB_CASES[name]
    with nginx(tmp_path, pki.leaf(case.host), **case.how) as port:
        report = examine(port, pki, tmp_path, plain=case.plain, host=case.host)
    assert ids(report) == case.found, report.findings
    assert report.grade == case.grade


def test_there_are_enough_of_them() -> None:
    found = [*(case.found for case in CASES.values()), *(case.found for case in WEB_CASES.values())]
    assert len([each for each in found if each]) >= 20
