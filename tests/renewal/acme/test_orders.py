"""What a CA may do wrong, or rightly and rarely, over real HTTPS: each ends as a certificate or as the right error."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from fake_ca import HTML, Answer, FakeCA, page, refused
from solvers import Recording

from asgi_tls.renewal.acme.account import new_account_key
from asgi_tls.renewal.acme.ca import CA, ExternalAccount, Issued, OrderRequest
from asgi_tls.renewal.acme.orders import Solver, certificate_id, obtain, renewal_info, revoke
from asgi_tls.renewal.acme.problems import ACMEError

NAME = "www.example.test"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCA]:
    with FakeCA(tmp_path) as running:
        yield running


def order(
    fake: FakeCA,
    *,
    ca: CA | None = None,
    seconds: float = 120,
    account: str | None = None,
    solver: Solver | None = None,
    challenge: Any = "http-01",
    **more: Any,
) -> Issued:
    request = OrderRequest((NAME,), challenge, **more)
    return obtain(
        ca or fake.ca, new_account_key(), account, request, solver or Recording(), deadline=time.monotonic() + seconds
    )


def failed(fake: FakeCA, **how: Any) -> ACMEError:
    with pytest.raises(ACMEError) as caught:
        order(fake, **how)
    assert str(caught.value).isprintable()
    return caught.value


def test_an_order(fake: FakeCA) -> None:
    issued = order(fake)
    assert x509.load_pem_x509_certificate(issued.pem).not_valid_after_utc == issued.not_after
    assert fake.asked("new-order") == fake.asked("finalize") == fake.asked("certificate") == 1
    account = dict(fake.requests)["new-account"]
    assert account == {"termsOfServiceAgreed": True}
    assert dict(fake.requests)["challenge"] == {}


BEFORE = ("directory", "nonce", "new-account")
ROUTES = (*BEFORE, "new-order", "authorization", "challenge", "finalize", "order", "certificate")
READ_AGAIN = {"authorization", "finalize", "order", "certificate"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "answer", [page(502), refused("serverInternal", 500), Answer(how="cut")], ids=["html", "500", "cut"]
)
def test_one_fault(fake: FakeCA, route: str, answer: Answer) -> None:
    """What only reads is asked again: after it there may be a certificate that was counted."""
    fake.say(route, answer)
    if route in READ_AGAIN:
        order(fake)
    else:
        assert failed(fake).kind in {"unavailable", "unreachable"}
    assert fake.asked("new-order") == (0 if route in BEFORE else 1)


def test_html_where_there_should_be_json(fake: FakeCA) -> None:
    fake.always["directory"] = page(200)
    error = failed(fake)
    assert error.kind == "invalid-answer"
    fake.always["directory"] = page(404)
    error = failed(fake)
    assert error.kind == "invalid-answer"
    assert "HTTP status 404 (text/html)" in error.problem
    fake.always["directory"] = page(503)
    assert failed(fake).kind == "unavailable"


DATE = format_datetime(datetime(2031, 1, 1, tzinfo=UTC), usegmt=True)


@pytest.mark.parametrize("route", ["directory", "new-account", "new-order", "challenge", "finalize"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds(fake: FakeCA, route: str, status: int) -> None:
    fake.say(route, refused("rateLimited", status, retry_after="7200", detail="too many new orders"))
    error = failed(fake)
    assert (error.kind, error.retry_after) == ("rate-limited", 7200)
    assert "too many new orders" in str(error)
    assert fake.asked(route) == 1


def test_retry_after_as_a_date(fake: FakeCA) -> None:
    """By the CA's clock."""
    now = datetime.now(UTC)
    date = format_datetime(now + timedelta(hours=2), usegmt=True)
    limited = Answer(429, HTML, {"Retry-After": date, "Date": format_datetime(now, usegmt=True)})
    fake.say("new-order", limited)
    error = failed(fake)
    assert (error.kind, error.retry_after) == ("rate-limited", 7200)


def test_a_short_retry_after_of_a_read_is_waited_for(fake: FakeCA) -> None:
    fake.say(
        "authorization", refused("rateLimited", 429, retry_after="1"), refused("serverInternal", 503, retry_after="1")
    )
    order(fake)


def test_a_read_that_is_limited_for_long_ends_the_order(fake: FakeCA) -> None:
    fake.say("authorization", refused("rateLimited", 429, retry_after="7200"))
    error = failed(fake)
    assert (error.kind, error.retry_after) == ("rate-limited", 7200)


@pytest.mark.parametrize("route", ["directory", "nonce", "new-order", "authorization", "certificate"])
@pytest.mark.parametrize("how", ["never", "drip", "drip-headers"])
def test_a_ca_that_does_not_finish_its_answer(fake: FakeCA, route: str, how: Any) -> None:
    fake.always[route] = Answer(how=how)
    began = time.monotonic()
    error = failed(fake, seconds=0.5)
    assert error.kind in {"unreachable", "timeout"}
    assert time.monotonic() - began < 60
    assert fake.asked("new-order") <= 1


def test_an_endless_answer(fake: FakeCA) -> None:
    fake.always["directory"] = Answer(how="endless")
    error = failed(fake)
    assert error.kind == "invalid-answer"
    assert "more than 256 KiB" in error.problem


@pytest.mark.parametrize("body", [b"[" * 200_000, b"1" * 200_000, b"\xff\xfe", b"null", b"[]", b"{}", b'"text"', b"{"])
def test_an_answer_that_is_no_directory(fake: FakeCA, body: bytes) -> None:
    fake.always["directory"] = Answer(200, body)
    assert failed(fake).kind == "invalid-answer"


@pytest.mark.parametrize("rejected", [1, 28])
def test_rejected_nonces(fake: FakeCA, rejected: int) -> None:
    fake.say("new-order", *[refused("badNonce", 400)] * rejected)
    order(fake)
    assert fake.asked("new-order") == rejected + 1


def test_a_ca_that_rejects_every_nonce(fake: FakeCA) -> None:
    fake.always["new-order"] = refused("badNonce", 400)
    error = failed(fake)
    assert (error.kind, fake.asked("new-order")) == ("unavailable", 30)


def test_an_answer_with_a_nonce_that_is_none(fake: FakeCA) -> None:
    fake.always["nonce"] = Answer(200, b"", {"Replay-Nonce": "AAAAA"})
    assert failed(fake).kind == "invalid-answer"


@pytest.mark.parametrize(("hours", "text"), [(12, "12.0 hours behind"), (-12, "12.0 hours ahead of")])
def test_a_clock_that_is_off(fake: FakeCA, hours: int, text: str) -> None:
    fake.clock = timedelta(hours=hours)
    error = failed(fake)
    assert error.kind == "clock"
    assert f"the clock of this host is {text} that of fake" in error.problem
    assert fake.asked("new-account") == fake.asked("new-order") == 0


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 01 Mar 99999 00:00:00 GMT"])
def test_a_clock_that_the_ca_does_not_tell(fake: FakeCA, date: str) -> None:
    fake.say("directory", Answer(200, fake._directory(0, None).body, {"Date": date}))
    order(fake)


def test_a_little_difference_of_clocks_does_not_matter(fake: FakeCA) -> None:
    fake.clock = timedelta(minutes=50)
    order(fake)


def test_types_of_challenges_that_nobody_knows(fake: FakeCA) -> None:
    fake.challenge_types = ["dns-persist-01", "dns-account-01", "http-01", "tomorrow-02"]
    order(fake)
    error = failed(fake, challenge="tls-alpn-01")
    assert error.kind == "no-challenge"
    assert "it offers http-01" in error.problem


def test_an_account_that_is_unknown(fake: FakeCA) -> None:
    fake.say("new-order", refused("accountDoesNotExist", 400))
    issued = order(fake, account=f"{fake.base}/account/old")
    assert issued.account_url == f"{fake.base}/account/1"
    assert (fake.asked("new-account"), fake.asked("new-order")) == (1, 2)


def test_a_ca_that_forgets_each_account_is_asked_once(fake: FakeCA) -> None:
    fake.always["new-order"] = refused("accountDoesNotExist", 400)
    assert failed(fake, account=f"{fake.base}/account/old").kind == "account-unknown"
    assert (fake.asked("new-account"), fake.asked("new-order")) == (1, 2)


@pytest.mark.parametrize(
    "refusal",
    [refused("alreadyReplaced", 409), refused("malformed", 400), refused("serverInternal", 500)],
    ids=["already", "malformed", "internal"],
)
def test_an_order_that_may_not_replace_is_made_without(fake: FakeCA, refusal: Answer) -> None:
    fake.say("new-order", refusal)
    order(fake, replaces="AAAA.AQ")
    made = [payload for route, payload in fake.requests if route == "new-order"]
    assert [each.get("replaces") for each in made] == ["AAAA.AQ", None]


@pytest.mark.parametrize(
    "refusal",
    [
        refused("rateLimited", 429, retry_after="60"),
        refused("rejectedIdentifier", 400),
        refused("unauthorized", 503, retry_after="60"),
    ],
    ids=["limited", "rejected", "busy"],
)
def test_another_refusal_counts_with_replaces_too(fake: FakeCA, refusal: Answer) -> None:
    fake.say("new-order", refusal)
    failed(fake, replaces="AAAA.AQ")
    assert fake.asked("new-order") == 1


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("invalidProfile", 400, "profile"),
        ("caa", 403, "caa"),
        ("externalAccountRequired", 403, "account-refused"),
        ("userActionRequired", 403, "account-refused"),
        ("unauthorized", 403, "refused"),
        ("rejectedIdentifier", 400, "rejected"),
    ],
)
def test_what_a_ca_refuses(fake: FakeCA, name: str, status: int, kind: str) -> None:
    fake.say("new-order", refused(name, status, detail="Because of that"))
    error = failed(fake)
    assert (error.kind, error.problem) == (kind, "fake refuses the order: Because of that")


def test_subproblems_name_the_names(fake: FakeCA) -> None:
    below = [
        {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "policy", "identifier": {"value": NAME}},
        {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA", "identifier": {"value": "b.example.test"}},
    ]
    fake.say("new-order", refused("compound", 400, detail="Several", subproblems=below))
    error = failed(fake)
    assert error.kind == "rejected"
    assert error.problem == f"fake refuses the order: Several; {NAME}: policy; b.example.test: CAA"
    assert [(each.name, each.type) for each in error.problems[1:]] == [
        (NAME, "rejectedIdentifier"),
        ("b.example.test", "caa"),
    ]


def authorization(fake: FakeCA, status: str, error: Any) -> Answer:
    challenge = {
        "type": "http-01",
        "url": f"{fake.base}/challenge/0",
        "token": "t" * 43,
        "status": status,
        "error": error,
    }
    identifier = {"type": "dns", "value": NAME}
    return Answer(200, {"status": status, "identifier": identifier, "challenges": [challenge]})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("connection", "challenge-failed"),
        ("unauthorized", "challenge-failed"),
        ("tls", "challenge-failed"),
        ("dns", "challenge-failed"),
        ("malformed", "challenge-failed"),
        ("caa", "caa"),
        ("rejectedIdentifier", "rejected"),
    ],
)
def test_a_challenge_that_fails(fake: FakeCA, name: str, kind: str) -> None:
    solver = Recording()
    error = {"type": f"urn:ietf:params:acme:error:{name}", "detail": "2001:db8::1: Timeout (likely firewall problem)"}
    fake.say("authorization", fake_pending(fake), authorization(fake, "invalid", error))
    found = failed(fake, solver=solver)
    assert (found.kind, found.problems[0].type) == (kind, name)
    assert found.problem == f"fake could not validate {NAME} by http-01: 2001:db8::1: Timeout (likely firewall problem)"
    assert solver.presented == solver.cleaned
    assert fake.asked("finalize") == 0


def fake_pending(fake: FakeCA) -> Answer:
    return authorization(fake, "pending", None)


@pytest.mark.parametrize("error", [None, "text", {}, {"type": 1, "detail": ["x"]}])
def test_a_challenge_that_fails_without_a_reason(fake: FakeCA, error: Any) -> None:
    fake.say("authorization", fake_pending(fake), authorization(fake, "invalid", error))
    assert failed(fake).kind == "challenge-failed"


def test_an_order_that_the_ca_gives_up(fake: FakeCA) -> None:
    body = {"status": "invalid", "authorizations": [], "finalize": f"{fake.base}/finalize/0"}
    fake.say("order", Answer(200, {**body, "error": {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA again"}}))
    error = failed(fake)
    assert (error.kind, error.problem) == ("caa", "fake could not issue: CAA again")


def test_an_order_that_never_ends(fake: FakeCA) -> None:
    body = {"status": "processing", "authorizations": [], "finalize": f"{fake.base}/finalize/0"}
    fake.always["order"] = Answer(200, body, {"Retry-After": "999999"})
    assert failed(fake, seconds=2).kind == "timeout"


def test_a_finalization_whose_answer_is_lost_is_not_made_twice(fake: FakeCA) -> None:
    # The CA has issued, and its answer did not come.
    right = FakeCA._finalize

    def lost(self: FakeCA, number: int, payload: Any) -> Answer:
        right(self, number, payload)
        return Answer(how="cut")

    fake._finalize = lost.__get__(fake)  # type: ignore[method-assign]
    order(fake)
    assert fake.asked("finalize") == 1


@pytest.mark.parametrize("body", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", HTML])
def test_a_certificate_that_is_none(fake: FakeCA, body: bytes) -> None:
    fake.always["certificate"] = Answer(200, body)
    assert failed(fake).kind == "invalid-answer"


def test_a_certificate_for_another_key_or_without_a_name(fake: FakeCA) -> None:
    fake.always["certificate"] = Answer(200, fake.pki.leaf(NAME).chain_pem)
    assert "for another key" in failed(fake).problem


def test_a_certificate_without_one_of_the_names(fake: FakeCA) -> None:
    body = {"identifiers": [{"type": "dns", "value": "other.test"}]}
    right = fake._finalize

    def other(number: int, payload: Any) -> Answer:
        fake._orders[number].update(body)
        return right(number, payload)

    fake._finalize = other  # type: ignore[method-assign]
    assert f"without {NAME}" in failed(fake).problem


def test_a_certificate_whose_dates_are_in_the_future_is_kept(fake: FakeCA) -> None:
    """It is a real one, and it counted: our clock may be the one that is wrong."""
    right = fake.pki.leaf
    late = datetime.now(UTC) + timedelta(hours=12)
    fake.pki.leaf = lambda *names, **how: right(*names, not_before=late, **how)  # type: ignore[method-assign]
    assert order(fake).not_before > datetime.now(UTC)


def test_a_solver_that_cannot_clean_does_not_lose_the_certificate(fake: FakeCA) -> None:
    class Stubborn(Recording):
        def clean(self, *_task: Any) -> None:
            raise ACMEError("the record is still there", fix="Remove it.", kind="dns-record")

    assert order(fake, solver=Stubborn()).notes == ("the record is still there",)


def test_redirects_are_not_followed(fake: FakeCA) -> None:
    for route in ("directory", "new-order"):
        fake.say(route, Answer(308, b"", {"Location": f"{fake.base}/new-account"}))
        assert "redirect" in failed(fake).problem
    fake.always["directory"] = Answer(302, b"", {"Location": "http://169.254.169.254/"})
    assert failed(fake).kind == "invalid-answer"


@pytest.mark.parametrize("url", ["http://localhost/", "file:///etc/passwd", "", None, 1, "https://a b/"])
def test_urls_that_are_not_https(fake: FakeCA, url: Any) -> None:
    body = fake._directory(0, None).body
    fake.always["directory"] = Answer(200, {**body, "newOrder": url})
    assert "without an https URL for newOrder" in failed(fake).problem


def test_renewal_information(fake: FakeCA) -> None:
    info = renewal_info(fake.ca, "AAAA.AQ")
    assert info is not None
    assert info.end - info.start == timedelta(days=2)
    assert info.retry_after == 21600
    without = {key: value for key, value in fake._directory(0, None).body.items() if key != "renewalInfo"}
    fake.always["directory"] = Answer(200, without)
    assert renewal_info(fake.ca, "AAAA.AQ") is None


def test_a_revocation_is_refused_in_the_words_of_the_ca(fake: FakeCA) -> None:
    issued = order(fake)
    revoke(fake.ca, issued.pem, 1)
    assert fake.requests[-1][0] == "revoke"
    assert fake.requests[-1][1]["reason"] == 1
    fake.say("revoke", refused("alreadyRevoked", 400, detail="Certificate already revoked"))
    with pytest.raises(ACMEError, match="fake refuses the revocation: Certificate already revoked"):
        revoke(fake.ca, issued.pem)


def test_the_certificate_id_of_rfc_9773() -> None:
    """The example of its appendix A."""
    pem = b"""-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
"""
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate_id(certificate) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_no_secret_is_logged(fake: FakeCA, caplog: pytest.LogCaptureFixture) -> None:
    """Also not at the level at which `acme` logs each request."""
    hmac = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"
    ca = CA("fake", fake.ca.url, fake.ca_file, external_account=ExternalAccount("kid", hmac))
    assert hmac not in repr(ca)
    key = new_account_key()
    with caplog.at_level(logging.DEBUG):
        issued = obtain(ca, key, None, OrderRequest((NAME,), "http-01"), Recording(), deadline=time.monotonic() + 60)
    assert "externalAccountBinding" in str(dict(fake.requests)["new-account"])
    # The private numbers are in the first two lines of each key; the third has the public one.
    lines = [
        *key.decode().splitlines()[1:3],
        *issued.pem.decode().partition("PRIVATE KEY")[2].splitlines()[1:3],
        hmac,
    ]
    assert len(lines) == 5
    assert not [line for line in lines if line in caplog.text]
    assert "PRIVATE" not in repr(issued)


def test_a_ca_behind_a_proxy_of_the_environment(fake: FakeCA, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is not there: the request goes to it, and nowhere else."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(os, "environ", {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"})
    assert failed(fake).kind == "unreachable"
    assert not fake.requests
