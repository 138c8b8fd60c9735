"""The code and the sentence of a failed handshake, from what Python says of OpenSSL's error."""

from __future__ import annotations

import ssl

import pytest

from asgi_tls.explain import explain
from asgi_tls.handshake.outcomes import outcome_of

# What Python says, and what it knows as the reason.
ERRORS = [
    pytest.param(
        "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)",
        "UNSUPPORTED_PROTOCOL",
        ("UNSUPPORTED_PROTOCOL", "unsupported protocol"),
        id="known",
    ),
    pytest.param(
        "[SSL] record layer failure (_ssl.c:1032)",
        None,
        ("RECORD_LAYER_FAILURE", "record layer failure"),
        id="newer than this Python",
    ),
    pytest.param(
        "[SSL] unknown error (0xa000461) (_ssl.c:1081)",
        None,
        ("UNKNOWN_ERROR", "unknown error (0xa000461)"),
        id="newer than OpenSSL",
    ),
    pytest.param("unknown error (_ssl.c:1032)", None, ("UNKNOWN", "unknown error"), id="of no library"),
]


@pytest.mark.parametrize(("text", "reason", "outcome"), ERRORS)
def test_code_and_sentence(text: str, reason: str | None, outcome: tuple[str, str]) -> None:
    error = ssl.SSLError(ssl.SSL_ERROR_SSL, text)
    error.reason = reason or ""
    connection = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert outcome_of(error, connection) == outcome
    assert outcome[0] == "UNKNOWN" or explain(outcome[0])
