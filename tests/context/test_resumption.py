"""Who resumes, by handshakes in memory: shared secrets, rotation, trust, policy. The clock is the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import pickle
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from memory import Ends, handshake
from patience import until_in_loop
from pki import PKI

from asgi_tls import INTERMEDIATE, ServerTLS, TLSProfile, _openssl
from asgi_tls._openssl.library import reach
from asgi_tls.context.resumption import Resumption
from asgi_tls.context.server_context import ServerContext
from asgi_tls.events import Event, ReloadFailedEvent
from asgi_tls.tickets import Rotation, TicketSecretFile

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
SECRET = os.urandom(32)
PERIOD = 43_200.0
EDGE = 50_000 * PERIOD  # far enough in the future for a session's age to be judged by OpenSSL's own clock


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Host:
    """A server with a clock of its own."""

    def __init__(self, files: Files, clock: Clock, rotation: Rotation, *, threaded: bool = False) -> None:
        self.context = ServerContext(INTERMEDIATE, threaded=threaded)
        self.context.resumption = Resumption(self.context.ssl_context, rotation, threaded=threaded, clock=clock)
        self.context.ssl_context.tls_before_each = self.context.resumption.refresh
        self.context.use({"default": [files.ecdsa.load()]}, ticket_secret=SECRET)


class Visitor:
    """A client that offers its last session. `visit` says whether it was taken, with a context or a host."""

    def __init__(self, version: ssl.TLSVersion = V13, pair: tuple[str | Path, str | Path] | None = None) -> None:
        self.peer = client(minimum=version, maximum=version)
        if pair is not None:
            self.peer.load_cert_chain(*pair)
        self.session: ssl.SSLSession | None = None

    def visit(self, server: Host | ServerContext | ssl.SSLContext, *, name: str = "localhost") -> str:
        server = server.context if isinstance(server, Host) else server
        server = server.ssl_context if isinstance(server, ServerContext) else server
        ends: Ends = handshake(server, self.peer, session=self.session, server_name=name)
        self.session = ends.client.session
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.server.unwrap()  # OpenSSL drops the session of a connection that ends without
        return "resumed" if ends.client.session_reused else "new"


def context_of(files: Files, **settings: Any) -> ServerContext:
    return ServerTLS(files.ecdsa, listeners=[], **settings).create_server_context()


@VERSIONS
def test_two_servers_with_one_secret_resume_each_others_sessions(files: Files, version: ssl.TLSVersion) -> None:
    one, other = (context_of(files, ticket_secret=SECRET) for _ in range(2))
    visitor = Visitor(version)
    assert [visitor.visit(server) for server in (one, other, one)] == ["new", "resumed", "resumed"]
    stranger = context_of(files, ticket_secret=os.urandom(32))
    assert visitor.visit(stranger) == "new"


@VERSIONS
def test_without_a_secret_a_server_shares_with_its_own_workers_alone(files: Files, version: ssl.TLSVersion) -> None:
    tls = ServerTLS(files.ecdsa, listeners=[])
    one, other = tls.create_server_context(), tls.create_server_context()
    visitor = Visitor(version)
    assert [visitor.visit(server) for server in (one, other)] == ["new", "resumed"]
    assert visitor.visit(context_of(files)) == "new"


OTHERS: dict[str, dict[str, Any]] = {
    "suites": {"profile": INTERMEDIATE.with_ciphersuites("TLS_AES_256_GCM_SHA384")},
    "groups": {"profile": INTERMEDIATE.with_groups("P-256", "X25519")},
    "version": {"profile": TLSProfile(name="old", maximum_version="TLSv1.2")},
    "client_auth": {"client_auth": "optional"},
    "rotation": {"ticket_rotation": 3600.0},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@VERSIONS
def test_another_policy_makes_a_full_handshake(files: Files, version: ssl.TLSVersion, other: dict[str, Any]) -> None:
    settings = other | ({"client_ca": files.ca} if "client_auth" in other else {})
    profile = settings.get("profile")
    if profile is not None and not profile.speaks(version.name.replace("_", ".")):
        version = V12
    visitor = Visitor(version)
    assert visitor.visit(context_of(files, ticket_secret=SECRET)) == "new"
    assert [visitor.visit(context_of(files, ticket_secret=SECRET, **settings)) for _ in range(2)] == ["new", "resumed"]


THREADED = pytest.mark.parametrize("threaded", [False, True], ids=["loop", "threads"])


@VERSIONS
@THREADED
@pytest.mark.parametrize("resuming", ["anew", "again"])
def test_rotation(files: Files, version: ssl.TLSVersion, threaded: bool, resuming: str) -> None:
    clock = Clock(EDGE - 10)
    host = Host(files, clock, Rotation(PERIOD), threaded=threaded)
    visitor = Visitor(version)
    assert visitor.visit(host) == "new"
    if resuming == "again":
        assert visitor.visit(host) == "resumed"
    clock.now = EDGE + 1
    # An old ticket leads to a full handshake and a new ticket.
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]
    clock.now = EDGE - 1  # a clock that is set back
    assert visitor.visit(host) == "new"


@VERSIONS
def test_keys_change_with_the_first_moment_of_an_epoch(files: Files, version: ssl.TLSVersion) -> None:
    clock = Clock(EDGE - 1)
    host, visitor = Host(files, clock, Rotation(PERIOD)), Visitor(version)
    for clock.now, outcomes in ((EDGE - 1, ["new", "resumed"]), (EDGE, ["new", "resumed"]), (EDGE + PERIOD, ["new"])):
        assert [visitor.visit(host) for _ in outcomes] == outcomes


@VERSIONS
@THREADED
def test_tickets_of_the_epoch_before_are_taken_and_replaced_for_a_while(
    files: Files, version: ssl.TLSVersion, threaded: bool
) -> None:
    clock = Clock(EDGE - 100)
    host = Host(files, clock, Rotation.gentle(PERIOD), threaded=threaded)
    early, late, gone = (Visitor(version) for _ in range(3))
    assert [each.visit(host) for each in (early, late, gone)] == ["new"] * 3
    clock.now = EDGE + 10
    assert early.visit(host) == "resumed"  # and has a ticket of the new epoch from now on
    clock.now = EDGE + PERIOD / 12 - 10
    newcomer = Visitor(version)
    assert newcomer.visit(host) == "new"
    assert late.visit(host) == "resumed"
    clock.now = EDGE + PERIOD / 12 + 10
    assert gone.visit(host) == "new"
    for visitor in (early, late, newcomer, gone):
        assert visitor.visit(host) == "resumed"


def count_tickets(visitor: Visitor) -> list[int]:
    """How many tickets the client reads, one number for each visit from now on."""
    counts: list[int] = []

    def on_message(_: Any, direction: str, _v: Any, content: int, message: int, _d: Any) -> None:
        if direction == "read" and content == HANDSHAKE:
            if message == SERVER_HELLO:
                counts.append(0)
            counts[-1] += message == NEW_SESSION_TICKET

    visitor.peer._msg_callback = on_message  # type: ignore[attr-defined]  # since Python 3.8, for debugging
    return counts


# RFC 8446 sections 4 and 5.1.
HANDSHAKE, SERVER_HELLO, NEW_SESSION_TICKET = 22, 2, 4


@VERSIONS
@THREADED
@pytest.mark.parametrize("gentle", [False, True], ids=["one key", "overlap"])
def test_each_connection_gets_one_ticket(files: Files, version: ssl.TLSVersion, threaded: bool, gentle: bool) -> None:
    """Resumed or not, with TLS 1.3: clients use a ticket once. One of TLS 1.2 is good until its key has changed."""
    clock = Clock(EDGE - 100)
    host = Host(files, clock, Rotation.gentle(PERIOD) if gentle else Rotation(PERIOD), threaded=threaded)
    visitor = Visitor(version)
    counts = count_tickets(visitor)
    assert [visitor.visit(host) for _ in range(3)] == ["new", "resumed", "resumed"]
    assert counts == ([1, 1, 1] if version is V13 else [1, 0, 0])
    clock.now = EDGE + 10
    expected = ["resumed" if gentle else "new", "resumed", "resumed"]
    assert [visitor.visit(host) for _ in range(3)] == expected
    assert counts[3:] == ([1, 1, 1] if version is V13 else [1, 0, 0])


@VERSIONS
def test_hosts_whose_clocks_differ(files: Files, version: ssl.TLSVersion) -> None:
    slow, fast = Clock(EDGE - 5), Clock(EDGE + 5)
    for rotation, across in ((Rotation.gentle(PERIOD), "resumed"), (Rotation(PERIOD), "new")):
        behind, ahead = (Host(files, clock, rotation) for clock in (slow, fast))
        visitor = Visitor(version)
        assert visitor.visit(ahead) == "new"
        assert [visitor.visit(host) for host in (behind, ahead, behind)] == [across] * 3


def test_a_host_that_slept_is_right_with_its_next_connection(files: Files) -> None:
    clock = Clock(EDGE - 100)
    host, visitor = Host(files, clock, Rotation.gentle(PERIOD)), Visitor()
    assert visitor.visit(host) == "new"
    clock.now += 10 * PERIOD
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]


@VERSIONS
def test_a_changed_trust_ends_sessions_within_the_overlap_too(files: Files, version: ssl.TLSVersion) -> None:
    clock = Clock(EDGE - 100)
    host, visitor = Host(files, clock, Rotation.gentle(PERIOD)), Visitor(version)
    assert visitor.visit(host) == "new"
    clock.now = EDGE + 10
    assert visitor.visit(host) == "resumed"
    resumption = host.context.resumption
    assert resumption is not None
    resumption.use(None, b"another trust")
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]


@VERSIONS
def test_the_lifetime_is_that_of_the_rotation_whichever_name_is_asked_for(
    files: Files, version: ssl.TLSVersion
) -> None:
    named = {"localhost": files.ecdsa, "www.example.com": files.example, "default": files.rsa}
    server = ServerTLS(named, ticket_rotation=1234, listeners=[]).create_context()
    for name in ("localhost", "www.example.com", "elsewhere.test"):
        visitor = Visitor(version)
        assert [visitor.visit(server, name=name) for _ in range(2)] == ["new", "resumed"]
        assert visitor.session is not None
        assert visitor.session.has_ticket
        if version is V13:  # a TLS 1.2 client keeps the first ticket
            assert visitor.session.ticket_lifetime_hint == 1234


def test_a_session_that_is_too_old_is_not_resumed(files: Files) -> None:
    # OpenSSL's own clock judges this one, so it takes a moment. The epoch is another one by then, or it is not.
    server, visitor = context_of(files, ticket_rotation=1.0), Visitor(V12)
    assert visitor.visit(server) == "new"
    deadline = time.monotonic() + 2.1
    while time.monotonic() < deadline:
        time.sleep(0.1)
    assert visitor.visit(server) == "new"


class TicketlessVisitor(Visitor):
    """Of TLS 1.2, as curl on Debian is: it knows its session by an ID alone."""

    def __init__(self, pair: tuple[Path, Path] | None = None) -> None:
        super().__init__(V12, pair)
        self.peer.options |= ssl.OP_NO_TICKET


def test_sessions_of_tls_1_2_without_tickets_are_kept_here_and_no_others(files: Files) -> None:
    server, other = context_of(files, ticket_secret=SECRET), context_of(files, ticket_secret=SECRET)
    for version in (V12, V13):
        visitor = Visitor(version)
        assert [visitor.visit(server) for _ in range(2)] == ["new", "resumed"]
    assert server.ssl_context.session_stats()["number"] == 0
    without = TicketlessVisitor()
    assert [without.visit(server) for _ in range(3)] == ["new", "resumed", "resumed"]
    assert server.ssl_context.session_stats()["number"] == 1
    assert without.visit(other) == "new"  # each worker has its own
    lib = reach()
    lib.SSL_CTX_get_max_early_data.argtypes = [ctypes.c_void_p]
    assert lib.SSL_CTX_get_max_early_data(lib.context(server.ssl_context)) == 0


@THREADED
def test_the_cache_ends_with_epoch_secret_and_trust(files: Files, threaded: bool) -> None:
    clock, visitor = Clock(EDGE - 10), TicketlessVisitor()
    host = Host(files, clock, Rotation(PERIOD), threaded=threaded)
    resumption = host.context.resumption
    assert resumption is not None
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]
    clock.now = EDGE + 1
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]
    resumption.use(os.urandom(32), b"")
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]
    resumption.use(None, b"another trust")
    assert [visitor.visit(host) for _ in range(2)] == ["new", "resumed"]


def test_the_cache_is_bounded_and_drops_the_oldest(files: Files) -> None:
    server = context_of(files)
    lib = reach()
    get_size = 43  # SSL_CTRL_GET_SESS_CACHE_SIZE; 0 means no limit
    assert 1000 < lib.SSL_CTX_ctrl(lib.context(server.ssl_context), get_size, 0, None) < 10_000
    _openssl.limit_sessions(server.ssl_context, 60, 4)
    visitors = [TicketlessVisitor() for _ in range(7)]
    assert {visitor.visit(server) for visitor in visitors} == {"new"}
    assert 0 < server.ssl_context.session_stats()["number"] <= 4
    assert [visitors[number].visit(server) for number in (6, 5, 0)] == ["resumed", "resumed", "new"]


def test_a_session_in_the_cache_does_not_outlive_its_ca(files: Files, tmp_path: Path) -> None:
    """Neither one that is there, nor one of a handshake that is under way."""
    leaving = PKI("Leaving")
    pair = leaving.leaf("c.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)).write(tmp_path)
    server, visitor = context_of(files, client_ca=bundle_of(tmp_path, files, leaving)), TicketlessVisitor(pair)
    assert [visitor.visit(server) for _ in range(2)] == ["new", "resumed"]
    late = server.ssl_context.wrap_bio(to_server := ssl.MemoryBIO(), to_late := ssl.MemoryBIO(), server_side=True)
    one = TicketlessVisitor(pair).peer.wrap_bio(to_late, to_server, server_hostname="localhost")
    for end in (one, late, one):  # up to the client's last flight
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    server.use({"default": [files.ecdsa.load()]}, client_ca=files.ca_text)
    with pytest.raises(ssl.SSLError, match="the CAs of clients have changed"):
        late.do_handshake()
    assert server.ssl_context.session_stats()["number"] == 0
    with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
        visitor.visit(server)


def bundle_of(directory: Path, files: Files, *more: PKI) -> Path:
    bundle = directory / "clients.pem"
    bundle.write_bytes(files.ca.read_bytes() + b"".join(pki.root_pem for pki in more))
    return bundle


@VERSIONS
def test_tickets_can_be_switched_off_as_anywhere(files: Files, version: ssl.TLSVersion) -> None:
    server, visitor = context_of(files), Visitor(version)
    server.ssl_context.options |= ssl.OP_NO_TICKET
    assert [visitor.visit(server) for _ in range(2)] == ["new", "new"]


def test_client_certificates_are_asked_for_again_once_a_rotation(files: Files) -> None:
    """The context of a server with client certificates has one key at a time: no overlap carries a session on."""
    plain = context_of(files, ticket_secret=SECRET).resumption
    asking = context_of(files, ticket_secret=SECRET, client_ca=files.ca).resumption
    assert plain is not None
    assert asking is not None
    assert plain._rotation == Rotation.gentle(PERIOD)
    assert asking._rotation == Rotation(PERIOD)


@VERSIONS
def test_hosts_that_take_up_a_new_trust_one_after_the_other(
    files: Files, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    staying, leaving = PKI("Staying"), PKI("Leaving")
    both, one = staying.root_pem + leaving.root_pem, staying.root_pem
    hosts = []
    for name in ("a", "b"):
        bundle = tmp_path / name
        bundle.write_bytes(both)
        hosts.append((bundle, ServerTLS(files.ecdsa, client_ca=bundle, ticket_secret=SECRET, listeners=[])))
    eku = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    good, bad = (
        Visitor(version, pki.leaf("c.example", eku=eku).write(tmp_path / pki.name)) for pki in (staying, leaving)
    )

    async def main() -> None:
        (path_a, tls_a), (path_b, tls_b) = hosts
        a, b = tls_a.create_server_context(watch=True), tls_b.create_server_context(watch=True)
        for visitor in (good, bad):
            assert [visitor.visit(host) for host in (a, b, a)] == ["new", "resumed", "resumed"]
        before, kept = b.certificates, bad.session
        path_b.write_bytes(one)
        b.reload()
        await until_in_loop(lambda: b.certificates is not before)
        with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
            bad.visit(b)
        bad.session = kept
        # It is trusted at the other host for as long as that has the old bundle, and what it gets there is worthless
        # here.
        assert bad.visit(a) == "resumed"
        with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
            bad.visit(b)
        assert [good.visit(host) for host in (b, b, a)] == ["new", "resumed", "new"]
        before = a.certificates
        path_a.write_bytes(one)
        a.reload()
        await until_in_loop(lambda: a.certificates is not before)
        assert [good.visit(host) for host in (b, a, b)] == ["new", "resumed", "resumed"]
        bad.session = kept
        with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
            bad.visit(a)

    asyncio.run(main())


def test_a_new_secret_file_is_taken_up_and_a_bad_one_is_not(files: Files, tmp_path: Path) -> None:
    path, told = tmp_path / "ticket.key", []
    path.write_bytes(SECRET)
    path.chmod(0o600)

    def listen(event: Event) -> None:
        if isinstance(event, ReloadFailedEvent):
            told.append(event)

    async def main() -> None:
        tls = ServerTLS(
            files.ecdsa, ticket_secret=TicketSecretFile(path), reload_interval=0.1, listeners=[listen]
        )  # fmt: skip
        one, other = tls.create_server_context(), tls.create_server_context()
        visitor = Visitor()
        assert [visitor.visit(server) for server in (one, other)] == ["new", "resumed"]
        path.write_bytes(b"short")
        await until_in_loop(lambda: len(told) == 2)
        assert {event.source for event in told} == {f"ticket secret {path}"}
        assert all("has 5 bytes" in event.msg for event in told)
        assert [visitor.visit(server) for server in (one, other)] == ["resumed", "resumed"]
        served = one.certificates, other.certificates
        path.write_bytes(os.urandom(32))
        await until_in_loop(lambda: one.certificates is not served[0] and other.certificates is not served[1])
        assert [visitor.visit(server) for server in (one, other)] == ["new", "resumed"]
        # A restarted worker gets along with a bad file by what its parent knows.
        parent = ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(path), listeners=[])
        parent.check()
        worker = pickle.loads(pickle.dumps(parent))
        path.write_bytes(b"short")
        restarted = worker.create_server_context()
        assert visitor.visit(restarted) == "resumed"

    asyncio.run(main())


def test_an_idle_server_drops_its_old_keys(files: Files) -> None:
    """The reloader looks at the clock where no connection does."""
    now = Clock(EDGE - 1)

    async def main() -> None:
        server = ServerTLS(files.ecdsa, reload_interval=0.05, listeners=[]).create_server_context()
        server.resumption = resumption = Resumption(server.ssl_context, Rotation(PERIOD), clock=now)
        now.now = EDGE + 1
        assert resumption.is_due
        await until_in_loop(lambda: not resumption.is_due)

    asyncio.run(main())


def test_a_handshake_may_outlive_its_context(files: Files) -> None:
    """libssl keeps the context, and calls the callback, for as long as there are connections."""
    clock = Clock(EDGE + 10)
    host = Host(files, clock, Rotation.gentle(PERIOD))
    peer = client(minimum=V13)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = peer.wrap_bio(to_client, to_server, server_hostname="localhost")
    other = host.context.ssl_context.wrap_bio(to_server, to_client, server_side=True)
    for end in (one, other):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    del host
    gc.collect()
    one.do_handshake()
    other.do_handshake()
    other.write(b"!")
    assert one.read(1) == b"!"
    assert one.session is not None
    assert one.session.has_ticket


@VERSIONS
def test_keys_that_change_under_threads_break_no_handshake(files: Files, version: ssl.TLSVersion) -> None:
    """Without the callback, most runs fail: OpenSSL copies the 80 bytes without a lock."""
    server = context_of(files)
    resumption = server.resumption
    assert resumption is not None
    stop, outcomes = threading.Event(), []

    def turn() -> None:
        while not stop.is_set():
            for secret in (SECRET, os.urandom(32)):
                resumption.use(secret, b"")

    def visit() -> None:
        visitor = Visitor(version)
        for _ in range(60):
            try:
                outcomes.append(visitor.visit(server))
            except Exception as error:  # noqa: BLE001 -- told below, in the main thread
                outcomes.append(repr(error))

    turning = threading.Thread(target=turn)
    visiting = [threading.Thread(target=visit) for _ in range(3)]
    for thread in (turning, *visiting):
        thread.start()
    for thread in visiting:
        thread.join()
    stop.set()
    turning.join()
    assert len(outcomes) == 180
    assert {*outcomes} == {"new", "resumed"}


OUT_OF_REACH = """
import contextlib, contextvars, gc, pathlib, sys, ssl, time
sys.implementation.name = "another"  # Its objects are laid out in an unknown way, so libssl is left alone.
sys.path.insert(0, {support!r})
from memory import handshake
from handshakes import client
from asgi_tls import INTERMEDIATE, PEMFiles, ServerTLS, _openssl
from asgi_tls.cli.capabilities import losses
assert _openssl.capabilities().ticket_keys is None
print([loss.what for loss in losses(INTERMEDIATE)])
source = PEMFiles({certfile!r}, {keyfile!r})
# P-256 is the curve of the clients' certificates, which TLS 1.2 wants in the list.
settings = dict(profile=INTERMEDIATE.with_groups("X25519", "P-256"), allow_unsupported=True, listeners=[])
server = ServerTLS(source, ticket_secret=b"0123456789abcdef" * 2, **settings).create_server_context()
print(*server.notes, sep="\\n")
peer = client()
first = handshake(server.ssl_context, peer)
print("resumed", handshake(server.ssl_context, peer, session=first.client.session).client.session_reused)
asking = ServerTLS(source, client_ca={ca!r}, client_auth="optional", **settings).create_context()
first = handshake(asking, peer)
print("with client certificates", first.client.session.has_ticket)

# OpenSSL's own cache cannot be emptied: sessions of a CA that has been removed are refused by their time.
bundle = pathlib.Path({bundle!r})
strict = ServerTLS(source, client_ca=bundle, **settings).create_server_context()
known = {{name: client(maximum=ssl.TLSVersion.TLSv1_2) for name in ("staying", "leaving")}}
sessions = {{}}
def visit(name):
    ends = None
    with contextlib.suppress(ssl.SSLError):
        # In a context of its own, as each connection is: its variables keep the ends alive.
        shake = lambda: handshake(strict.ssl_context, known[name], session=sessions.get(name))
        ends = contextvars.copy_context().run(shake)
    if ends is None:
        gc.collect()  # what is left of the connection: with it goes its session in the cache
        return "refused"
    sessions[name] = ends.client.session
    with contextlib.suppress(ssl.SSLWantReadError):
        ends.server.unwrap()
    return "resumed" if ends.client.session_reused else "new"
for name, peer in known.items():
    peer.load_cert_chain(*{pairs!r}[name])
    print(name, visit(name), visit(name))
strict.use({{"default": [source.load()]}}, client_ca=open({ca!r}).read())
time.sleep(1.1)  # a session's time is in seconds
print(*(f"{{name}}: {{visit(name)}} {{visit(name)}} {{visit(name)}}" for name in known), sep="\\n")
"""


def filled(script: str, files: Files, tmp_path: Path) -> str:
    """The script with the server's files, and those of a client of a CA that stays and of one whose CA is removed."""
    leaving, eku = PKI("Leaving"), (ExtendedKeyUsageOID.CLIENT_AUTH,)
    pairs = {
        name: tuple(map(str, pki.leaf("c.example", eku=eku).write(tmp_path / name)))
        for name, pki in (("staying", files.pki), ("leaving", leaving))
    }
    return script.format(
        support=str(Path(__file__).parents[1] / "support"),
        certfile=str(files.ecdsa.certfile), keyfile=str(files.ecdsa.keyfile), ca=str(files.ca),
        bundle=str(bundle_of(tmp_path, files, leaving)), pairs=pairs,
    )  # fmt: skip


def test_where_libssl_is_out_of_reach(files: Files, tmp_path: Path) -> None:
    script = filled(OUT_OF_REACH, files, tmp_path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no resumption at another worker" in done.stdout
    assert "sessions resume only at the same worker" in done.stdout
    assert "resumed True" in done.stdout
    assert "with client certificates False" in done.stdout
    assert "staying new resumed\nleaving new resumed\n" in done.stdout
    assert "staying: refused new resumed\nleaving: refused refused refused\n" in done.stdout
    strict = script.replace("allow_unsupported=True", "allow_unsupported=False")
    done = subprocess.run([sys.executable, "-c", strict], capture_output=True, text=True, check=False)
    assert "UnsupportedError" in done.stderr


OUT_OF_REACH_AND_BLOCKING = """
import contextlib, pathlib, socket, ssl, sys, threading, time
sys.implementation.name = "another"
sys.path.insert(0, {support!r})
from handshakes import client
from asgi_tls import INTERMEDIATE, PEMFiles, ServerTLS
bundle = pathlib.Path({bundle!r})
profile = INTERMEDIATE.with_groups("X25519", "P-256")
tls = ServerTLS(PEMFiles({certfile!r}, {keyfile!r}), client_ca=bundle, reload_interval=0.2, profile=profile,
                allow_unsupported=True, listeners=[])
context = tls.create_server_context(watch=True).ssl_context
listener = socket.create_server(("127.0.0.1", 0))

def serve():  # as a threaded worker of gunicorn does
    while True:
        with contextlib.suppress(OSError):
            with context.wrap_socket(listener.accept()[0], server_side=True, do_handshake_on_connect=False) as secure:
                secure.do_handshake()
                secure.sendall(b"x")
threading.Thread(target=serve, daemon=True).start()

sessions, known = {{}}, {{name: client(maximum=ssl.TLSVersion.TLSv1_2) for name in ("staying", "leaving")}}
def visit(name):
    raw = socket.create_connection(listener.getsockname(), timeout=60)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        with known[name].wrap_socket(raw, server_hostname="localhost", session=sessions.get(name)) as secure:
            if secure.recv(1):
                sessions[name] = secure.session
                return "resumed" if secure.session_reused else "new"
    return "refused"
for name, peer in known.items():
    peer.load_cert_chain(*{pairs!r}[name])
    print(name, visit(name), visit(name))
bundle.write_text(pathlib.Path({ca!r}).read_text())
deadline = time.monotonic() + 60
while visit("leaving") != "refused":
    assert time.monotonic() < deadline
time.sleep(1.1)  # a session's time is in seconds
print(*(f"{{name}}: {{visit(name)}} {{visit(name)}} {{visit(name)}}" for name in known), sep="\\n")
"""


def test_where_libssl_is_out_of_reach_without_an_event_loop(files: Files, tmp_path: Path) -> None:
    script = filled(OUT_OF_REACH_AND_BLOCKING, files, tmp_path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "staying new resumed", "leaving new resumed", "staying: refused new resumed", "leaving: refused refused refused"
    ]  # fmt: skip
