"""Orders at pebble, Let's Encrypt's test server: each challenge, each kind of name, whatever pebble makes hard."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from patience import until
from pebble import HMAC, KID, Pebble, pebble
from solvers import DNSSolver, HTTPSolver, Recording, TLSALPNSolver

from asgi_tls.renewal.acme.account import new_account_key, thumbprint
from asgi_tls.renewal.acme.ca import CA, ExternalAccount, Issued, OrderRequest
from asgi_tls.renewal.acme.orders import Solver, obtain, renewal_info, revoke
from asgi_tls.renewal.acme.problems import ACMEError

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("acme"), blocked=["blocked.example"]) as running:
        yield running


def ca_of(server: Pebble, **more: Any) -> CA:
    return CA("pebble", server.url, server.ca_file, **more)


def order(
    server: Pebble | CA, solver: Solver, *names: str, own: bytes | None = None, account: str | None = None, **more: Any
) -> Issued:
    request = OrderRequest(names or ("www.example.test",), more.pop("challenge", "http-01"), **more)
    ca = server if isinstance(server, CA) else ca_of(server)
    return obtain(ca, own or new_account_key(), account, request, solver, deadline=time.monotonic() + 300)


def leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.pem)


def test_http_01(server: Pebble, tmp_path: Path) -> None:
    key = new_account_key()
    with HTTPSolver.serving(server.http_port) as solver:
        issued = order(server, solver, "www.example.test", "xn--bcher-kva.example.test", own=key)
    assert {each[0] for each in solver.presented} == {"www.example.test", "xn--bcher-kva.example.test"}
    assert all(authorization == f"{token}.{thumbprint(key)}" for _, _, token, authorization in solver.presented)
    assert sorted(solver.cleaned) == sorted(solver.presented)
    names = leaf(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {*names.get_values_for_type(x509.DNSName)} == {"www.example.test", "xn--bcher-kva.example.test"}
    assert (issued.not_before, issued.not_after) == (
        leaf(issued).not_valid_before_utc,
        leaf(issued).not_valid_after_utc,
    )
    assert issued.account_url.startswith("https://localhost:")
    # OpenSSL takes the file as it is, chain and key together.
    pair = tmp_path / "pair.pem"
    pair.write_bytes(issued.pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
    assert issued.pem.startswith(b"-----BEGIN CERTIFICATE-----")
    assert issued.pem.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("name", ["www.example.test", "127.0.0.1"])
def test_tls_alpn_01(server: Pebble, name: str) -> None:
    with TLSALPNSolver.serving(server.tls_port) as solver:
        issued = order(server, solver, name, challenge="tls-alpn-01")
    assert solver.cleaned == solver.presented
    assert leaf(issued).not_valid_after_utc > datetime.now(UTC)


def test_dns_01_of_a_wildcard_beside_its_domain(server: Pebble) -> None:
    solver = DNSSolver(server)
    issued = order(server, solver, "wild.test", "*.wild.test", challenge="dns-01")
    assert {each[0] for each in solver.presented} == {"wild.test", "*.wild.test"}
    names = leaf(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {*names.get_values_for_type(x509.DNSName)} == {"wild.test", "*.wild.test"}


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_wildcard_needs_dns_01(server: Pebble, challenge: str) -> None:
    with pytest.raises(ACMEError, match=rf"does not offer {challenge} for \*\.wild\.test; it offers dns-01") as caught:
        order(server, Recording(), "*.wild.test", challenge=challenge)
    assert caught.value.kind == "no-challenge"


def test_an_ip_address_by_http_01(server: Pebble) -> None:
    with HTTPSolver.serving(server.http_port) as solver:
        issued = order(server, solver, "127.0.0.1")
    names = leaf(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


@pytest.mark.parametrize(("key", "kind"), [("ecdsa", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)])
def test_each_kind_of_key_is_new_each_time(server: Pebble, key: str, kind: type) -> None:
    with HTTPSolver.serving(server.http_port) as solver:
        one, other = (order(server, solver, key=key) for _ in range(2))
    keys = [load_pem_private_key(each.pem[each.pem.index(b"-----BEGIN PRIVATE") :], None) for each in (one, other)]
    assert all(isinstance(each, kind) for each in keys)
    assert keys[0].public_key() != keys[1].public_key()


@pytest.mark.parametrize(
    ("nonce_reject", "authz_reuse", "sleep"), [(50, 0, False), (50, 100, False), (0, 100, True), (20, 0, True)]
)
def test_whatever_pebble_makes_hard(tmp_path: Path, nonce_reject: int, authz_reuse: int, sleep: bool) -> None:
    key = new_account_key()
    hard = pebble(tmp_path, nonce_reject=nonce_reject, authz_reuse=authz_reuse, sleep=sleep)
    with hard as server, HTTPSolver.serving(server.http_port) as solver:
        first = order(server, solver, own=key)
        order(server, solver, own=key, account=first.account_url)
        assert server.orders == len(server.issued) == 2
    assert len(solver.presented) == (1 if authz_reuse else 2)


def test_an_external_account(tmp_path: Path) -> None:
    with pebble(tmp_path, external_account=True) as server, HTTPSolver.serving(server.http_port) as solver:
        with pytest.raises(ACMEError, match="wants an external account") as caught:
            order(server, solver)
        assert caught.value.kind == "account-refused"
        for kid, hmac in [("kid-2", HMAC), (KID, "AAAA"), (KID, "not/base64url")]:
            with pytest.raises(ACMEError) as caught:
                order(ca_of(server, external_account=ExternalAccount(kid, hmac)), solver)
            assert caught.value.kind in {"account-refused", "refused"}
            assert hmac not in str(caught.value)
        order(ca_of(server, external_account=ExternalAccount(KID, HMAC), contact=("a@example.test",)), solver)
        assert server.orders == 1


def test_a_profile(tmp_path: Path) -> None:
    lifetimes = {"classic": 90 * 86400, "shortlived": 6 * 86400}
    with pebble(tmp_path, profiles=lifetimes) as server, HTTPSolver.serving(server.http_port) as solver:
        for profile, seconds in lifetimes.items():
            issued = order(server, solver, profile=profile)
            assert issued.not_after - issued.not_before == timedelta(seconds=seconds - 1)
        with pytest.raises(ACMEError, match="has no profile 'tlsserver'; it has classic, shortlived") as caught:
            order(server, solver, profile="tlsserver")
        assert caught.value.kind == "profile"
        assert server.orders == 2


def test_an_account_that_the_ca_does_not_know_is_registered_once(tmp_path: Path) -> None:
    key = new_account_key()
    with pebble(tmp_path) as server, HTTPSolver.serving(server.http_port) as solver:
        first = order(server, solver, own=key)
        server.stop()
        server.start()
        second = order(server, solver, own=key, account=first.account_url)
        assert second.account_url != first.account_url
        assert order(server, solver, own=key).account_url == second.account_url  # asked for, not made again
        assert server.orders == 3


def test_renewal_information_and_replaces(server: Pebble) -> None:
    key = new_account_key()
    ca = ca_of(server)
    with HTTPSolver.serving(server.http_port) as solver:
        first = order(server, solver, own=key)
        assert first.certificate_id is not None
        info = renewal_info(ca, first.certificate_id)
        assert info is not None
        assert first.not_before < info.start < info.end < first.not_after
        start = datetime.now(UTC).replace(microsecond=0)
        window = {"start": start.isoformat(), "end": (start + timedelta(seconds=30)).isoformat()}
        said = {"suggestedWindow": window, "explanationURL": "https://ca.example/incident"}
        server.answer_renewal_info(first.pem, said)
        info = renewal_info(ca, first.certificate_id)
        assert info is not None
        assert (info.start, info.explanation) == (start, "https://ca.example/incident")
        before = server.replaced
        more: dict[str, Any] = {"own": key, "account": first.account_url, "replaces": first.certificate_id}
        # pebble calls an order valid a moment before it notes whose certificate it is, and what it has replaced.
        for _ in range(5):
            if server.replaced == before:
                order(server, solver, **more)
        until(lambda: "marked as replaced" in server.log)
        assert server.replaced == before + 1
        # It was replaced: the same order once more without `replaces`.
        order(server, solver, **more)
        assert server.replaced == before + 1
        # Another account's, and one that no CA knows.
        order(server, solver, replaces=first.certificate_id)
        order(server, solver, replaces="AAAA.AQ")
        assert server.replaced == before + 1
    for text in ("{", "{}", '{"suggestedWindow": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}}'):
        server.answer_renewal_info(first.pem, text)
        with pytest.raises(ACMEError) as caught:
            renewal_info(ca, first.certificate_id)
        assert caught.value.kind == "invalid-answer"


@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_a_revoked_certificate_is_due_at_once(server: Pebble, key: str) -> None:
    with HTTPSolver.serving(server.http_port) as solver:
        issued = order(server, solver, key=key)
    serial = leaf(issued).serial_number
    assert server.status(serial) == "Valid"
    revoke(ca_of(server), issued.pem, 4)
    assert server.status(serial) == "Revoked"
    assert issued.certificate_id is not None
    info = renewal_info(ca_of(server), issued.certificate_id)
    assert info is not None
    assert info.end < datetime.now(UTC)
    with pytest.raises(ACMEError, match="refuses the revocation"):
        revoke(ca_of(server), issued.pem, 4)


def test_a_challenge_that_fails_is_told_in_the_words_of_the_ca(server: Pebble) -> None:
    solver = Recording()
    with pytest.raises(ACMEError, match=r"^pebble could not validate www\.example\.test by http-01: ") as caught:
        order(server, solver)
    assert caught.value.kind == "challenge-failed"
    assert "connection refused" in str(caught.value)
    assert caught.value.problems[0].type == "connection"
    assert solver.cleaned == solver.presented


def test_a_name_that_the_ca_refuses(server: Pebble) -> None:
    with pytest.raises(ACMEError, match=r"refuses the order: .*blocked\.example") as caught:
        order(server, Recording(), "blocked.example")
    assert caught.value.kind == "rejected"


def test_a_ca_that_is_not_trusted(server: Pebble) -> None:
    with pytest.raises(ACMEError, match="its certificate is not trusted: ") as caught:
        order(replace(ca_of(server), ca_file=None), Recording())
    assert caught.value.kind == "unreachable"


def test_a_ca_that_is_down(tmp_path: Path) -> None:
    with pebble(tmp_path) as server:
        server.stop()
        with pytest.raises(ACMEError, match="Connection refused") as caught:
            order(server, Recording())
    assert caught.value.kind == "unreachable"


def test_what_alive_raises_ends_the_order(server: Pebble) -> None:
    class LostError(Exception):
        pass

    solver = Recording()

    def alive() -> None:
        if solver.presented:
            raise LostError

    with pytest.raises(LostError):
        obtain(
            ca_of(server), new_account_key(), None, OrderRequest(("www.example.test",), "http-01"), solver,
            deadline=time.monotonic() + 300, alive=alive,
        )  # fmt: skip
    assert solver.cleaned == solver.presented
