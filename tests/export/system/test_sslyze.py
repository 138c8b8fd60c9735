"""sslyze finds the same in nginx with the export as in `asgi-tls uvicorn` with the profile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asgi_servers import running_uvicorn
from behind_app import guarded
from files import Files
from proxies import running
from servers import asgi_tls, serve
from sslyze_command import sslyze

pytestmark = pytest.mark.system

SCANS = (
    "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "certinfo", "compression", "early_data",
    "elliptic_curves", "ems", "fallback", "heartbleed", "http_headers", "openssl_ccs", "reneg", "resum", "robot",
)  # fmt: skip
# Keys are fresh, and the group of each is by the order of groups, which nginx leaves to the client. Of suites, those
# that are accepted count: what is not among them was refused, in one way or another.
PASSING = {"ephemeral_key", "rejected_cipher_suites"}


def scanned(port: int, files: Files, directory: Path) -> dict[str, Any]:
    """Every result of sslyze, without what passes; of the certificate, what the server sent."""
    report = directory / f"{port}.json"
    done = subprocess.run(
        sslyze("--mozilla_config=disable", "--slow_connection", f"--certinfo_ca_file={files.ca}",
               f"--json_out={report}", *(f"--{name}" for name in SCANS), f"localhost:{port}"),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    (result,) = json.loads(report.read_text(encoding="utf-8"))["server_scan_results"]
    results = result["scan_result"]
    assert {each["status"] for each in results.values()} == {"COMPLETED"}, results
    certificates = results.pop("certificate_info")["result"]["certificate_deployments"]
    chains = [[one["fingerprint_sha256"] for one in each["received_certificate_chain"]] for each in certificates]
    return {"chains": chains, **{name: without_passing(each["result"]) for name, each in results.items()}}


def without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_passing(each) for name, each in value.items() if name not in PASSING}
    return sorted(map(without_passing, value), key=json.dumps) if isinstance(value, list) else value


@pytest.mark.parametrize("options", [["--tls-profile=modern"], ["--tls-profile=intermediate"],
                                     ["--tls-groups=P-384:X25519", "--tls-ciphers=ECDHE-ECDSA-AES256-GCM-SHA384",
                                      "--tls-ciphersuites=TLS_AES_256_GCM_SHA384"]], ids=str)  # fmt: skip
def test_nginx_and_uvicorn(options: list[str], files: Files, tmp_path: Path) -> None:
    pair = [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]
    command = asgi_tls("uvicorn", "behind_app:guarded", "--port=0", *pair, *options)
    with serve(command, ready="Uvicorn running on") as server:
        ours = scanned(server.port, files, tmp_path)
    with (
        running_uvicorn(guarded, proxy_headers=True) as port,
        running("nginx", tmp_path, files.ca, files.ecdsa, f"--upstream=127.0.0.1:{port}", *options) as proxy,
    ):
        theirs = scanned(proxy.tls, files, tmp_path)
    # The middleware sends none for localhost; a proxy sends it whatever the host is.
    mine, its = (each["http_headers"].pop("strict_transport_security_header") for each in (ours, theirs))
    assert (mine, its and its["max_age"]) == (None, 63_072_000)
    assert ours["tls_1_3_cipher_suites"]["accepted_cipher_suites"]
    # This nginx cannot rotate the keys of tickets, so that its sessions resume from the cache, as the export says.
    tickets, cache = ours.pop("session_resumption"), theirs.pop("session_resumption")
    if "modern" not in options[0]:
        assert tickets["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
        # OpenSSL stores a session after it has sent Finished: another worker of nginx may be asked for it too early.
        assert cache["session_id_resumption_result"] in {"FULLY_SUPPORTED", "PARTIALLY_SUPPORTED"}
    assert ours == theirs
