"""Client certificates: whom the application sees, and that no request ever sees another connection's client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
from _ssl import txt2obj
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from files import Files
from hypothesis import given
from hypothesis import strategies as st
from launch import Launch
from odd_clients import ODD_CLIENTS, odd_client
from servers import Server, asgi_tls, serve
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from websocket import talk
from wire import events

from asgi_tls import PEMFiles
from asgi_tls.certificate.distinguished import rfc4514
from asgi_tls.middleware.identity import client_identity, require_client

OTHERS = [Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop"), Launch("gunicorn", "asgi")]
LAUNCHES = [
    Launch("uvicorn", "uvloop"),
    Launch("hypercorn", "asyncio", 0),
    *(pytest.param(each, marks=pytest.mark.system) for each in OTHERS),
]
OIDS = [NameOID.COMMON_NAME, NameOID.USER_ID, NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS, NameOID.SERIAL_NUMBER,
        NameOID.SURNAME, NameOID.STREET_ADDRESS, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.TITLE,
        x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")]  # fmt: skip
VALUES = st.text(st.one_of(st.sampled_from('\\"+,;<># =\0ü'), st.characters(codec="utf-8")), min_size=1, max_size=8)


@pytest.fixture(scope="module", params=LAUNCHES, ids=str)
def server(request: pytest.FixtureRequest, files: Files) -> Iterator[Server]:
    launch: Launch = request.param
    command = launch.command(files.ecdsa, {"client_ca": str(files.ca), "client_auth": "optional"})
    command = ["identity_app:app" if argument == "facts_app:app" else argument for argument in command]
    ready, count = launch.readiness()
    with serve(command, ready=ready, count=count) as running:
        yield running


def context(files: Files, pair: PEMFiles | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.ca))
    if pair is not None:
        made.load_cert_chain(str(pair.certfile), str(pair.keyfile))
    return made


def get(server: Server, files: Files, path: str, pair: PEMFiles | None) -> httpx.Response:
    with httpx.Client(verify=context(files, pair)) as client:
        return client.get(f"https://localhost:{server.port}{path}")


def test_without_a_certificate(server: Server, files: Files) -> None:
    assert get(server, files, "/maybe", None).json() == {"subject": None}
    for path in ("/anyone", "/client"):
        answer = get(server, files, path, None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "ClientCertificate"


def test_with_a_certificate(server: Server, files: Files) -> None:
    answer = get(server, files, "/anyone", files.client)
    expected = files.client.load("client")
    assert answer.json()["fingerprint"] == expected.fingerprint_sha256
    assert answer.json()["dns"] == ["client.example"]
    assert answer.json()["subject"] == expected.subject
    assert get(server, files, "/client", files.client).status_code == 200
    assert get(server, files, "/client", files.nameless_client).status_code == 403
    assert get(server, files, "/maybe", files.nameless_client).json()["subject"] == "CN=Alice"


def test_over_a_websocket(server: Server, files: Files) -> None:
    url = f"wss://localhost:{server.port}/ws"
    said = json.loads(talk(url, ssl=context(files, files.client)).message)
    assert said["tls"]["client_cert_name"] == said["subject"]
    assert said["tls"]["tls_version"] == 0x0304
    assert len(said["tls"]["client_cert_chain"]) >= 1
    # By hand: the client of `websockets` trips over an answer whose body comes a moment later.
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    for pair, status in ((None, {401, 403}), (files.nameless_client, {403})):
        with httpx.Client(verify=context(files, pair)) as client:
            assert client.get(f"https://localhost:{server.port}/ws", headers=upgrade).status_code in status


def test_no_request_sees_the_client_of_another_connection(server: Server, files: Files, tmp_path: Any) -> None:
    """Many connections at once, of several clients and of none, each with several requests."""
    names = [f"client-{number}.example" for number in range(4)]
    usage = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    pairs = {name: PEMFiles(*files.pki.leaf(name, eku=usage).write(tmp_path / name)) for name in names}

    async def ask(name: str | None) -> None:
        made = context(files, None if name is None else pairs[name])
        expected = None if name is None else pairs[name].load("client").subject
        async with httpx.AsyncClient(verify=made) as client:
            for _ in range(5):
                answer = await client.get(f"https://localhost:{server.port}/maybe")
                assert answer.json()["subject"] == expected
                await asyncio.sleep(0)

    async def everybody() -> None:
        await asyncio.gather(*(ask(name) for name in [*names, None] * 6))

    asyncio.run(everybody())


def test_an_identity_stays_with_its_connection(server: Server, files: Files) -> None:
    """Whatever begins within a request of a client is not that client; what goes on with the same scope is."""
    anonymous = {"another listener": None, "a call in this process": None, "a task": None, "a thread": None}
    assert get(server, files, "/elsewhere", files.nameless_client).json() == anonymous
    assert get(server, files, "/below/maybe", files.nameless_client).json()["subject"] == "CN=Alice"
    for pair, subject in ((files.nameless_client, "CN=Alice"), (None, None)):
        with httpx.Client(verify=context(files, pair)) as client:
            assert client.get(f"https://localhost:{server.port}/deferred").status_code == 200
            assert client.get(f"https://localhost:{server.port}/noted").json() == [subject, subject]


@pytest.mark.parametrize("shape", ODD_CLIENTS)
def test_certificates_that_only_openssl_reads(server: Server, files: Files, tmp_path: Path, shape: str) -> None:
    pair, subject = odd_client(files.pki, shape, tmp_path / shape), ODD_CLIENTS[shape]
    answer = get(server, files, "/anyone", pair)
    assert get(server, files, "/maybe", pair).json() == {"subject": subject}
    assert get(server, files, "/below/maybe", pair).status_code == 200
    if subject is None:
        assert (answer.status_code, answer.json()) == (403, {"detail": "This client certificate cannot be read."})
        assert "its names cannot be read" in server.text
        assert hashlib.sha256(der_of(pair)).hexdigest() in server.text
    else:
        said = answer.json()
        assert (answer.status_code, said["subject"], said["dns"]) == (200, subject, ["alice.example"])
        assert said["fingerprint"] == hashlib.sha256(der_of(pair)).hexdigest()
    assert "Traceback" not in server.text


def der_of(pair: PEMFiles) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(pair.certfile).read_text(encoding="ascii"))


@pytest.mark.parametrize("shape", ODD_CLIENTS)
def test_certificates_in_another_servers_extension(
    files: Files, tmp_path: Path, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is but the PEM text: what cannot be parsed is nobody, and a line in the log."""
    pem = Path(odd_client(files.pki, shape, tmp_path / shape).certfile).read_text(encoding="ascii")
    scope = {"type": "http", "extensions": {"tls": {"client_cert_chain": [pem]}}}
    identity = client_identity(scope)
    if identity is None:
        assert "cannot be read" in caplog.text
        with pytest.raises(HTTPException, match="cannot be read") as caught:
            require_client()(HTTPConnection(scope))
        assert caught.value.status_code == 403


PART = st.lists(st.tuples(st.sampled_from(OIDS), VALUES), min_size=1, max_size=2, unique_by=lambda each: each[0])


def _long_name(dotted: str) -> str:
    """As `ssl` writes it: what OpenSSL does not know stays a number."""
    try:
        return txt2obj(dotted)[2]
    except ValueError:
        return dotted


@given(st.lists(PART, max_size=4))
def test_names_are_written_as_the_certificates_of_the_server_have_them(parts: list[list[tuple[Any, str]]]) -> None:
    """The subject in an identity and that of `asgi-tls` for a file are the same text."""
    theirs = x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(*each) for each in rdn]) for rdn in parts])
    ours = tuple(tuple((_long_name(oid.dotted_string), value) for oid, value in rdn) for rdn in parts)
    assert rfc4514(ours) == theirs.rfc4514_string()


def test_both_shapes_of_the_extension_are_read(files: Files) -> None:
    pem = Path(files.client.certfile).read_text(encoding="ascii")
    certificates = [f"{part}-----END CERTIFICATE-----\n" for part in pem.split("-----END CERTIFICATE-----\n")[:-1]]
    for chain in (certificates, iter(certificates), pem):
        scope = {"type": "http", "extensions": {"tls": {"client_cert_chain": chain}}}
        identity = client_identity(scope)
        assert identity is not None
        assert identity.dns_names == ("client.example",)
    extensions: tuple[dict[str, Any], ...] = (
        {},
        {"client_cert_chain": []},
        {"client_cert_chain": certificates, "client_cert_error": "expired"},
    )
    for extension in extensions:
        assert client_identity({"type": "http", "extensions": {"tls": extension}}) is None


def test_a_unix_socket_has_no_address(files: Files, tmp_path: Any) -> None:
    path = tmp_path / "server.sock"
    pair = [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]
    command = asgi_tls("uvicorn", "facts_app:app", f"--uds={path}", "--tls-log-json", *pair)
    with serve(command, ready="Uvicorn running on unix socket") as running, socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(path))
        with context(files, None).wrap_socket(raw, server_hostname="localhost") as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secure.recv(65536).startswith(b"HTTP/1.1 200")
        (event,) = events(running, name="tls_session")
        assert (event["ip"], event["port"]) == (None, None)
