"""What a server's first flight is read as, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
from flights import DHE_RSA, ECDHE_RSA, message, record, server_hello, vector
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.audit.probes.suites import DHE, ECDHE, NAMES, find_suites, suites_of
from asgi_tls.handshake import hello as h
from asgi_tls.handshake.flight import Flight, FlightReader
from asgi_tls.handshake.hello import Offer


def read(data: bytes, pieces: int = 1 << 20) -> Flight:
    reader = FlightReader(ECDHE, DHE)
    for at in range(0, len(data), pieces):
        if not reader.done:
            reader.feed(data[at : at + pieces])
    return reader.end("closed")


WHOLE = (
    server_hello(extensions={h.RENEGOTIATION_INFO: b"\x00"})
    + message(11, vector(3, vector(3, b"leaf") + vector(3, b"issuer")))
    + message(22, b"\x01" + vector(3, b"response"))
    + message(12, b"\x03\x00\x1d" + vector(1, bytes(32)) + b"\x04\x01" + vector(2, bytes(64)))
    + message(13, b"")
    + message(14, b"")
)


@pytest.mark.parametrize("pieces", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize("size", [7, 100, 16384])
def test_a_flight_of_tls_1_2_in_any_pieces(pieces: int, size: int) -> None:
    records = b"".join(record(22, WHOLE[at : at + size]) for at in range(0, len(WHOLE), size))
    flight = read(records, pieces)
    assert flight.ending == "hello"
    assert flight.hello is not None
    assert (flight.hello.version, flight.hello.suite) == (h.TLS12, ECDHE_RSA)
    assert h.RENEGOTIATION_INFO in flight.hello.extensions
    assert flight.certificates == (b"leaf", b"issuer")
    assert flight.staple == b"response"
    assert flight.curve == 0x001D
    assert flight.asks_for_certificate


def test_the_size_of_a_diffie_hellman_prime() -> None:
    exchange = message(12, vector(2, (1 << 767).to_bytes(96)) + vector(2, b"\x02") + vector(2, bytes(96)))
    assert read(record(22, server_hello(DHE_RSA) + exchange + message(14, b""))).dh_bits == 768


def test_tls_1_3_ends_with_the_hello() -> None:
    extensions = {h.SUPPORTED_VERSIONS: b"\x03\x04", h.KEY_SHARE: b"\x00\x17"}
    flight = read(record(22, server_hello(0x1301, extensions=extensions)) + b"\x14\x03\x03\x00\x01\x01 and whatever")
    assert flight.ending == "hello"
    assert flight.hello is not None
    assert (flight.hello.version, flight.hello.group) == (h.TLS13, 0x0017)


@pytest.mark.parametrize(
    ("data", "ending", "alert"),
    [
        (record(21, b"\x02\x46"), "alert", 70),
        (record(21, b"\x01\x70") + record(21, b"\x02\x28"), "alert", 40),  # a warning first
        (record(21, b"\x01\x00"), "alert", 0),
        (b"", "closed", None),
        (b"\x16\x03\x01", "closed", None),
        (b"HTTP/1.1 400 Bad Request\r\n", "garbage", None),
        (b"\x16\x05\x01\x00\x01\x00", "garbage", None),
        (record(21, b""), "garbage", None),
        (record(23, b"data"), "garbage", None),
        (b"\x16\x03\x03\xff\xff", "garbage", None),
        (record(22, message(11, b"")), "garbage", None),
        (record(22, server_hello() + server_hello()), "garbage", None),
        (record(22, server_hello()[:20] + b"\x02\x00\x00\x01\x00"), "closed", None),
        (record(22, message(2, b"\x03\x03")), "garbage", None),
        (record(22, b"\x02\xff\xff\xff"), "garbage", None),
        (record(22, server_hello() + message(11, b"\xff\xff\xff")), "garbage", None),
    ],
)
def test_endings(data: bytes, ending: str, alert: int | None) -> None:
    flight = read(data)
    assert (flight.ending, flight.alert) == (ending, alert)


def test_a_flight_without_end_is_cut() -> None:
    reader = FlightReader(ECDHE, DHE)
    reader.feed(record(22, server_hello()))
    for _ in range(40):
        if not reader.done:
            reader.feed(record(22, message(99, bytes(16000))))
    assert reader.flight.ending == "garbage"


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_end_somehow(data: bytes, pieces: int) -> None:
    assert read(data, pieces).ending in {"hello", "alert", "closed", "garbage"}


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(1, 200))
def test_any_damage_ends_somehow_and_the_same_in_any_pieces(damage: list[tuple[int, int]], pieces: int) -> None:
    damaged = bytearray(WHOLE)
    for at, value in damage:
        damaged[at] = value
    whole, cut = read(record(22, bytes(damaged))), read(record(22, bytes(damaged)), pieces)
    assert whole == cut
    assert whole.ending in {"hello", "alert", "closed", "garbage"}


@pytest.mark.parametrize("version", h.VERSION_NAMES)
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", None])
def test_a_hello_is_what_openssl_reads(version: int, name: str | None) -> None:
    """By OpenSSL's own server: it gets as far as choosing, which it cannot without a certificate."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    asked: list[Any] = []
    context.sni_callback = lambda _connection, server_name, _context: asked.append(server_name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(Offer(version=version, suites=suites_of(version), groups=[0x1D, 0x17], server_name=name).record())
    with pytest.raises(ssl.SSLError) as failure:
        server.do_handshake()
    expected = {h.TLS12: "NO_SHARED_CIPHER", h.TLS13: "NO_SUITABLE_SIGNATURE_ALGORITHM"}
    if version in expected:
        assert failure.value.reason in {expected[version], "NO_SHARED_CIPHER"}
        assert asked == [name if name == "localhost" else None]
    else:
        assert failure.value.reason in {"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_SHARED_CIPHER"}


def test_suites_are_found_by_elimination_with_one_refusal() -> None:
    has, asked = [0xC02F, 0xC030, 0x009E], 0

    def ask(suites: Any) -> Flight:
        nonlocal asked
        asked += 1
        chosen = next((suite for suite in has if suite in suites), None)
        return read(b"" if chosen is None else record(22, server_hello(chosen) + message(14, b"")))

    found = find_suites(h.TLS12, ask)
    assert found.names == tuple(NAMES[suite] for suite in has)
    assert found.preference == "server"
    assert asked == len(has) + 2
