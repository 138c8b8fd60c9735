"""What CAs refuse, as errors: tables of real answers, and anything at all."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.explain import CATALOGUE, explain
from asgi_tls.renewal.acme.problems import FIXES, Kind, Problem, failure, http_date, refusal, retry_after

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
URN = "urn:ietf:params:acme:error:"


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("rateLimited", 429, "rate-limited"),
        ("", 429, "rate-limited"),
        ("accountDoesNotExist", 400, "account-unknown"),
        ("alreadyReplaced", 409, "already-replaced"),
        ("externalAccountRequired", 403, "account-refused"),
        ("rejectedIdentifier", 400, "rejected"),
        ("unsupportedIdentifier", 400, "rejected"),
        ("caa", 403, "caa"),
        ("invalidProfile", 400, "profile"),
        ("connection", 400, "challenge-failed"),
        ("unauthorized", 403, "refused"),
        ("serverInternal", 500, "unavailable"),
        ("", 502, "unavailable"),
        ("badNonce", 400, "unavailable"),
        ("malformed", 400, "refused"),
        ("somethingNew", 400, "refused"),
    ],
)
def test_the_kind_is_that_of_the_type_or_else_of_the_status(name: str, status: int, kind: str) -> None:
    error = refusal("CA", {"type": URN + name, "detail": "No."}, status=status, asked="refuses the order")
    assert error.kind == kind
    assert str(error) == f"CA refuses the order: No. {FIXES[error.kind]}"
    assert error.more == f"More: asgi-tls explain acme-{kind}"


COMPOUND = {
    "type": URN + "compound",
    "detail": "Errors during validation",
    "subproblems": [
        {
            "type": URN + "rejectedIdentifier",
            "detail": "This CA will not issue for it",
            "identifier": {"type": "dns", "value": "a.example"},
        },
        {
            "type": URN + "caa",
            "detail": "CAA for b.example forbids it",
            "identifier": {"type": "dns", "value": "b.example"},
        },
        "nonsense",
    ],
}  # fmt: skip


def test_a_compound_problem_names_each_name_once() -> None:
    error = refusal("CA", COMPOUND, status=403)
    assert error.kind == "rejected"
    assert error.problems[1:] == (
        Problem("rejectedIdentifier", "This CA will not issue for it", "a.example"),
        Problem("caa", "CAA for b.example forbids it", "b.example"),
    )
    assert error.problem == (
        "CA refuses: Errors during validation; a.example: This CA will not issue for it; CAA for b.example forbids it"
    )


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", None, 0),
        ("120", None, 120),
        ("99999999999999999999", None, 30 * 86400),
        ("Sun, 01 Mar 2026 12:10:00 GMT", None, 600),
        ("Sun, 01 Mar 2026 11:00:00 GMT", None, 0),
        ("Sun, 01 Mar 2026 20:10:00 GMT", "Sun, 01 Mar 2026 20:00:00 GMT", 600),
        ("Sunday, 01-Mar-26 12:10:00 GMT", None, 600),
        ("Sun Mar  1 12:10:00 2026", None, 600),
        ("Sun, 01 Mar 2126 12:10:00 GMT", "rubbish", 30 * 86400),
        (None, None, None),
        ("", None, None),
        ("-5", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("٣", None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after(value, date, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [A-Z+0-9-]{1,5}"), st.text())
def test_retry_after_reads_anything(value: str, date: str) -> None:
    seconds = retry_after(value, date, NOW)
    assert seconds is None or 0 <= seconds <= 30 * 86400
    moment = http_date(value)
    assert moment is None or moment.tzinfo is UTC


PARTS = ["type", "detail", "title", "subproblems", "identifier", "value", "status", "other"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(PARTS), below, max_size=5),
    max_leaves=20,
)


@given(JSON, st.integers(0, 999))
def test_any_document_is_an_error_that_can_be_logged(document: Any, status: int) -> None:
    error = refusal("CA", document, status=status)
    assert error.kind in get_args(Kind)
    assert str(error).isprintable()
    assert len(str(error)) < 1500
    assert all(each.detail.isprintable() and len(each.detail) <= 600 for each in error.problems)


def test_a_long_list_of_problems_is_cut() -> None:
    error = refusal("CA", {"subproblems": [{"type": "x" * 5000, "detail": "y" * 5000}] * 5000})
    assert len(error.problems) <= 101
    assert len(str(error)) < 1500


def test_an_error_survives_the_way_to_another_process() -> None:
    error = failure("rate-limited", "CA: wait", retry_after=5.0, problems=(Problem("rateLimited", "wait"),))
    other = pickle.loads(pickle.dumps(error))
    assert (str(other), other.kind, other.retry_after, other.problems) == (
        str(error), "rate-limited", 5.0, (Problem("rateLimited", "wait"),),
    )  # fmt: skip


@pytest.mark.parametrize("code", [*(f"acme-{kind}" for kind in get_args(Kind)), "acme-blocked", "acme-storage"])
def test_each_code_of_an_event_has_an_entry_with_causes_and_fixes(code: str) -> None:
    assert explain(code)[0].trouble.code == code
    assert CATALOGUE[code].causes
    assert CATALOGUE[code].fixes
