"""OpenSSL at both ends: its responder, and its client with -status."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from files import Files
from launch import Launch
from patience import until
from pki import PKI, Pair
from responder import signer

from asgi_tls import PEMFiles

pytestmark = pytest.mark.system

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio", 2),
    Launch("hypercorn", "uvloop"),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread"),
    Launch("gunicorn", "sync"),
]


SERIAL = 0x1234


@contextlib.contextmanager
def openssl_responder(pki: PKI, directory: Path, by: Pair, status: str = "V") -> Iterator[str]:
    """`openssl ocsp` and its address. It knows SERIAL: as valid (V) or revoked (R); or nothing.

    Its own -port takes no address and listens on all of them: here each request is given to it by a server on loopback.
    """
    directory.mkdir()
    (directory / "ca.pem").write_bytes(pki.intermediate_pem)
    by.write(directory, certfile="signer.pem", keyfile="signer.key")
    (directory / "signer.pem").write_bytes(by.cert_pem)
    when = "260101000000Z" if status == "R" else ""
    line = f"{status}\t491231235959Z\t{when}\t{SERIAL:X}\tunknown\t/CN=localhost\n"
    (directory / "index.txt").write_text(line if status else "", encoding="ascii")
    command = ["openssl", "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem"]
    command += ["-rkey", "signer.key", "-nmin", "5", "-reqin", "-", "-respout", "-"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            answer = subprocess.run(command, cwd=directory, input=request, capture_output=True, check=True).stdout
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def s_client(port: int, files: Files, version: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-status", version]
    done = subprocess.run(
        [*command, "-CAfile", str(files.ca)], input="", capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("launch", "delegated"), [*((each, False) for each in LAUNCHES), (LAUNCHES[1], True), (LAUNCHES[2], True)], ids=str
)
def test_good_in_both_versions(files: Files, tmp_path: Path, launch: Launch, delegated: bool) -> None:
    by = signer(files.pki) if delegated else files.pki.intermediate
    with openssl_responder(files.pki, tmp_path / "responder", by) as url:
        pair = files.pki.leaf("localhost", "127.0.0.1", ocsp=url, serial=SERIAL)
        with launch.start(PEMFiles(*pair.write(tmp_path / "pair")), {}) as server:
            until(lambda: server.text.count("good: valid until") >= launch.workers, server)
            for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
                said = s_client(server.port, files, version)
                assert "Cert Status: good" in said, said
                assert f"New, {name}" in said
                assert "Verification: OK" in said


@pytest.mark.parametrize("what", ["revoked", "unknown"])
def test_what_is_not_good_is_not_stapled(files: Files, tmp_path: Path, what: str) -> None:
    status = "R" if what == "revoked" else ""
    with openssl_responder(files.pki, tmp_path / "responder", files.pki.intermediate, status) as url:
        pair = files.pki.leaf("localhost", ocsp=url, serial=SERIAL)
        with Launch("uvicorn", "asyncio").start(PEMFiles(*pair.write(tmp_path / "pair")), {}) as server:
            until(lambda: f": {what}: " in server.text, server)
            for version in ("-tls1_2", "-tls1_3"):
                said = s_client(server.port, files, version)
                assert "OCSP response: no response sent" in said, said
                assert "Verification: OK" in said


def test_a_client_that_insists(files: Files, tmp_path: Path) -> None:
    """GnuTLS refuses a certificate with the TLS feature extension without a response: here it gets one at once."""
    with openssl_responder(files.pki, tmp_path / "responder", signer(files.pki)) as url:
        pair = files.pki.leaf("localhost", ocsp=url, must_staple=True, serial=SERIAL)
        for stapling, accepted in (("auto", True), ("off", False)):
            settings: dict[str, Any] = {"stapling": stapling}
            with Launch("uvicorn", "uvloop").start(PEMFiles(*pair.write(tmp_path / "pair")), settings) as server:
                done = subprocess.run(
                    ["gnutls-cli", "--port", str(server.port), "--x509cafile", str(files.ca), "--sni-hostname",
                     "localhost", "--verify-hostname", "localhost", "127.0.0.1"],
                    input="", capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                said = done.stdout + done.stderr
                assert ("The certificate is trusted" in said) is accepted, said
                if not accepted:
                    assert "missing" in said.lower() or "status" in said.lower(), said
