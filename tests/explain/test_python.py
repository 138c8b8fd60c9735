"""What Python and its servers and clients really say is recognised."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import traceback
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from cryptography.x509.oid import ExtendedKeyUsageOID
from handshakes import client, connect
from memory import handshake
from peers import answering, hanging_up, listening, resetting, server_context, silent
from pki import PKI, Pair
from servers import asgi_tls, run, serve
from wire import events, say

from asgi_tls import PEMFiles, ServerTLS, _openssl
from asgi_tls.explain import explain


@dataclass
class World:
    """A CA, pairs under it, and what goes wrong between a server and a client that are given some of them."""

    directory: Path
    pki: PKI

    @property
    def ca(self) -> Path:
        path = self.directory / "ca.pem"
        path.write_bytes(self.pki.root_pem)
        return path

    def write(self, pair: Pair) -> tuple[Path, Path]:
        return pair.write(self.directory)

    def server(self, *names: str, **how: Any) -> ssl.SSLContext:
        return server_context(*self.write(self.pki.leaf(*(names or ("localhost",)), **how)))

    def client(self, **how: Any) -> ssl.SSLContext:
        return client(ca=self.ca.read_text(encoding="ascii"), **how)

    def refused(self, server: ssl.SSLContext, **how: Any) -> str:
        """What a verifying client says."""
        return said(lambda: handshake(server, self.client(), **how))

    def pair_refused(self, pair: Pair) -> str:
        return said(lambda: server_context(*self.write(pair)))


def said(action: Callable[[], Any]) -> str:
    """The whole traceback, as a user would paste it."""
    try:
        action()
    except Exception:  # noqa: BLE001 -- whatever it is, its text is what is wanted
        return traceback.format_exc()
    raise AssertionError("nothing went wrong")


def at_client(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Without sockets, so that no reset gets ahead of the alert."""
    return said(lambda: handshake(server, client))


def at_server(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    heard: list[str] = []
    with listening(answering(server), heard) as port:
        said(lambda: connect(port, client))
    return "\n".join(heard)


def mutual(world: World, **how: Any) -> ssl.SSLContext:
    context = world.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world.ca)
    return context


def old_client(world: World) -> ssl.SSLContext:
    return world.client(maximum=ssl.TLSVersion.TLSv1_2)


def modern_server(world: World) -> ssl.SSLContext:
    context = world.server()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def with_crl_check(world: World) -> str:
    context = world.client()
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return said(lambda: handshake(world.server(), context))


def strict(world: World) -> str:
    root = world.pki.ca("Lax", basic_constraints=False)
    context = client(ca=root.cert_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return said(lambda: handshake(world.server(issuer=root), context))


def stranger(world: World) -> ssl.SSLContext:
    pki = PKI("Stranger")
    pair = pki.leaf("localhost")
    whole = Pair(pair.certificate, pair.key, (*pair.issuers, pki.root.certificate))
    return server_context(*world.write(whole))


def stranger_client(world: World) -> ssl.SSLContext:
    context = world.client()
    context.load_cert_chain(*PKI("Stranger").leaf("alice").write(world.directory / "alice"))
    return context


def with_groups(context: ssl.SSLContext, *groups: str) -> ssl.SSLContext:
    _openssl.set_groups(context, groups)
    return context


def without_answer(world: World, handle: Callable[[socket.socket], None]) -> str:
    with listening(handle) as port:
        return said(lambda: connect(port, world.client()))


def slow(world: World) -> str:
    def hurry() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as sock:
            world.client().wrap_socket(sock, server_hostname="localhost")

    with listening(silent) as port:
        return said(hurry)


def slow_in_asyncio(world: World) -> str:
    async def hurry() -> None:
        await asyncio.open_connection(
            "127.0.0.1", port, ssl=world.client(), server_hostname="localhost", ssl_handshake_timeout=0.2
        )

    with listening(silent) as port:
        return said(lambda: asyncio.run(hurry()))


def plain_to_tls(world: World) -> str:
    heard: list[str] = []
    with listening(answering(world.server()), heard) as port:
        said(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10))
    return "\n".join(heard)


def raw_key(world: World, key_pem: bytes, password: str = "") -> str:
    certfile, keyfile = world.write(world.pki.leaf("localhost"))
    keyfile.write_bytes(key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return said(lambda: context.load_cert_chain(certfile, keyfile, password))


def get(library: Callable[..., Any], server: ssl.SSLContext | None, **how: Any) -> str:
    with listening(answering(server)) as port:
        return said(lambda: library(f"https://localhost:{port}/", **how))


def unverified(world: World) -> str:
    with listening(answering(world.server())) as port, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        requests.get(f"https://localhost:{port}/", verify=False, timeout=10)
    return "\n".join(f"{each.category.__name__}: {each.message}" for each in caught)


def unknown_name(world: World) -> str:
    tls = ServerTLS({"www.example.com": PEMFiles(*world.write(world.pki.leaf("www.example.com")))})
    return said(lambda: handshake(tls.create_context(), world.client()))


def uvicorn(*options: str) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "facts_app:app", "--port=0", *options]


def plain_hypercorn(world: World) -> str:
    certfile, _ = world.write(world.pki.leaf("localhost"))
    _, keyfile = world.pki.leaf("localhost").write(world.directory / "other")
    pair = [f"--certfile={certfile}", f"--keyfile={keyfile}"]
    return run([sys.executable, "-m", "hypercorn", "--bind=127.0.0.1:0", *pair, "facts_app:app"])[1]


def plain_gunicorn(world: World) -> str:
    pair = ["--certfile=/no/cert.pem", "--keyfile=/no/key.pem"]
    return run([sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", *pair, "facts_app:wsgi"])[1]


def plain_granian(world: World) -> str:
    pair = ["--ssl-certificate=/no/cert.pem", "--ssl-keyfile=/no/key.pem"]
    return run([sys.executable, "-m", "granian", "--interface=asgi", *pair, "facts_app:app"])[1]


def plain_uvicorn(world: World, certfile: Path, keyfile: Path) -> str:
    status, text = run(uvicorn(f"--ssl-certfile={certfile}", f"--ssl-keyfile={keyfile}"))
    assert status
    return text


def tls_to_plain_uvicorn(world: World) -> str:
    with serve(uvicorn(), ready="Uvicorn running on") as server:
        said(lambda: connect(server.port, world.client()))
    return server.text


def our_event(world: World) -> str:
    certfile, keyfile = world.write(world.pki.leaf("localhost"))
    command = asgi_tls(
        "uvicorn", "facts_app:app", "--port=0", f"--ssl-certfile={certfile}", f"--ssl-keyfile={keyfile}",
        "--tls-log-json", "--tls-profile=modern",
    )  # fmt: skip
    with serve(command, ready="Uvicorn running on") as server:
        (event,) = events(server, say(server.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").port)
    return json.dumps(event)


CASES: list[tuple[str, str, Callable[[World], str]]] = [
    # who says it, the code of the trouble, how it comes about
    ("ssl", "certificate-expired", lambda w: w.refused(server_context(*w.write(w.pki.expired("localhost"))))),
    ("ssl", "certificate-not-yet-valid",
     lambda w: w.refused(server_context(*w.write(w.pki.not_yet_valid("localhost"))))),
    ("ssl", "unknown-issuer", lambda w: w.refused(server_context(*w.write(w.pki.leaf("localhost").alone())))),
    ("ssl", "self-signed", lambda w: w.refused(w.server(self_signed=True))),
    ("ssl", "self-signed-in-chain", lambda w: w.refused(stranger(w))),
    ("ssl", "name-mismatch", lambda w: w.refused(w.server("other.example"))),
    ("ssl, by address", "name-mismatch", lambda w: w.refused(w.server(), server_name="127.0.0.1")),
    ("ssl", "certificate-purpose", lambda w: w.refused(w.server(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)))),
    ("ssl", "crl-unavailable", with_crl_check),
    ("ssl, strict", "invalid-ca", strict),
    ("ssl", "unrecognized-name", unknown_name),
    ("ssl, client", "protocol-version", lambda w: at_client(modern_server(w), old_client(w))),
    ("ssl, server", "protocol-version", lambda w: at_server(modern_server(w), old_client(w))),
    ("ssl, server", "no-shared-cipher", lambda w: at_server(
        w.server(key="rsa"), w.client(maximum=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE+aECDSA"))),
    ("ssl, client", "handshake-failure", lambda w: at_client(
        w.server(key="rsa"), w.client(maximum=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE+aECDSA"))),
    ("ssl, server", "no-shared-group", lambda w: at_server(
        with_groups(w.server(), "X25519"), w.client(groups=["P-521"]))),
    ("ssl, server", "client-certificate-required", lambda w: at_server(mutual(w), w.client())),
    ("ssl, client", "client-certificate-required", lambda w: at_client(mutual(w), w.client())),
    ("ssl, client", "unknown-ca", lambda w: at_client(mutual(w), stranger_client(w))),
    ("ssl, server", "unknown-ca", lambda w: at_server(stranger(w), w.client())),
    ("ssl, server", "bad-certificate", lambda w: at_server(w.server("other.example"), w.client())),
    ("ssl", "not-tls", lambda w: without_answer(w, answering(None))),
    ("ssl, server", "http-request", plain_to_tls),
    ("ssl", "handshake-timeout", slow),
    ("asyncio", "handshake-timeout", slow_in_asyncio),
    ("ssl", "connection-closed", lambda w: without_answer(w, hanging_up)),
    ("ssl", "connection-reset", lambda w: without_answer(w, resetting)),
    ("ssl", "certificate-key-mismatch",
     lambda w: raw_key(w, w.pki.leaf("localhost").key_pem)),
    ("ssl, other kind of key", "certificate-key-mismatch",
     lambda w: raw_key(w, w.pki.leaf("localhost", key="rsa").key_pem)),
    ("ssl", "certificate-not-pem", lambda w: raw_key(w, b"no key")),
    ("ssl", "certificate-weak-key", lambda w: w.pair_refused(w.pki.leaf("localhost", key="rsa1024"))),
    ("ssl", "cipher-list", lambda w: said(lambda: w.client(ciphers="TLS_AES_128_GCM_SHA256"))),
    ("ssl", "ca-bundle-missing", lambda _: said(lambda: client(ca="nothing"))),
    ("urllib", "certificate-expired", lambda w: get(
        urllib.request.urlopen, server_context(*w.write(w.pki.expired("localhost"))), context=w.client())),
    ("httpx", "name-mismatch", lambda w: get(httpx.get, w.server("other.example"), verify=w.client())),
    ("httpx", "not-tls", lambda w: get(httpx.get, None, verify=w.client())),
    ("requests", "self-signed", lambda w: get(requests.get, w.server(self_signed=True), verify=str(w.ca))),
    ("requests", "ca-bundle-missing", lambda w: get(requests.get, w.server(), verify="/nowhere.pem")),
    ("requests", "verification-off", unverified),
    ("uvicorn", "certificate-key-mismatch", lambda w: plain_uvicorn(
        w, w.write(w.pki.leaf("localhost"))[0], w.pki.leaf("localhost").write(w.directory / "other")[1])),
    ("uvicorn", "certificate-missing-file", lambda w: plain_uvicorn(w, Path("/no/cert.pem"), Path("/no/key.pem"))),
    ("hypercorn", "certificate-key-mismatch", plain_hypercorn),
    ("gunicorn", "certificate-missing-file", plain_gunicorn),
    ("granian", "certificate-missing-file", plain_granian),
    ("uvicorn", "tls-on-plain-port", tls_to_plain_uvicorn),
    ("asgi_tls, event", "http-request", our_event),
]  # fmt: skip


@pytest.mark.parametrize(("program", "code", "provoke"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_a_message_of_python_is_recognised(
    tmp_path: Path, program: str, code: str, provoke: Callable[[World], str]
) -> None:
    text = provoke(World(tmp_path, PKI("Explain")))
    matches = explain(text)
    assert matches, text
    assert matches[0].trouble.code == code, f"{matches}\n{text}"
