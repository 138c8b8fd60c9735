"""Proxies that fetch OCSP responses do so with their exports. HAProxy does from 3.0 on, as its export says."""

from __future__ import annotations

import base64
import contextlib
import http.server
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from files import Files
from patience import PATIENCE
from proxies import running

from asgi_tls import PEMFiles

pytestmark = pytest.mark.system


@contextlib.contextmanager
def responder(files: Files) -> Iterator[str]:
    """The intermediate CA, saying `good` of every certificate that it is asked about. Yields its URL."""
    issuer = files.pki.intermediate

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # RFC 6960 appendix A.1
            self.answer(base64.b64decode(urllib.parse.unquote(self.path.lstrip("/"))))

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, question: bytes) -> None:
            asked = ocsp.load_der_ocsp_request(question)
            now = datetime.now(UTC).replace(tzinfo=None)
            answer = (
                ocsp.OCSPResponseBuilder()
                .add_response_by_hash(
                    asked.issuer_name_hash, asked.issuer_key_hash, asked.serial_number, asked.hash_algorithm,
                    ocsp.OCSPCertStatus.GOOD, now - timedelta(hours=1), now + timedelta(days=1), None, None,
                )
                .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
                .sign(issuer.key, hashes.SHA256())
            )  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.end_headers()
            self.wfile.write(answer.public_bytes(serialization.Encoding.DER))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(5)


def stapled(port: int) -> bool:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-status"],
        input="", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "New, TLS" in done.stdout, done.stdout + done.stderr
    return "Cert Status: good" in done.stdout


@pytest.mark.parametrize("program", ["nginx", "caddy"])
def test_a_response_is_stapled(program: str, files: Files, tmp_path: Path) -> None:
    with responder(files) as url:
        pair = PEMFiles(*files.pki.leaf("localhost", ocsp=url).write(tmp_path / "pair"))
        with running(program, tmp_path, files.ca, pair, "--upstream=127.0.0.1:1") as proxy:
            deadline = time.monotonic() + PATIENCE
            while not stapled(proxy.tls):  # nginx asks when the first client comes
                assert time.monotonic() < deadline, (tmp_path / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
