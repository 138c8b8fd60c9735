"""A stapled response that is no OCSP response."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from observations import CHAIN

from asgi_tls.audit.probes.staple import read_staple


@given(st.binary(max_size=300))
def test_any_staple_is_read(data: bytes) -> None:
    assert read_staple(data, CHAIN.certificate).status == "unreadable"
