"""The profile, on every server, loop and number of workers: by real handshakes over real sockets."""

from __future__ import annotations

import ssl

import pytest
from files import Files
from handshakes import client, connect
from launch import LAUNCHES, Launch, split

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

# Each worker of two answers about half of the connections: this many meet both.
ROUNDS = 4
QUICK_FOR_MODERN = {"uvicorn-uvloop-1", "hypercorn-uvloop-1", "gunicorn-asgi-2"}


@pytest.mark.parametrize("launch", split(LAUNCHES, QUICK_FOR_MODERN), ids=str)
def test_modern_refuses_tls_1_2_and_keeps_the_order_of_groups(files: Files, launch: Launch) -> None:
    with launch.start(files.ecdsa, {"profile": "modern", "groups": "P-384:X25519"}) as server:
        for _ in range(ROUNDS):
            result = connect(server.port, client(ca=files.ca_text, groups=["X25519", "P-384"]))
            assert (result.protocol, result.group) == ("TLSv1.3", "P-384")
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                connect(server.port, client(maximum=V12))
        if launch.speaks_asgi:
            assert result.facts["protocol"] == "TLSv1.3"
            assert result.facts["group"] == "P-384"
            assert result.facts["cipher"] == result.cipher
            assert result.facts["sni"] == "localhost"
            assert result.facts["scheme"] == "https"
            assert result.facts["extension"]["tls_version"] == 0x0304
            assert result.facts["extension"]["cipher_suite"] in {0x1301, 0x1302, 0x1303}
            assert ssl.PEM_cert_to_DER_cert(result.facts["extension"]["server_cert"]) == result.certificate
        else:
            assert "https" in result.facts["text"]


@pytest.mark.parametrize("launch", split(LAUNCHES), ids=str)
def test_intermediate_speaks_both_versions_with_its_suites_only_and_the_protocols_of_the_server(
    files: Files, launch: Launch
) -> None:
    with launch.start(files.ecdsa, {"profile": "intermediate", "groups": "X25519:P-384"}) as server:
        for version in (V12, V13):
            # TLS 1.2 takes the groups for the curve of the certificate's key as well: P-256 must be among them.
            peer = client(ca=files.ca_text, minimum=version, maximum=version, groups=["P-384", "X25519", "P-256"])
            result = connect(server.port, peer)
            assert (result.protocol, result.group) == (version.name.replace("_", "."), "X25519")
            if launch.speaks_asgi:
                assert result.facts["group"] == "X25519"
        for weak in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-CCM8"):
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                connect(server.port, client(maximum=V12, ciphers=f"{weak}:@SECLEVEL=0"))
        for version in (V12, V13):
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                connect(server.port, client(minimum=version, maximum=version, groups=["P-521"]))
        result = connect(server.port, client(alpn=["h2", "http/1.1"]), path=None)
        assert result.alpn == ("h2" if launch.server == "hypercorn" else "http/1.1")
        assert connect(server.port, client(alpn=["http/1.1"])).alpn == "http/1.1"
