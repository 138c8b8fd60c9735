"""The profile as other programs see it: OpenSSL's client, Node, sslyze against Mozilla's guidelines, testssl.sh."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from files import Files
from launch import LAUNCHES, Launch
from servers import Server
from sslyze_command import sslyze

pytestmark = pytest.mark.system

NODE_CLIENT = """
const tls = require("tls"), fs = require("fs");
const [port, ca, minVersion, maxVersion, curves] = process.argv.slice(1);
const socket = tls.connect({host: "127.0.0.1", port, ca: fs.readFileSync(ca), servername: "localhost",
                            minVersion, maxVersion, ecdhCurve: curves, ALPNProtocols: ["http/1.1"]}, () => {
  const {name, size} = socket.getEphemeralKeyInfo();
  console.log(JSON.stringify({protocol: socket.getProtocol(), authorized: socket.authorized, name, size}));
  socket.end();
});
socket.on("error", error => { console.log(JSON.stringify({error: error.code || error.message})); process.exit(1); });
"""

# What OpenSSL's client and Node call the groups.
S_CLIENT_NAMES = {"P-384": "ECDH, secp384r1, 384 bits", "X25519": "X25519, 253 bits"}
NODE_NAMES = {"P-384": "secp384r1", "X25519": "X25519"}


def s_client(server: Server, files: Files, *options: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost"]
    done = subprocess.run(
        [*command, "-CAfile", str(files.ca), *options],
        input="", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def node(server: Server, files: Files, minimum: str, maximum: str, groups: str) -> dict[str, object]:
    done = subprocess.run(
        ["node", "-e", NODE_CLIENT, str(server.port), str(files.ca), minimum, maximum, groups],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("mine", ["P-384:X25519", "X25519:P-384"])
@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_openssl_and_node(files: Files, launch: Launch, mine: str) -> None:
    wanted = mine.split(":")[0]
    with launch.start(files.ecdsa, {"profile": "intermediate", "groups": mine}) as server:
        for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            # TLS 1.2 asks for the curve of the certificate's key among the client's groups: hence P-256.
            for theirs in ("X25519:P-384:P-256", "P-384:X25519:P-256"):
                said = s_client(server, files, version, "-groups", theirs)
                assert f"New, {name}" in said, said
                assert f"Server Temp Key: {S_CLIENT_NAMES[wanted]}" in said
                assert "Verification: OK" in said
                answer = node(server, files, name, name, theirs)
                assert answer["protocol"] == name
                assert answer["authorized"] is True
                assert answer["name"] == NODE_NAMES[wanted]
        assert "Cipher is (NONE)" in s_client(server, files, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0")
        assert "Cipher is (NONE)" in s_client(server, files, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_modern_refuses_tls_1_2(files: Files, launch: Launch) -> None:
    with launch.start(files.ecdsa, {"profile": "modern"}) as server:
        assert "Cipher is (NONE)" in s_client(server, files, "-tls1_2")
        assert "error" in node(server, files, "TLSv1.2", "TLSv1.2", "X25519")
        assert "New, TLSv1.3" in s_client(server, files)


ONE_OF_EACH = [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio"), Launch("gunicorn", "asgi", 2)]

# sslyze judges the certificate as well; ours is a private CA's, and not what is asked about here.
_CERTIFICATE = re.compile(r"\* (certificate\w*|maximum_certificate_lifespan|hsts\w*|ocsp\w*|tls_extended\w*)?")


@pytest.mark.parametrize("profile", ["intermediate", "modern"])
@pytest.mark.parametrize("launch", ONE_OF_EACH, ids=str)
def test_sslyze_finds_no_violation_of_mozillas_guidelines(files: Files, launch: Launch, profile: str) -> None:
    with launch.start(files.ecdsa, {"profile": profile}) as server:
        done = subprocess.run(
            sslyze(f"--mozilla_config={profile}", f"--certinfo_ca_file={files.ca}", f"localhost:{server.port}"),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert "SCANS COMPLETED" in done.stdout, done.stdout + done.stderr
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    assert "FAILED - Not compliant" in verdict or "OK - Compliant" in verdict
    violations = [line.strip() for line in verdict.splitlines() if line.strip().startswith("* ")]
    assert not [line for line in violations if not line.startswith("* certificate")], verdict


# A private CA publishes no CRL and no OCSP responder, and localhost has no DNS record for CAA. Stapling and HSTS are
# the business of other parts.
ABSENT = re.compile(r"cert_(crl|ocsp|revocation)|OCSP|HSTS|DNS_CAA|certificate_transparency", re.IGNORECASE)


@pytest.mark.parametrize("launch", ONE_OF_EACH, ids=str)
def test_testssl_reports_nothing_of_low_or_above(files: Files, tmp_path: Path, launch: Launch) -> None:
    report = tmp_path / "report.json"
    with launch.start(files.ecdsa, {}) as server:
        done = subprocess.run(
            ["testssl", "--color", "0", "--quiet", "--warnings", "batch", "--add-ca", str(files.ca),
             "--protocols", "--std", "--fs", "--server-defaults", "--jsonfile", str(report),
             "--severity", "LOW", f"localhost:{server.port}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert "Testing server defaults" in done.stdout, done.stdout + done.stderr
    findings = json.loads(report.read_text(encoding="utf-8"))
    # WARN means that testssl.sh could not find out.
    bad = [each for each in findings if each["severity"] != "WARN" and not ABSENT.search(each["id"])]
    assert not bad, bad
