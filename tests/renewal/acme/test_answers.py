"""What is read of a CA's answers: rightly written ones, and anything at all."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.renewal.acme.answers import CHALLENGES, Authorization, Directory, Order, RenewalInfo
from asgi_tls.renewal.acme.problems import ACMEError

URL = "https://ca.example/1"
FIELDS = [
    "newNonce", "newAccount", "newOrder", "revokeCert", "renewalInfo", "meta", "profiles", "externalAccountRequired",
    "status", "authorizations", "finalize", "certificate", "error", "identifier", "value", "wildcard", "challenges",
    "type", "url", "token", "suggestedWindow", "start", "end", "explanationURL",
]  # fmt: skip
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([URL, "http://a", "pending", "valid", "http-01", "t" * 43, "www.example.test", "::1"])
    | st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda moment: moment.isoformat())
)  # fmt: skip
JSON = st.recursive(
    VALUES, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), below), max_leaves=40
)


@given(JSON, st.sampled_from([Directory, Order, Authorization, RenewalInfo]))
def test_any_answer_is_read_or_refused(document: Any, kind: Any) -> None:
    error = None
    try:
        kind.parse("CA", document)
    except ACMEError as refused:
        error = refused
    assert error is None or (error.kind == "invalid-answer" and str(error).isprintable())


def near(right: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """With one field that may be anything, or is missing."""
    return st.tuples(st.sampled_from(sorted(right)), JSON).map(lambda change: {**right, change[0]: change[1]}) | (
        st.sampled_from(sorted(right)).map(lambda name: {key: value for key, value in right.items() if key != name})
    )


DIRECTORY = {"newNonce": URL, "newAccount": URL, "newOrder": URL, "revokeCert": URL, "renewalInfo": URL, "meta": {}}
ORDER = {"status": "valid", "authorizations": [URL], "finalize": URL, "certificate": URL, "error": None}
CHALLENGE = {"type": "http-01", "url": URL, "token": "t" * 43, "status": "pending"}
AUTHORIZATION = {"status": "pending", "identifier": {"type": "dns", "value": "a.example"}, "challenges": [CHALLENGE]}


@given(near(DIRECTORY))
def test_a_directory_has_urls(document: Any) -> None:
    try:
        found = Directory.parse("CA", document)
    except ACMEError:
        return
    urls = (found.new_nonce, found.new_account, found.new_order)
    assert all(url.startswith("https://") and url.isascii() and url.isprintable() for url in urls)
    assert all(url is None or url.startswith("https://") for url in (found.revoke, found.renewal_info))


@given(near(ORDER))
def test_an_order_has_urls(document: Any) -> None:
    try:
        found = Order.parse("CA", document)
    except ACMEError:
        return
    assert all(url.startswith("https://") for url in (*found.authorizations, found.finalize))
    assert re.fullmatch("[!-~]+", found.status)


@given(near(CHALLENGE), near(AUTHORIZATION))
def test_a_challenge_has_a_token_that_can_stand_in_a_path(challenge: Any, document: Any) -> None:
    for each in (document, {**AUTHORIZATION, "challenges": [challenge, "rubbish", CHALLENGE]}):
        try:
            found = Authorization.parse("CA", each)
        except ACMEError:
            continue
        assert re.fullmatch(r"[!-~]+", found.name)
        for one in found.challenges:
            assert one.type in CHALLENGES
            assert re.fullmatch(r"[A-Za-z0-9_-]{16,512}", one.token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "short",
        "a" * 15,
        "a" * 513,
        "a" * 20 + "/",
        "a" * 20 + ".",
        "../../../../etc/passwd",
        "a" * 20 + "\n",
        5,
        None,
    ],
)
def test_a_token_that_is_none(token: Any) -> None:
    assert Authorization.parse("CA", {**AUTHORIZATION, "challenges": [{**CHALLENGE, "token": token}]}).challenges == ()


@pytest.mark.parametrize(
    ("identifier", "wildcard", "name"),
    [
        ({"type": "dns", "value": "A.example"}, False, "a.example"),
        ({"type": "dns", "value": "a.example"}, True, "*.a.example"),
        ({"type": "ip", "value": "2001:DB8:0::1"}, False, "2001:db8::1"),
    ],
)
def test_the_name_is_canonical(identifier: Any, wildcard: bool, name: str) -> None:
    assert Authorization.parse("CA", {**AUTHORIZATION, "identifier": identifier, "wildcard": wildcard}).name == name


def window(start: str, end: str) -> dict[str, Any]:
    return {"suggestedWindow": {"start": start, "end": end}}


def test_a_window() -> None:
    found = RenewalInfo.parse("CA", window("2026-03-01T01:00:00+01:00", "2026-03-02T00:00:00.123456789Z"), 60.0)
    assert (found.start.isoformat(), found.end.isoformat()) == (
        "2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00.123456+00:00",
    )  # fmt: skip
    assert (found.retry_after, found.explanation) == (60.0, None)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-03-01T00:00:00", "2026-03-02T00:00:00"),
        ("0001-01-01T00:00:00+12:00", "2026-03-02T00:00:00Z"),
        ("2026-13-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("soon", "later"),
    ],
)
def test_a_window_that_is_none(start: str, end: str) -> None:
    with pytest.raises(ACMEError, match="without a window"):
        RenewalInfo.parse("CA", window(start, end))
