"""OpenSSL's numbers stand for what OpenSSL says they do."""

from __future__ import annotations

import _ssl
import ctypes

import pytest

from asgi_tls.explain import CATALOGUE, explain
from asgi_tls.explain.catalogue import reasons
from asgi_tls.explain.index import reason
from asgi_tls.handshake import alerts

VERIFY = sorted(number for trouble in CATALOGUE.values() for number in trouble.verify)
OPENSSL_3_SSL = 20 << 23


@pytest.fixture(autouse=True, scope="module")
def _strings() -> None:
    load_ssl_strings = 0x00200000  # OPENSSL_INIT_LOAD_SSL_STRINGS
    assert ctypes.CDLL(_ssl.__file__).OPENSSL_init_ssl(ctypes.c_uint64(load_ssl_strings), None)


def _string(function: str, number: int) -> str | None:
    call = getattr(ctypes.CDLL(_ssl.__file__), function)
    call.restype = ctypes.c_char_p
    words = call(ctypes.c_ulong(number))
    return None if words is None else words.decode()


@pytest.mark.parametrize("number", VERIFY)
def test_a_verify_error(number: int) -> None:
    words = _string("X509_verify_cert_error_string", number)
    assert words is not None
    text = f"verify error:num={number}:{words}"
    codes = {match.trouble.code for match in explain(text) if not match.trouble.general}
    assert len(codes) <= 1, text  # the number and the words agree
    assert explain(text)[0].trouble is explain(f"verify {number}")[0].trouble


@pytest.mark.parametrize("library", sorted(reasons()))
def test_the_reasons_of_a_library(library: int) -> None:
    known = 0
    for number, name in reasons()[library].items():
        words = _string("ERR_reason_error_string", library << 23 | number)
        if words is None:
            continue  # this OpenSSL does not know it
        known += 1
        assert reason(library << 23 | number) == name
        # Some were shortened or lengthened in one place and not in the other.
        assert explain(name)[0].trouble in {match.trouble for match in explain(f"SSL routines::{words}")}, (name, words)
    assert known > len(reasons()[library]) / 2


@pytest.mark.parametrize("number", sorted(alerts.NAMES))
def test_an_alert(number: int) -> None:
    assert reason(OPENSSL_3_SSL | 1000 + number) == number
    words = _string("ERR_reason_error_string", OPENSSL_3_SSL | 1000 + number)
    if words is not None:
        assert explain(f"SSL routines::{words}")[0].trouble is explain(f"alert {number}")[0].trouble
