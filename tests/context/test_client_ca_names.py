"""Which CAs a server names when it asks for a client's certificate: what clients with several of them choose by."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from files import Files
from handshakes import client
from launch import Launch
from memory import handshake
from patience import PATIENCE
from pki import PKI
from servers import Server

from asgi_tls import ServerTLS
from asgi_tls._openssl.library import reach

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
ONE, OTHER = PKI("Staying"), PKI("Leaving")


def named_to(server: ssl.SSLContext, version: ssl.TLSVersion, server_name: str = "localhost") -> set[bytes]:
    """What a client reads in the CertificateRequest: names in DER."""
    ends = handshake(server, client(minimum=version, maximum=version), server_name=server_name)
    lib = reach()
    lib.SSL_get_client_CA_list.restype = ctypes.c_void_p
    lib.SSL_get_client_CA_list.argtypes = [ctypes.c_void_p]
    names = lib.SSL_get_client_CA_list(lib.connection(ends.client))
    found = set()
    for index in range(lib.OPENSSL_sk_num(names) if names else 0):
        name = lib.OPENSSL_sk_value(names, index)
        buffer = ctypes.create_string_buffer(lib.i2d_X509_NAME(name, None))
        lib.i2d_X509_NAME(name, ctypes.addressof(ctypes.c_void_p(ctypes.addressof(buffer))))
        found.add(buffer.raw)
    return found


def subjects(pem: bytes) -> set[bytes]:
    return {certificate.subject.public_bytes() for certificate in x509.load_pem_x509_certificates(pem)}


@VERSIONS
def test_the_cas_of_the_bundle_are_named_whichever_name_is_asked_for(
    files: Files, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    bundle = tmp_path / "clients.pem"
    bundle.write_bytes(ONE.root_pem + ONE.intermediate_pem + OTHER.root_pem)
    certificates = {"localhost": files.ecdsa, "www.example.com": files.example, "default": files.rsa}
    tls = ServerTLS(certificates, client_ca=bundle, client_auth="optional", listeners=[])
    server = tls.create_server_context()
    for name in ("localhost", "www.example.com", "elsewhere.test"):
        assert named_to(server.ssl_context, version, name) == subjects(bundle.read_bytes())
    server.use(tls.load(), client_ca=ONE.root_pem.decode())
    assert named_to(server.ssl_context, version) == subjects(ONE.root_pem)


@VERSIONS
def test_without_client_certificates_none_is_named(files: Files, version: ssl.TLSVersion) -> None:
    assert named_to(ServerTLS(files.ecdsa, listeners=[]).create_context(), version) == set()


@VERSIONS
def test_more_names_than_a_message_takes_are_left_out(files: Files, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """The handshake would fail otherwise: RFC 8446 gives them 2^16 bytes, and some clients read less."""
    bundle = tmp_path / "clients.pem"
    many = [ONE.ca(f"{number:064}") for number in range(430)]
    bundle.write_bytes(b"".join(each.cert_pem for each in many))
    tls = ServerTLS(files.ecdsa, client_ca=bundle, client_auth="optional", listeners=[])
    assert sum(len(name) + 2 for name in subjects(bundle.read_bytes())) > 1 << 15
    assert named_to(tls.create_context(), version) == set()


def listed(server: Server, option: str) -> set[str]:
    """The common names that openssl's client prints."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", option]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    _, _, rest = done.stdout.partition("Acceptable client certificate CA names\n")
    return set(re.findall(r"CN ?= ?([^,\n]+)", rest.partition("Requested Signature")[0].partition("Client Cert")[0]))


@pytest.mark.system
@pytest.mark.parametrize(
    "launch", [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio"), Launch("gunicorn", "gthread")], ids=str
)
def test_openssls_client_reads_them_after_a_reload_too(files: Files, tmp_path: Path, launch: Launch) -> None:
    bundle = tmp_path / "clients.pem"
    bundle.write_bytes(ONE.root_pem + OTHER.root_pem)
    settings = {"client_ca": str(bundle), "client_auth": "optional", "reload_interval": "0.2"}
    with launch.start(files.ecdsa, settings) as server:
        for option in ("-tls1_2", "-tls1_3"):
            assert listed(server, option) == {"Staying Root", "Leaving Root"}
        bundle.write_bytes(ONE.root_pem)
        os.kill(server.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while listed(server, "-tls1_3") != {"Staying Root"}:
            assert time.monotonic() < deadline, server.text
        assert listed(server, "-tls1_2") == {"Staying Root"}
