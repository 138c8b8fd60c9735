"""The live context, by handshakes: versions, suites, groups, names, client certificates, and the swap."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from memory import handshake
from pki import PKI

from asgi_tls import INTERMEDIATE, MODERN, PEMFiles, ServerTLS, TLSProfile, _openssl
from asgi_tls.certificate import Certificate, CertificateSource, PEMData
from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import CertificateError, ConfigurationError, KeyMismatchError, UnsupportedError
from asgi_tls.handshake.ssl_object import TLSObject

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("profile", "version", "refused"),
    [(MODERN, V12, True), (MODERN, V13, False), (INTERMEDIATE, V12, False), (INTERMEDIATE, V13, False)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_versions(files: Files, profile: TLSProfile, version: ssl.TLSVersion, refused: bool) -> None:
    server = ServerTLS(files.ecdsa, profile=profile).create_context()
    peer = client(minimum=version, maximum=version)
    if refused:
        with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
            handshake(server, peer)
    else:
        assert handshake(server, peer).server.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("mine", [("P-384", "X25519"), ("X25519", "P-384"), ("P-256", "P-521", "X25519")])
@pytest.mark.parametrize(
    "theirs", [("X25519", "P-384", "P-256"), ("P-384", "P-256", "X25519"), ("P-256", "X25519", "P-384")]
)
@pytest.mark.parametrize("version", [V12, V13])
def test_the_servers_order_of_groups_is_kept(
    files: Files, mine: tuple[str, ...], theirs: tuple[str, ...], version: ssl.TLSVersion
) -> None:
    server = ServerTLS(files.ecdsa, profile=INTERMEDIATE.with_groups(*mine)).create_context()
    ends = handshake(server, client(minimum=version, maximum=version, groups=theirs))
    assert _openssl.negotiated_group(ends.server) == _openssl.negotiated_group(ends.client) == mine[0]


@pytest.mark.parametrize("version", [V12, V13])
def test_no_group_in_common_ends_the_handshake(files: Files, version: ssl.TLSVersion) -> None:
    server = ServerTLS(files.ecdsa, profile=INTERMEDIATE.with_groups("P-384", "X25519")).create_context()
    with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
        handshake(server, client(minimum=version, maximum=version, groups=["P-521"]))


def test_tls_1_3_suites_are_those_of_the_profile_and_no_others(files: Files) -> None:
    profile = MODERN.with_ciphersuites("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    server = ServerTLS(files.ecdsa, profile=profile).create_context()
    for suite, refused in {
        "TLS_AES_256_GCM_SHA384": False,
        "TLS_CHACHA20_POLY1305_SHA256": False,
        "TLS_AES_128_GCM_SHA256": True,
    }.items():
        peer = client()
        _openssl.set_ciphersuites(peer, [suite])
        if refused:
            with pytest.raises(ssl.SSLError, match="(?i)alert"):
                handshake(server, peer)
        else:
            cipher = handshake(server, peer).client.cipher()
            assert cipher is not None
            assert cipher[0] == suite


@pytest.mark.parametrize("theirs", [("X25519", "P-384"), ("P-384", "X25519")])
def test_a_client_that_is_asked_for_another_key_share_gets_the_same_suite(
    files: Files, theirs: tuple[str, ...]
) -> None:  # fmt: skip
    """The suite is chosen twice then (RFC 8446 section 4.1.4), the second time after the connection was handed over."""
    profile = MODERN.with_ciphersuites("TLS_AES_128_GCM_SHA256").with_groups("P-384", "X25519")
    server = ServerTLS(files.ecdsa, profile=profile).create_context()
    peer = client(groups=theirs)
    _openssl.set_ciphersuites(peer, ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"])
    cipher = handshake(server, peer).client.cipher()
    assert cipher is not None
    assert cipher[0] == "TLS_AES_128_GCM_SHA256"


def test_tls_1_2_suites_are_those_of_the_profile_and_the_clients_order_decides(files: Files) -> None:
    server = ServerTLS([files.ecdsa, files.rsa]).create_context()
    accepted = set()
    for cipher in ssl.create_default_context().get_ciphers():
        if cipher["protocol"] == "TLSv1.3":
            continue
        try:
            ends = handshake(server, client(maximum=V12, ciphers=f"{cipher['name']}:@SECLEVEL=0"))
        except ssl.SSLError:
            continue
        accepted.add((ends.client.cipher() or ("",))[0])
    assert accepted == set(INTERMEDIATE.ciphers)
    for first, second in [("AES128-GCM-SHA256", "CHACHA20-POLY1305"), ("CHACHA20-POLY1305", "AES128-GCM-SHA256")]:
        ends = handshake(server, client(maximum=V12, ciphers=f"ECDHE-ECDSA-{first}:ECDHE-ECDSA-{second}"))
        assert ends.client.cipher() is not None
        assert (ends.client.cipher() or ("",))[0] == f"ECDHE-ECDSA-{first}"


@pytest.mark.parametrize(("sigalg", "kind"), [("ECDSA", "ecdsa"), ("RSA", "rsa")])
def test_two_certificates_for_one_name(files: Files, sigalg: str, kind: str) -> None:
    server = ServerTLS([files.ecdsa, files.rsa]).create_context()
    ends = handshake(server, client(ca=files.ca_text, maximum=V12, ciphers=f"ECDHE-{sigalg}-AES128-GCM-SHA256"))
    expected = getattr(files, kind).load()
    assert _fingerprint(ends.client) == expected.fingerprint_sha256


NAMES: list[tuple[str | None, str | None]] = [
    ("www.example.com", "example"),
    ("WWW.EXAMPLE.COM", "example"),
    ("www.example.com.", "example"),
    ("a.example.org", "wildcard"),
    ("A.Example.ORG", "wildcard"),
    ("a.b.example.org", None),
    ("example.org", None),
    ("other.example.com", None),
    ("default", None),
    (None, None),
]


@pytest.mark.parametrize(("asked", "served"), NAMES)
@pytest.mark.parametrize("with_default", [True, False])
def test_names(files: Files, asked: str | None, served: str | None, with_default: bool) -> None:
    mapping: dict[str, CertificateSource] = {"www.example.com": files.example, "*.example.org": files.wildcard}
    if with_default:
        mapping["default"] = files.ecdsa
    server = ServerTLS(mapping).create_context()
    if served is None and not with_default:
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized name"):
            handshake(server, client(), server_name=asked)
        return
    ends = handshake(server, client(), server_name=asked)
    expected = getattr(files, served or "ecdsa").load()
    assert _fingerprint(ends.client) == expected.fingerprint_sha256
    assert isinstance(ends.server, TLSObject)
    assert ends.server.tls_server_name == asked


def test_a_name_is_served_beside_an_address(files: Files) -> None:
    """As those of a directory are."""
    context = ServerContext(INTERMEDIATE)
    context.use({"127.0.0.1": [files.ecdsa.load()], "www.example.com": [files.example.load()]})
    ends = handshake(context.ssl_context, client(), server_name="www.example.com")
    assert _fingerprint(ends.client) == files.example.load().fingerprint_sha256


@pytest.mark.parametrize(
    ("certificates", "says"),
    [
        ({}, "empty mapping"),
        ([], "the certificates for 'default'"),
        ("fullchain.pem", "the certificates for 'default'"),
        ({"example.com": "fullchain.pem"}, "the certificates for 'example.com'"),
        ({"https://example.com": PEMFiles("a")}, "is not a valid host name"),
        ({"*.*.example.com": PEMFiles("a")}, "is not a valid host name"),
        ({"Example.com": PEMFiles("a"), "example.com": PEMFiles("a")}, "twice"),
        ({7: PEMFiles("a")}, "is not a valid host name"),
    ],
)
def test_certificates_of_a_wrong_shape(certificates: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says.replace("*", r"\*")):
        ServerTLS(certificates)  # type: ignore[arg-type]


def test_a_name_that_its_certificate_does_not_cover(files: Files) -> None:
    with pytest.raises(ConfigurationError, match=r"set for 'example.net', but its names are www.example.com"):
        ServerTLS({"example.net": files.example}).create_context()


def test_two_certificates_with_the_same_kind_of_key(files: Files) -> None:
    with pytest.raises(ConfigurationError, match="both have an ECDSA key"):
        ServerTLS([files.ecdsa, files.example]).create_context()


def test_client_auth_without_a_ca_is_an_error_and_never_no_verification(files: Files) -> None:
    for how in ("required", "optional"):
        with pytest.raises(ConfigurationError, match="client_auth is set without client_ca"):
            ServerTLS(files.ecdsa, client_auth=how)
    context = ServerContext(INTERMEDIATE, client_auth="optional")
    with pytest.raises(ConfigurationError, match="no CA to verify clients with"):
        context.use({"default": [files.ecdsa.load()]})


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(
    ("how", "certificate", "says"),
    [
        ("required", "good", None),
        ("required", None, "certificate required|handshake failure"),
        ("required", "foreign", "unknown ca"),
        ("optional", "good", None),
        ("optional", None, None),
        ("optional", "foreign", "unknown ca"),
    ],
)
def test_client_certificates(
    files: Files, version: ssl.TLSVersion, how: str, certificate: str | None, says: str | None
) -> None:
    server = ServerTLS(files.ecdsa, client_ca=files.ca, client_auth=how).create_context()  # type: ignore[arg-type]
    peer = client(minimum=version, maximum=version)
    if certificate == "good":
        peer.load_cert_chain(*map(str, files.client.paths))
    elif certificate == "foreign":
        foreign = PKI("Foreign").leaf("client.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))

        peer.load_cert_chain(*foreign.write(files.directory / "foreign"))
    if says is None:
        ends = handshake(server, peer)
        assert isinstance(ends.server, TLSObject)
        connection = ends.server.tls_connection
        assert connection is not None
        assert bool(connection.client_chain) == (certificate is not None)
        assert connection.extension["client_cert_name"] == ("CN=client.example" if certificate else None)
        return
    with pytest.raises(ssl.SSLError, match=f"(?i){says}"):
        handshake(server, peer)


def test_the_swap_serves_the_new_certificate_and_leaves_connections_alone(files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use({"default": [files.ecdsa.load()]})
    before = handshake(context.ssl_context, client())
    context.use({"default": [files.rsa.load()]})
    after = handshake(context.ssl_context, client())
    assert _fingerprint(before.client) == files.ecdsa.load().fingerprint_sha256
    assert _fingerprint(after.client) == files.rsa.load().fingerprint_sha256
    before.server.write(b"still here")
    assert before.client.read(10) == b"still here"


def test_a_bad_swap_changes_nothing(files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    good = files.ecdsa.load()
    context.use({"default": [good]})
    attempts: list[tuple[Mapping[str, Sequence[Certificate]], str]] = [
        ({}, "there is no certificate to serve"),
        ({"default": []}, "there is no certificate for 'default'"),
        ({"default": [good, good]}, "a name takes one of each type"),
        ({"default": [good], "elsewhere.example": [good]}, "is set for 'elsewhere.example', but its names are"),
    ]
    for attempt, says in attempts:
        with pytest.raises(ConfigurationError, match=says):
            context.use(attempt)
        assert _fingerprint(handshake(context.ssl_context, client()).client) == good.fingerprint_sha256


def test_a_session_survives_a_swap(files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use({"default": [files.ecdsa.load()]})
    peer = client()
    first = handshake(context.ssl_context, peer)
    context.use({"default": [files.rsa.load()]})
    second = handshake(context.ssl_context, peer, session=first.client.session)
    assert second.client.session_reused
    assert isinstance(second.server, TLSObject)
    assert second.server.tls_connection is not None
    assert second.server.tls_connection.resumed


def test_an_encrypted_key_in_memory_is_served(files: Files) -> None:
    pair = files.pki.leaf("localhost")
    source = PEMData(pair.chain_pem, pair.encrypted_key_pem(b"secret"), "secret")
    handshake(ServerTLS(source).create_context(), client(ca=files.ca_text))


def test_a_key_of_another_certificate_never_reaches_a_context(files: Files) -> None:
    certfile, _ = files.ecdsa.paths
    _, keyfile = files.example.paths
    with pytest.raises(KeyMismatchError, match="does not belong to the certificate of CN=localhost"):
        ServerTLS(PEMFiles(certfile, keyfile)).create_context()


def test_a_small_key_of_the_server_is_refused_by_openssl_too(files: Files) -> None:
    """RFC 9325 section 4.5, by its security level: even a pair that no check of ours has seen."""
    small = files.pki.leaf("localhost", key="rsa1024")
    certificate = replace(files.ecdsa.load(), chain_pem=small.chain_pem, key_pem=small.key_pem)
    with pytest.raises(CertificateError, match="OpenSSL refuses the pair: EE_KEY_TOO_SMALL"):
        ServerContext(INTERMEDIATE).use({"default": [certificate]})


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (
            ("X25519MLKEM768", "X25519"),
            "cannot do the post-quantum key exchange X25519MLKEM768 of profile intermediate. "
            "Connections work without it; OpenSSL 3.5 has it. (missing-groups)",
        ),
        (
            ("X25519MLKEM768", "SecP256r1MLKEM768", "P-256"),
            "cannot do the post-quantum key exchanges X25519MLKEM768, SecP256r1MLKEM768 of profile intermediate. "
            "Connections work without them; OpenSSL 3.5 has them. (missing-groups)",
        ),
        (("X25519", "P-256"), None),
    ],
)
def test_groups_that_openssl_lacks_are_left_out_and_logged(
    files: Files, caplog: pytest.LogCaptureFixture, groups: tuple[str, ...], sentence: str | None
) -> None:
    ServerTLS(files.ecdsa, profile=INTERMEDIATE.with_groups(*groups)).create_context()
    said = [record.getMessage() for record in caplog.records if "key exchange" in record.getMessage()]
    is_missing = sentence is not None and "X25519MLKEM768" not in _openssl.supported_groups()
    assert said == ([f"OpenSSL {ssl.OPENSSL_VERSION.split()[1]} {sentence}"] if is_missing else [])


def test_a_profile_of_which_no_group_is_there_does_not_start(files: Files) -> None:
    supported = _openssl.supported_groups()
    assert supported is not None
    if "X25519MLKEM768" in supported:
        handshake(ServerTLS(files.ecdsa, profile=MODERN.with_groups("X25519MLKEM768")).create_context(), client())
        return
    with pytest.raises(UnsupportedError, match="has none of the groups X25519MLKEM768"):
        ServerTLS(files.ecdsa, profile=MODERN.with_groups("X25519MLKEM768")).create_context()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


def test_a_context_serves_any_protocol_over_asyncio(files: Files) -> None:
    async def main() -> bytes:
        context = ServerTLS(files.ecdsa).create_context(alpn=["echo/1"])
        server = await asyncio.start_server(_echo, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            peer = client(ca=files.ca_text, alpn=["echo/1"])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=peer, server_hostname="localhost")
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "echo/1"
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(main()) == b"hello\n"


def _fingerprint(connection: ssl.SSLObject) -> str:
    import hashlib

    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


def test_where_there_are_no_memory_files_the_key_goes_through_an_encrypted_one(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS and Windows.
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handshake(ServerTLS([files.ecdsa, files.rsa]).create_context(), client(ca=files.ca_text))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [V12, V13])
def test_the_order_of_groups_with_client_certificates(files: Files, version: ssl.TLSVersion) -> None:
    profile = INTERMEDIATE.with_groups("P-384", "X25519", "P-256")
    server = ServerTLS(files.ecdsa, profile=profile, client_ca=files.ca).create_context()
    peer = client(minimum=version, maximum=version, groups=["X25519", "P-256", "P-384"])
    peer.load_cert_chain(*map(str, files.client.paths))
    assert _openssl.negotiated_group(handshake(server, peer).server) == "P-384"
