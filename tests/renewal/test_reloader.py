"""The reloader in an event loop: events, names, client CAs, CRLs, sessions, and its end."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import logging
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from memory import handshake
from nobody import as_nobody, as_root
from patience import until, until_in_loop
from pki import DAY, PKI, Pair
from renewals import Site

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.certificate import PasswordFile
from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import ConfigurationError, ExpiredError, MissingFileError, NotPEMError, UnreadableFileError
from asgi_tls.events import (
    CertificateExpiringEvent,
    CertificateLoadedEvent,
    ClientCAExpiringEvent,
    ClientErrorEvent,
    CRLExpiringEvent,
    Event,
    ReloadFailedEvent,
    SessionEvent,
)
from asgi_tls.explain import explain
from asgi_tls.listeners.log import log_events
from asgi_tls.renewal.state import GRACE
from asgi_tls.tickets import TicketSecretFile

INTERVAL = 0.1
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)


class Seen(list[Event]):
    """A listener that remembers what was told of certificates, and in which thread it was called."""

    thread: threading.Thread | None = None

    def __call__(self, event: Event, /) -> None:
        self.thread = threading.current_thread()
        if not isinstance(event, SessionEvent | ClientErrorEvent):
            self.append(event)


def served(context: ServerContext, name: str | None = "localhost") -> bytes | None:
    """The certificate that a client gets for a name, None where it is refused."""
    try:
        return handshake(context.ssl_context, client(), server_name=name).client.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        if error.reason != "TLSV1_UNRECOGNIZED_NAME":
            raise
        return None


def test_events_come_in_a_thread_and_a_failure_is_told_once(files: Files, tmp_path: Path) -> None:
    site, seen = Site(files.pki, tmp_path), Seen()

    async def main() -> None:
        context = ServerTLS(site.source, reload_interval=INTERVAL, listeners=[seen]).create_server_context()
        good = Path(site.source.certfile).read_bytes()
        Path(site.source.certfile).write_bytes(good[:100])
        context.reload()
        await until_in_loop(lambda: len(seen) == 2)
        failed = seen[1]
        assert isinstance(failed, ReloadFailedEvent)
        assert (failed.code, failed.source) == ("certificate-truncated-file", str(site.source))
        # The same failure is reported once, however long it lasts; what comes back is reported as well.
        Path(site.source.certfile).write_bytes(good)
        await until_in_loop(lambda: len(seen) == 3)
        assert isinstance(seen[2], CertificateLoadedEvent)
        assert seen.thread is not threading.main_thread()  # a slow listener holds up nobody

    asyncio.run(main())


def test_the_log_says_what_was_kept(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Certificates are not all that is reloaded, and of a new pair there is nothing to keep."""
    ca, crl, secret, sites = (tmp_path / name for name in ("ca.pem", "crl.pem", "ticket.key", "sites"))
    ca.write_bytes(files.pki.root_pem)
    crl.write_bytes(files.pki.crl(files.pki.root))
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    files.pki.leaf("a.example").write(sites / "a")
    expired = files.pki.crl(files.pki.root, ends=files.pki.now - DAY)
    gone = sites / "a" / "fullchain.pem"
    steps: dict[str, Callable[[], object]] = {
        f"certificate: {gone}: no such file. It is gone; what was loaded": gone.unlink,
        f"client CAs and CRLs: {crl}: contains a CRL of": lambda: crl.write_bytes(expired),
        f"ticket secret: {secret}: is empty": lambda: secret.write_bytes(b""),
        f"list of pairs: {sites}: no such directory": lambda: sites.rename(tmp_path / "away"),
    }

    def is_said(line: str) -> bool:
        return any(record.levelname == "ERROR" and record.getMessage().startswith(line) for record in caplog.records)

    async def main() -> None:
        tls = ServerTLS(
            {}, directory=sites, client_ca=ca, client_crl=crl, ticket_secret=TicketSecretFile(secret),
            reload_interval=INTERVAL, listeners=[log_events],
        )  # fmt: skip
        context = tls.create_server_context()
        files.pki.leaf("b.example").write(sites / "b")[1].unlink()
        context.reload()
        says = f"nothing is served for the new pair: {sites}/b/privkey.pem: no such file. Put it there, or remove"
        await until_in_loop(lambda: is_said(says))
        for line, change in steps.items():
            change()
            context.reload()
            await until_in_loop(functools.partial(is_said, f"kept the old {line}"))

    asyncio.run(main())


def test_a_renewal_that_has_expired_is_refused(files: Files, tmp_path: Path) -> None:
    site, seen = Site(files.pki, tmp_path), Seen()

    async def main() -> None:
        context = ServerTLS(site.source, reload_interval=INTERVAL, listeners=[seen]).create_server_context()
        before = served(context)
        site.write(files.pki.expired("localhost"), site.mount)
        context.reload()
        await until_in_loop(lambda: len(seen) == 2)
        assert isinstance(seen[1], ReloadFailedEvent)
        assert seen[1].code == ExpiredError.code
        assert served(context) == before

    asyncio.run(main())


def test_modes_that_change_while_serving_are_reported(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each once, and no session ends for it."""
    site, secret, password = Site(files.pki, tmp_path, password=b"x"), tmp_path / "ticket.key", tmp_path / "password"
    for path, text in ((secret, os.urandom(32)), (password, b"x")):
        path.write_bytes(text)
        path.chmod(0o600)
    key = Path(str(site.source.keyfile))
    source = PEMFiles(site.source.certfile, key, PasswordFile(password))

    async def main() -> None:
        tls = ServerTLS(source, reload_interval=INTERVAL, listeners=[], ticket_secret=TicketSecretFile(secret))
        context = tls.create_server_context()
        visitor = client()
        first = handshake(context.ssl_context, visitor).client.session
        caplog.clear()
        for number, path in enumerate((key, password, secret), 1):
            path.chmod(0o644)
            await until_in_loop(functools.partial(lambda count: len(caplog.messages) == count, number))
        context.reload()
        await asyncio.sleep(3 * INTERVAL)
        assert handshake(context.ssl_context, visitor, session=first).client.session_reused

    with caplog.at_level(logging.WARNING, "asgi_tls"):
        asyncio.run(main())
    assert caplog.messages == [
        f"{path}: the {what} is open to everyone (mode 0644); chmod 0600 (open-file)"
        for path, what in ((key, "key"), (password, "password"), (secret, "ticket secret"))
    ]


@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_a_forgotten_self_signed_pair_answers_nobody(files: Files, tmp_path: Path, key: str) -> None:
    """Neither for its longer life, nor to clients that prefer its kind of key."""
    pair = files.pki.leaf("localhost")
    pair.write(tmp_path / "localhost")
    files.pki.leaf("localhost", key=key, self_signed=True, not_after=files.pki.now + 3650 * DAY).write(tmp_path / "old")
    context = ServerTLS({}, directory=tmp_path, listeners=[]).create_server_context()
    for peer in (client(), client(maximum=ssl.TLSVersion.TLSv1_2)):
        ends = handshake(context.ssl_context, peer)
        assert ends.client.getpeercert(binary_form=True) == pair.der
    with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
        handshake(context.ssl_context, client(maximum=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-RSA-AES128-GCM-SHA256"))


def test_one_bad_source_does_not_hold_up_the_others(files: Files, tmp_path: Path) -> None:
    one, other = Site(files.pki, tmp_path / "one"), Site(files.pki, tmp_path / "other")

    async def main() -> None:
        tls = ServerTLS({"localhost": one.source, "default": other.source}, reload_interval=INTERVAL, listeners=[])
        context = tls.create_server_context()
        before, pair = served(context), other.next_pair()
        Path(one.source.certfile).write_bytes(b"")
        other.write(pair, other.mount)
        context.reload()
        await until_in_loop(lambda: served(context, None) == pair.der)
        assert served(context) == before

    asyncio.run(main())


def test_a_pair_that_does_not_cover_its_name_is_refused(files: Files, tmp_path: Path) -> None:
    site, seen = Site(files.pki, tmp_path), Seen()

    async def main() -> None:
        tls = ServerTLS({"localhost": site.source}, reload_interval=INTERVAL, listeners=[seen])
        context = tls.create_server_context()
        before = served(context)
        site.write(files.pki.leaf("elsewhere.example"), site.mount)
        context.reload()
        await until_in_loop(lambda: len(seen) == 2)
        assert isinstance(seen[1], ReloadFailedEvent)
        assert "is set for 'localhost'" in seen[1].msg
        assert served(context) == before

    asyncio.run(main())


def test_pairs_come_and_go_in_a_directory(files: Files, tmp_path: Path) -> None:
    def add(name: str, *names: str) -> Pair:
        pair = files.pki.leaf(*names)
        pair.write(tmp_path / name)
        return pair

    first = add("first", "a.example", "*.a.example")
    flat = files.pki.leaf("flat.example")
    flat.write(tmp_path, certfile="flat.crt", keyfile="flat.key")
    seen = Seen()

    async def main() -> None:
        context = ServerTLS({}, directory=tmp_path, reload_interval=INTERVAL, listeners=[seen]).create_server_context()
        assert [served(context, name) for name in ("a.example", "x.a.example", "flat.example", None)] == [
            first.der, first.der, flat.der, None,
        ]  # fmt: skip
        second = add("second", "b.example")
        await until_in_loop(lambda: served(context, "b.example") == second.der)
        default = add("default", "c.example")
        await until_in_loop(lambda: served(context, "unknown.example") == default.der)
        # A bad newcomer is told, and nobody else notices.
        (tmp_path / "third").mkdir()
        (tmp_path / "third" / "fullchain.pem").write_bytes(b"garbage")
        await until_in_loop(lambda: isinstance(seen[-1], ReloadFailedEvent))
        assert "third" in seen[-1].source  # type: ignore[attr-defined]
        assert served(context, "b.example") == second.der
        # Of two for one name, the one that lasts longer.
        newer = files.pki.leaf("a.example", not_after=files.pki.now + 95 * DAY)
        newer.write(tmp_path / "first-0001")
        await until_in_loop(lambda: served(context, "a.example") == newer.der)
        for name in ("fullchain.pem", "privkey.pem"):
            (tmp_path / "second" / name).unlink()
        await until_in_loop(lambda: served(context, "b.example") == default.der)
        # The whole directory away, for a remount for instance: what was there is served on.
        tmp_path.rename(tmp_path.with_name("away"))
        context.reload()
        await until_in_loop(lambda: any("no such directory" in getattr(event, "msg", "") for event in seen))
        assert served(context, "a.example") == newer.der
        tmp_path.with_name("away").rename(tmp_path)

    asyncio.run(main())


def test_a_pair_in_a_directory_with_a_name_that_no_client_accepts(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its other names are served, and the start says so."""
    names = tuple(map(x509.DNSName, ("*.com", "a.test", "f*.bar.net", "192.0.2.1")))
    pair = files.pki.leaf(san_names=names)
    pair.write(tmp_path / "one")
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        context = ServerTLS({}, directory=tmp_path, listeners=[]).create_context()
    assert handshake(context, client(), server_name="a.test").client.getpeercert(binary_form=True) == pair.der
    for name in ("*.com", "f*.bar.net"):
        words = f": no client accepts the certificate for {name}, one of its names (unusable-name)"
        assert any(each.endswith(words) for each in caplog.messages)


def test_names_that_are_served_no_longer_are_in_the_log(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where their pair was removed, and where a renewal has lost them. Not if another pair has them."""

    def add(directory: str, *names: str) -> None:
        files.pki.leaf(*names).write(tmp_path / directory)

    add("a", "a.example")
    add("b", "b.example", "www.b.example")
    add("c", "a.example", "c.example")
    add("many", *(f"{number:02}.example" for number in range(30)))
    says = "no longer served, because no certificate has these names any more: "

    def lines() -> list[str]:
        return [line.removeprefix(says) for line in caplog.messages if line.startswith(says)]

    async def main() -> None:
        tls = ServerTLS({}, directory=tmp_path, reload_interval=INTERVAL, listeners=[log_events])
        context = tls.create_server_context()
        for count, change in enumerate(("b", "c", "many"), 1):
            shutil.rmtree(tmp_path / change)
            if change == "b":
                add("b", "b.example")
            await until_in_loop(functools.partial(lambda count: len(lines()) == count, count))
        assert served(context, "a.example") is not None
        assert served(context, "c.example") is None

    with caplog.at_level(logging.INFO, "asgi_tls"):
        asyncio.run(main())
    many = ", ".join(f"{number:02}.example" for number in range(20))
    assert lines() == ["www.b.example", "c.example", f"{many} and 10 more"]


def test_a_site_whose_certificate_is_gone_or_out_of_reach_stays_up_and_is_reported(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a user without root's rights."""
    seen, sites = Seen(), tmp_path / "sites"
    pairs = {name: files.pki.leaf(f"{name}.example") for name in ("gone", "closed", "linked")}
    for name, pair in pairs.items():
        for path in pair.write(sites / name):
            path.chmod(0o644)
    (tmp_path / "elsewhere").mkdir()
    (sites / "linked").rename(tmp_path / "elsewhere" / "linked")
    (sites / "linked").symlink_to(Path("..", "elsewhere", "linked"))
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the directories above it are closed to others

    async def main() -> None:
        tls = ServerTLS({}, directory="sites", reload_interval=INTERVAL, listeners=[seen])
        context = tls.create_server_context()
        with as_root():
            (sites / "gone" / "fullchain.pem").unlink()
            (sites / "closed").chmod(0)
            (tmp_path / "elsewhere").chmod(0)
        context.reload()
        await until_in_loop(lambda: len(seen) == 6)
        failed = {event.source.split("/")[1]: event for event in seen if isinstance(event, ReloadFailedEvent)}
        assert {name: event.code for name, event in failed.items()} == {
            "gone": MissingFileError.code, "closed": UnreadableFileError.code, "linked": UnreadableFileError.code,
        }  # fmt: skip
        await asyncio.sleep(3 * INTERVAL + GRACE)
        assert [served(context, f"{name}.example") for name in pairs] == [pair.der for pair in pairs.values()]
        assert len(seen) == 6
        with pytest.raises(UnreadableFileError, match=r"closed/fullchain\.pem: .* may not search .*/sites/closed\. "):
            ServerTLS({}, directory="sites").create_context()

    codecs.lookup("idna")  # a module of Python's, which may be closed to others too
    with as_nobody():
        asyncio.run(main())


def test_a_pair_for_an_address_is_served_to_clients_that_name_no_host(files: Files, tmp_path: Path) -> None:
    """As those with https://127.0.0.1/ (RFC 6066 section 3: an address is no name), by the address they connect to."""
    pair, other, hidden = files.pki.leaf("127.0.0.1"), files.pki.leaf("10.0.0.1"), files.pki.leaf("localhost")
    for number, each in enumerate((pair, other, hidden)):
        each.write(tmp_path / str(number))

    async def visit(port: int, name: str | None) -> bytes | None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client(), server_hostname=name or "")
        try:
            found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return found
        finally:
            writer.close()

    async def main() -> None:
        context = ServerTLS({}, directory=tmp_path, listeners=[]).create_server_context()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", ssl=context.ssl_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert await visit(port, None) == pair.der
            assert await visit(port, "localhost") == hidden.der
        assert context.covers("10.0.0.1")
        default = files.pki.leaf("default.example")
        default.write(tmp_path / "default")
        context.reload()
        await until_in_loop(lambda: len(context.certificates) == 5)
        assert served(context, None) == default.der  # where the address is not known

    asyncio.run(main())
    # The same on blocking sockets.
    context = ServerTLS({}, directory=tmp_path, listeners=[]).create_context()
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        made = pool.submit(lambda: context.wrap_socket(listening.accept()[0], server_side=True))
        with (
            socket.create_connection(listening.getsockname(), timeout=60) as raw,
            client().wrap_socket(raw) as secure,
        ):
            assert secure.getpeercert(binary_form=True) == pair.der
        made.result().close()


def test_a_directory_that_is_not_there_or_holds_a_bad_pair_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="none: no such directory"):
        ServerTLS({}, directory=tmp_path / "none").create_context()
    with pytest.raises(ConfigurationError, match=r"directory is .*, which contains no key pair\. Put pairs into it"):
        ServerTLS({}, directory=tmp_path).create_context()
    (tmp_path / "bad.crt").write_bytes(b"garbage")
    with pytest.raises(NotPEMError, match=r"bad\.crt"):
        ServerTLS({}, directory=tmp_path).create_context()


class Visitor:
    """A client with a certificate that resumes its session where it can."""

    def __init__(self, pair: Pair, directory: Path, version: ssl.TLSVersion, options: int = 0) -> None:
        self.context = client(minimum=version, maximum=version)
        self.context.options |= options
        self.context.load_cert_chain(*pair.write(directory))
        self.session: ssl.SSLSession | None = None

    def visit(self, server: ServerContext) -> str:
        try:
            ends = handshake(server.ssl_context, self.context, session=self.session)
        except ssl.SSLError as error:
            return str(error.reason)
        self.session = ends.client.session
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.server.unwrap()  # OpenSSL before 3.5 drops the session of a connection that ends without
        return "resumed" if ends.client.session_reused else "new"


HOW = [
    (ssl.TLSVersion.TLSv1_2, 0),
    (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TICKET),  # would resume by session identifier, out of the server's cache
    (ssl.TLSVersion.TLSv1_3, 0),
]


@pytest.mark.parametrize(("version", "options"), HOW)
@pytest.mark.parametrize("what", ["CA removed", "revoked"])
def test_a_client_that_is_not_trusted_any_more_gets_in_neither_anew_nor_by_resuming(
    files: Files, tmp_path: Path, version: ssl.TLSVersion, options: int, what: str
) -> None:
    site, staying, leaving = Site(files.pki, tmp_path), PKI("Staying"), PKI("Leaving")
    bundle, crls = tmp_path / "clients.pem", tmp_path / "crl.pem"
    bundle.write_bytes(staying.root_pem + leaving.root_pem)
    bad = leaving.leaf("bad.example", eku=CLIENT)

    def lists(*revoked: Pair) -> bytes:
        roots = staying.crl(staying.root) + leaving.crl(leaving.root)
        return roots + staying.crl(staying.intermediate) + leaving.crl(leaving.intermediate, *revoked)

    crls.write_bytes(lists())

    async def main() -> None:
        context = ServerTLS(
            site.source, client_ca=bundle, client_crl=crls if what == "revoked" else None,
            reload_interval=INTERVAL, listeners=[],
        ).create_server_context()  # fmt: skip
        good_one = Visitor(staying.leaf("good.example", eku=CLIENT), tmp_path / "good", version, options)
        bad_one, bad_later = (Visitor(bad, tmp_path / "bad", version, options) for _ in range(2))
        for visitor in (good_one, bad_one):
            assert [visitor.visit(context) for _ in range(2)] == ["new", "resumed"]
        # A renewed certificate ends no session.
        pair = site.next_pair()
        site.write(pair, site.mount)
        first = context.certificates
        await until_in_loop(lambda: context.certificates is not first)
        for visitor in (good_one, bad_one):
            assert visitor.visit(context) == "resumed"
        before = context.certificates
        if what == "revoked":
            crls.write_bytes(lists(bad))
        else:
            bundle.write_bytes(staying.root_pem)
        await until_in_loop(lambda: context.certificates is not before)
        for visitor in (bad_one, bad_later):
            said = visitor.visit(context)
            assert said not in {"new", "resumed"}
            assert ("REVOKED" if what == "revoked" else "UNKNOWN_CA") in said
        assert [good_one.visit(context) for _ in range(2)] == ["new", "resumed"]
        # A bundle that cannot be read lets in neither more nor fewer.
        bundle.write_bytes(b"garbage")
        context.reload()
        await asyncio.sleep(3 * INTERVAL)
        assert good_one.visit(context) == "resumed"
        assert "UNKNOWN_CA" in bad_one.visit(context) or what == "revoked"

    asyncio.run(main())


def test_the_thread_ends_with_the_loop_and_with_the_context(files: Files) -> None:
    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("asgi_tls-")]

    async def main() -> ServerContext:
        context = ServerTLS(files.ecdsa, reload_interval=INTERVAL, listeners=[]).create_server_context()
        await until_in_loop(lambda: any(thread.name == "asgi_tls-reload" for thread in threads()))
        return context

    before = {*threads()}
    kept = asyncio.run(main())
    until(lambda: not ({*threads()} - before))
    assert served(kept) is not None


def test_outside_a_loop_nothing_is_watched(files: Files) -> None:
    before = {*threading.enumerate()}  # some are those of earlier tests, and may end meanwhile
    context = ServerTLS(files.ecdsa, listeners=[]).create_server_context()
    context.reload()
    assert not {*threading.enumerate()} - before


def test_a_certificate_that_expires_is_told_while_it_is_served(files: Files, tmp_path: Path) -> None:
    seen = Seen()
    pair = files.pki.leaf("localhost", not_before=files.pki.now - 80 * DAY, not_after=files.pki.now + 10 * DAY)

    async def main() -> None:
        source = PEMFiles(*pair.write(tmp_path))
        context = ServerTLS(source, reload_interval=INTERVAL, listeners=[seen]).create_server_context()
        await until_in_loop(lambda: len(seen) == 2)
        assert isinstance(seen[1], CertificateExpiringEvent)
        assert (seen[1].severity, round(seen[1].days_left)) == ("warning", 10)
        await asyncio.sleep(3 * INTERVAL)
        assert len(seen) == 2
        assert served(context) is not None

    asyncio.run(main())


def check_log(
    caplog: pytest.LogCaptureFixture, event: CRLExpiringEvent | ClientCAExpiringEvent, level: str, code: str
) -> None:
    """It is in the log once, and `asgi-tls explain` knows the line."""
    (record,) = (record for record in caplog.records if getattr(record, "event", None) == event.event)
    assert (record.levelname, record.getMessage()) == (level, f"{event.msg} More: asgi-tls explain {code}")
    assert explain(record.getMessage())[0].trouble.code == code


def test_a_list_that_expires_soon_is_reported_while_it_is_in_use(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two lists of a CA the later one counts; a new one in the file ends it."""
    seen, ca, crl, pki = Seen(), tmp_path / "ca.pem", tmp_path / "crl.pem", files.pki
    ca.write_bytes(pki.root_pem)
    old, new = (pki.crl(pki.root, begins=pki.now - 8 * DAY, ends=pki.now + days * DAY) for days in (2, 100))
    crl.write_bytes(old + new + pki.crl(pki.intermediate, begins=pki.now - 8 * DAY, ends=pki.now + 2 * DAY))

    async def main() -> None:
        tls = ServerTLS(
            files.ecdsa, client_ca=ca, client_crl=crl, reload_interval=INTERVAL, listeners=[seen, log_events]
        )
        context = tls.create_server_context()
        await until_in_loop(lambda: len(seen) == 2)
        crl.write_bytes(new + pki.crl(pki.intermediate, ends=pki.now + 100 * DAY))
        context.reload()
        await until_in_loop(lambda: any("client CA bundle" in line for line in caplog.messages))
        await asyncio.sleep(3 * INTERVAL)

    with caplog.at_level(logging.INFO, "asgi_tls"):
        asyncio.run(main())
    (event,) = (event for event in seen if isinstance(event, CRLExpiringEvent))
    assert (event.source, event.severity, round(event.days_left)) == (str(crl), "warning", 2)
    assert event.issuer == pki.intermediate.certificate.subject.rfc4514_string()
    check_log(caplog, event, "WARNING", "tls-crl-expiring")


def test_a_ca_that_expires_soon_is_reported_while_its_clients_are_accepted(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same CA's new certificate in the file ends it."""
    seen, ca, pki = Seen(), tmp_path / "ca.pem", files.pki
    old = pki.ca("Clients", not_before=pki.now - 3650 * DAY, not_after=pki.now + 5 * DAY)
    ca.write_bytes(old.cert_pem)

    async def main() -> None:
        tls = ServerTLS(files.ecdsa, client_ca=ca, reload_interval=INTERVAL, listeners=[seen, log_events])
        context = tls.create_server_context()
        await until_in_loop(lambda: any(isinstance(event, ClientCAExpiringEvent) for event in seen))
        ca.write_bytes(old.cert_pem + pki.ca("Clients", key=old.key).cert_pem)
        context.reload()
        await until_in_loop(lambda: any("client CA bundle" in line for line in caplog.messages))
        await asyncio.sleep(3 * INTERVAL)

    with caplog.at_level(logging.INFO, "asgi_tls"):
        asyncio.run(main())
    (event,) = (event for event in seen if isinstance(event, ClientCAExpiringEvent))
    assert (event.source, event.subject, event.severity, round(event.days_left)) == (str(ca), "CN=Clients", "error", 5)
    check_log(caplog, event, "ERROR", "tls-client-ca-expiring")


def test_a_damaged_rsa_key_is_refused(files: Files, tmp_path: Path) -> None:
    """The primality test is left out, for it holds up an event loop; signing once finds the same damage."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from pki import key_to_pem

    pair = files.pki.leaf("localhost", key="rsa")
    certfile, keyfile = pair.write(tmp_path)
    numbers = pair.key.private_numbers()
    # OpenSSL goes the long way, by d, when the short one fails: a key with one of them signs as it should.
    for field in ("dmp1", "dmq1", "iqmp"):
        values = {name: getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
        values[field] += 2
        values["d"] += 2
        damaged = rsa.RSAPrivateNumbers(**values, public_numbers=numbers.public_numbers)
        keyfile.write_bytes(key_to_pem(damaged.private_key(unsafe_skip_rsa_key_validation=True)))
        with pytest.raises(NotPEMError, match="cannot be parsed as a key"):
            PEMFiles(certfile, keyfile).load()
