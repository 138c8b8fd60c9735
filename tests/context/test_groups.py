"""Which group a client gets, by its own ClientHello and the server's order alone; and which application protocol."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conversations import OF_12, SUITES_12, hello, numbers, record, u8, u16
from files import Files
from handshakes import client
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from memory import handshake

from asgi_tls import INTERMEDIATE, MODERN, ServerTLS, TLSProfile, _openssl
from asgi_tls.audit.probes.suites import DHE, ECDHE
from asgi_tls.errors import ProfileError
from asgi_tls.handshake.flight import FlightReader
from asgi_tls.profile import GROUPS, TLS13_GROUPS, Version, cipher_string

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS: dict[str, tuple[Version, ...]] = {
    "TLS 1.2": ("TLSv1.2",),
    "TLS 1.3": ("TLSv1.3",),
    "both": ("TLSv1.3", "TLSv1.2"),
}
UNKNOWN = 0x7A7A
HANDSHAKE_FAILURE, DECODE_ERROR, PROTOCOL_VERSION, NO_APPLICATION_PROTOCOL = 40, 50, 70, 120
NUMBER = {name: number for name, (_, number) in GROUPS.items()}
# RFC 8446 section 4.1.3: the random value of a HelloRetryRequest.
HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
# The generators of the curves: points that anybody may send as a key share (SEC 2 sections 2.4.2 and 2.5.1).
SHARES = {
    NUMBER["X25519"]: bytes([9]) + bytes(31),
    NUMBER["P-256"]: bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ),
    NUMBER["P-384"]: bytes.fromhex(
        "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
    ),
}

Answer = int | tuple[str, bool]
"""An alert's number, or the group and whether the client was asked for another key share."""


def answer_to(context: ssl.SSLContext, flight: bytes) -> Answer:
    """What the server says to this ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(flight)
    with contextlib.suppress(ssl.SSLError):
        server.do_handshake()
    reader = FlightReader(ECDHE, DHE)
    reader.feed(outgoing.read())
    flown = reader.end("closed")
    if flown.alert is not None:
        return flown.alert
    assert flown.hello is not None
    number = flown.hello.group if flown.curve is None else flown.curve
    return next(name for name, each in NUMBER.items() if each == number), flown.hello.random == HELLO_RETRY


def offer(
    versions: str, groups: Sequence[int], shares: Sequence[int], *, crafted: bool = False, **also: bytes
) -> bytes:
    """A ClientHello of "TLS 1.2", "TLS 1.3" or "both". A `crafted` one has the bare list where a length belongs first.

    `also` are extensions by number, as in `e16`.
    """
    listed = numbers(*groups) if crafted else u16(numbers(*groups))
    more = {10: listed} | {int(name[1:]): body for name, body in also.items()}
    if versions == "TLS 1.2":
        return record(hello(OF_12, suites=SUITES_12, also=more))
    spoken = u8(numbers(0x0304)) if versions == "TLS 1.3" else u8(numbers(0x0304, 0x0303))
    keys = b"".join(numbers(group) + u16(SHARES[group]) for group in shares)
    return record(hello(also=more | {43: spoken, 51: u16(keys)}))


def expected(profile: TLSProfile, versions: str, groups: Sequence[int], shares: Sequence[int], crafted: bool) -> Answer:
    """RFC 8446 section 4.2.7 and 4.2.8, by the server's order: nothing but this hello counts."""
    if not any(profile.speaks(version) for version in VERSIONS[versions]):
        return PROTOCOL_VERSION
    if crafted:
        return DECODE_ERROR
    new = profile.speaks("TLSv1.3") and versions != "TLS 1.2"
    supported = _openssl.supported_groups() or ()
    own = [name for name in profile.groups if name in supported and (new or name not in TLS13_GROUPS)]
    for name in own:
        if NUMBER[name] in groups:
            return name, new and NUMBER[name] not in shares
    return HANDSHAKE_FAILURE


# Lists that come again and again, as from browsers.
USUAL = [[NUMBER[name] for name in names.split()] for names in ("X25519 P-256 P-521 P-384", "P-256 P-384 X25519 P-521")]


@st.composite
def hellos(draw: st.DrawFn) -> tuple[str, list[int], list[int], bool]:
    groups = draw(
        st.sampled_from(USUAL) | st.lists(st.sampled_from([*NUMBER.values(), UNKNOWN, 0x0100]), min_size=1, unique=True)
    )
    shares = draw(st.permutations([group for group in groups if group in SHARES and draw(st.booleans())]))
    return draw(st.sampled_from([*VERSIONS])), groups, shares, draw(st.integers(0, 3)) == 0


@pytest.fixture(scope="module")
def server(files: Files) -> Callable[[TLSProfile], ssl.SSLContext]:
    """The context for a profile, the same one each time."""
    made: dict[TLSProfile, ssl.SSLContext] = {}

    def make(profile: TLSProfile) -> ssl.SSLContext:
        if profile not in made:
            made[profile] = ServerTLS([files.ecdsa, files.rsa], profile=profile, listeners=[]).create_context()
        return made[profile]

    return make


PROFILES = [
    INTERMEDIATE,
    INTERMEDIATE.with_groups("X25519", "P-256", "P-384"),
    INTERMEDIATE.with_groups("P-384", "X25519"),
    INTERMEDIATE.with_groups("P-256"),
    MODERN.with_groups("P-256", "X25519MLKEM768", "X448", "X25519"),
    TLSProfile(name="old", maximum_version="TLSv1.2"),
]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=st.sampled_from(PROFILES), sequence=st.lists(hellos(), min_size=1, max_size=20))
def test_a_client_gets_the_group_that_it_would_get_alone(
    server: Callable[[TLSProfile], ssl.SSLContext],
    profile: TLSProfile,
    sequence: list[tuple[str, list[int], list[int], bool]],
) -> None:
    context = server(profile)
    for versions, groups, shares, crafted in sequence:
        answer = answer_to(context, offer(versions, groups, shares, crafted=crafted))
        assert answer == expected(profile, versions, groups, shares, crafted)


@given(place=st.integers(1, 200))
def test_a_client_hello_in_two_records(server: Callable[[TLSProfile], ssl.SSLContext], place: int) -> None:
    """RFC 8446 section 5.1: a message may be fragmented across records, and one header is then in its middle."""
    message = offer("both", [*SHARES], [*SHARES])[5:]
    flight = b"".join(b"\x16\x03\x01" + u16(part) for part in (message[:place], message[place:]))
    for name in ("X25519", "P-256", "P-384"):
        mine = INTERMEDIATE.with_groups(name, *(each for each in ("P-384", "X25519") if each != name))
        assert answer_to(server(mine), flight) == (name, False)


def test_what_others_sent_before_decides_nothing(server: Callable[[TLSProfile], ssl.SSLContext]) -> None:
    """A list that begins where the length belongs is found in the middle of an ordinary ClientHello."""
    context = server(INTERMEDIATE)
    for _ in range(10):
        # Type 10 and length 8, which an ordinary list of four groups has as its two lengths: 000a 0008 001d 0017 …
        assert answer_to(context, offer("TLS 1.3", USUAL[0], [], crafted=True)) == DECODE_ERROR
    for versions in VERSIONS:
        assert answer_to(context, offer(versions, USUAL[0], [NUMBER["X25519"]])) == ("X25519", False)


def encrypted_extensions(messages: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    """RFC 8446 section 4.3.1, from what a client's `_msg_callback` has seen."""
    (body,) = (data[4:] for kind, data in messages if kind == 8)
    found, at = {}, 2
    while at < len(body):
        size = int.from_bytes(body[at + 2 : at + 4])
        found[int.from_bytes(body[at : at + 2])] = body[at + 4 : at + 4 + size]
        at += 4 + size
    return found


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    ("theirs", "lists"),
    [
        (["X25519", "P-256"], True),  # the key share is for a group that is not our first one
        (["P-521", "X25519"], True),  # and here the client is asked for one
        (["P-384", "X25519"], False),  # the client uses what we want most
    ],
)
def test_a_client_learns_the_servers_groups(files: Files, theirs: list[str], lists: bool, blocking: bool) -> None:
    """RFC 8446 section 4.2.7: it shall know what to send next time."""
    mine = ("P-384", "X25519", "P-256")
    context = ServerTLS(files.ecdsa, profile=MODERN.with_groups(*mine), listeners=[]).create_context()
    peer = client(groups=theirs)
    seen: list[tuple[int, bytes]] = []

    def see(_connection: Any, direction: str, _version: Any, content: int, kind: Any, data: bytes) -> None:
        if direction == "read" and content == 22:
            seen.append((int(kind), data))

    peer._msg_callback = see  # type: ignore[attr-defined]
    if blocking:
        group = over_sockets(context, peer)
    else:
        ends = handshake(context, peer)
        group = _openssl.negotiated_group(ends.server)
    assert group == next(name for name in mine if name in theirs)
    listed = encrypted_extensions(seen).get(10)
    assert listed == (u16(numbers(*(NUMBER[name] for name in mine))) if lists else None)


def over_sockets(server: ssl.SSLContext, peer: ssl.SSLContext) -> str | None:
    one, other = socket.socketpair()

    def answer() -> None:
        with server.wrap_socket(other, server_side=True) as secure:
            secure.unwrap().close()

    answered = threading.Thread(target=answer)
    answered.start()
    with one, peer.wrap_socket(one, server_hostname="localhost") as secure:
        group = _openssl.negotiated_group(secure)
        secure.unwrap().close()
        answered.join()
    return group


def test_a_profile_of_tls_1_2_needs_a_group_that_tls_1_2_has() -> None:
    with pytest.raises(ProfileError, match=r"groups of TLS 1\.3 only\. Add X25519 to groups"):
        INTERMEDIATE.with_groups("X25519MLKEM768", "SecP256r1MLKEM768")
    assert MODERN.with_groups("X25519MLKEM768").groups == ("X25519MLKEM768",)


@st.composite
def peers(draw: st.DrawFn) -> tuple[ssl.TLSVersion, ssl.TLSVersion, tuple[str, ...]]:
    """Versions and groups of a client; no groups are OpenSSL's own."""
    lowest, highest = sorted((draw(st.sampled_from([V12, V13])), draw(st.sampled_from([V12, V13]))))
    names = st.lists(st.sampled_from(_openssl.supported_groups() or ()), unique=True)
    return lowest, highest, tuple(draw(names))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=st.sampled_from(PROFILES), peer=peers())
def test_whom_the_profile_allows_is_served(
    files: Files,
    server: Callable[[TLSProfile], ssl.SSLContext],
    profile: TLSProfile,
    peer: tuple[ssl.TLSVersion, ssl.TLSVersion, tuple[str, ...]],
) -> None:
    """A plain server with the same versions, suites and groups, in no order of its own, refuses the same clients."""
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain.minimum_version = V12 if profile.speaks("TLSv1.2") else V13
    plain.maximum_version = V13 if profile.speaks("TLSv1.3") else V12
    plain.set_ciphers(cipher_string(profile))
    for pair in (files.ecdsa, files.rsa):
        plain.load_cert_chain(*map(str, pair.paths))
    _openssl.set_groups(plain, [name for name in profile.groups if name in (_openssl.supported_groups() or ())])
    lowest, highest, groups = peer
    assume(highest is V13 or not groups or not TLS13_GROUPS.issuperset(groups))  # OpenSSL's client makes no such hello

    def outcome(context: ssl.SSLContext) -> str | None:
        try:
            ends = handshake(context, client(minimum=lowest, maximum=highest, groups=groups))
        except ssl.SSLError as error:
            return error.reason
        return ends.client.version()

    assert outcome(server(profile)) == outcome(plain)


@pytest.mark.parametrize("versions", ["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),  # the server's order decides
        (["http/1.1"], "http/1.1"),
        (["http/1.0"], "http/1.0"),  # of curl --http1.0 alone
        (["http/1.0", "http/1.1"], "http/1.1"),
        (["spdy/9", "http/1.1"], "http/1.1"),
        (["ttp/1.1", "2", "h", "h2\x08http/1.1"], NO_APPLICATION_PROTOCOL),
        (["spdy/9"], NO_APPLICATION_PROTOCOL),
    ],
)
def test_application_protocols(files: Files, versions: str, named: list[str], chosen: str | int) -> None:
    """RFC 7301 section 3.2: a client that names no common protocol is refused, one that names none is served."""
    context = ServerTLS(files.ecdsa, listeners=[]).create_context(alpn=["h2", "http/1.1"])
    only = V12 if versions == "TLS 1.2" else V13
    if isinstance(chosen, int):
        listed = u16(b"".join(u8(name.encode()) for name in named))
        groups = [NUMBER["X25519"], NUMBER["P-256"]]
        assert answer_to(context, offer(versions, groups, groups, e16=listed)) == chosen
    else:
        ends = handshake(context, client(minimum=only, maximum=only, alpn=named))
        assert ends.client.selected_alpn_protocol() == ends.server.selected_alpn_protocol() == chosen
    assert handshake(context, client(minimum=only, maximum=only)).client.selected_alpn_protocol() is None
