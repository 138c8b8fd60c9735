"""`create_client_context`: verification that cannot be switched off, and failures that name their cause."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from files import Files
from memory import handshake

from asgi_tls import INTERMEDIATE, MODERN, ServerTLS, _openssl, create_client_context
from asgi_tls.certificate import PEMFiles
from asgi_tls.errors import ConfigurationError, MissingFileError, NotPEMError


@contextmanager
def answering(context: ssl.SSLContext) -> Iterator[int]:
    """A server in a thread that answers each request with 204; gives its port."""
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_it_reaches_a_server_through_httpx_in_both_colours(files: Files) -> None:
    context = create_client_context(cafile=files.ca, profile=MODERN)
    with answering(ServerTLS(files.ecdsa, profile=MODERN).create_context()) as port:
        url = f"https://localhost:{port}/"
        assert httpx.get(url, verify=context).status_code == 204

        async def ask() -> int:
            async with httpx.AsyncClient(verify=context) as client:
                return (await client.get(url)).status_code

        assert asyncio.run(ask()) == 204


def test_a_wrong_ca_names_the_cause(files: Files) -> None:
    unknown = "unable to get local issuer certificate"
    with answering(ServerTLS(files.ecdsa).create_context()) as port, pytest.raises(httpx.ConnectError, match=unknown):
        httpx.get(f"https://localhost:{port}/", verify=create_client_context())


def test_a_wrong_name_names_the_cause(files: Files) -> None:
    wrong = "not valid for 'localhost'"
    with answering(ServerTLS(files.example).create_context()) as port, pytest.raises(httpx.ConnectError, match=wrong):
        httpx.get(f"https://localhost:{port}/", verify=create_client_context(cafile=files.ca))


def test_a_chain_is_verified_to_the_letter(files: Files) -> None:
    """RFC 5280 section 4.2.1.3: a CA says that its key signs certificates."""
    loose = files.pki.ca("Loose Root", key_usage=False)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files.pki.leaf("localhost", issuer=loose).write(files.directory / "loose"))
    ca = files.directory / "loose.pem"
    ca.write_bytes(loose.cert_pem)
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual.load_verify_locations(ca)
    usual.verify_flags &= ~ssl.VERIFY_X509_STRICT
    handshake(server, usual)
    with pytest.raises(ssl.SSLCertVerificationError, match="does not include key usage extension"):
        handshake(server, create_client_context(cafile=ca))


def test_any_ca_may_be_the_anchor(files: Files) -> None:
    ca = files.directory / "intermediate.pem"
    ca.write_bytes(files.pki.intermediate_pem)
    handshake(ServerTLS(files.ecdsa).create_context(), create_client_context(cafile=ca))


def test_the_flags_of_a_plain_context_are_kept(files: Files) -> None:
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).verify_flags
    assert create_client_context(cafile=files.ca).verify_flags & usual == usual


def test_a_server_of_tls_1_2_names_the_cause(files: Files) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(files.ecdsa.certfile, files.ecdsa.keyfile)
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        handshake(old, create_client_context(cafile=files.ca, profile=MODERN))


def test_verification_cannot_be_switched_off(files: Files) -> None:
    context = create_client_context(cafile=files.ca)
    with pytest.raises(ConfigurationError, match="check_hostname would switch off verification"):
        context.check_hostname = False
    for mode in (ssl.CERT_NONE, ssl.CERT_OPTIONAL):
        with pytest.raises(ConfigurationError, match="verify_mode would switch off verification"):
            context.verify_mode = mode
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_it_offers_the_groups_and_suites_of_its_profile(files: Files) -> None:
    profile = INTERMEDIATE.with_groups("P-384").with_ciphersuites("TLS_CHACHA20_POLY1305_SHA256")
    ends = handshake(ServerTLS(files.ecdsa).create_context(), create_client_context(cafile=files.ca, profile=profile))
    assert _openssl.negotiated_group(ends.client) == "P-384"
    assert (ends.client.cipher() or ("",))[0] == "TLS_CHACHA20_POLY1305_SHA256"


def test_it_shows_its_own_certificate_which_needs_no_host_name(files: Files) -> None:
    server = ServerTLS(files.ecdsa, client_ca=files.ca).create_context()
    handshake(server, create_client_context(cafile=files.ca, certificate=files.client))
    handshake(server, create_client_context(cafile=files.ca, certificate=files.nameless_client))
    with pytest.raises(ssl.SSLError, match="(?i)certificate required"):
        handshake(server, create_client_context(cafile=files.ca))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"profile": "modern"}, "profile is 'modern'. Set it to a TLSProfile: MODERN, INTERMEDIATE or"),
        ({"profile": None}, "profile is None. Set it to a TLSProfile"),
        ({"certificate": "x.pem"}, "certificate is 'x.pem'. Give a source such as PEMFiles("),
        ({"certificate": PEMFiles}, "certificate is <class 'asgi_tls.certificate.sources.PEMFiles'>. Give a source"),
        ({"allow_unsupported": "no"}, "allow_unsupported is 'no'. Set it to True or False, without quotes."),
        ({"cafile": 3}, "cafile=3 is not a path. Give a path as str or Path."),
    ],
)
def test_a_setting_of_another_type_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match="^" + re.escape(says)):
        create_client_context(**settings)


def test_a_bad_bundle_of_cas(files: Files) -> None:
    with pytest.raises(MissingFileError, match="nowhere.pem"):
        create_client_context(cafile=files.directory / "nowhere.pem")
    assert files.ecdsa.keyfile is not None
    with pytest.raises(NotPEMError, match="contains no certificate"):
        create_client_context(cafile=files.ecdsa.keyfile)
    leaf = files.directory / "leaf-only.pem"
    leaf.write_bytes(files.pki.leaf("localhost").cert_pem)
    with pytest.raises(NotPEMError, match="contains no CA certificate"):
        create_client_context(cafile=leaf)
