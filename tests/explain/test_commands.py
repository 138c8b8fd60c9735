"""The catalogue's commands run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pki import PKI
from servers import asgi_tls, serve

from asgi_tls.explain import CATALOGUE

pytestmark = pytest.mark.system

COMMANDS = sorted({command for trouble in CATALOGUE.values() for command in trouble.commands})
# What a shell and the programs say of a command that is wrong in itself.
WRONG = re.compile(
    r"not found|[Uu]nknown option|[Uu]nrecognized|invalid option|(?m:^[Uu]sage:)|Use -help|[Ss]yntax error|No such"
)


def test_the_commands_run(tmp_path: Path) -> None:
    pki = PKI("Commands", key="rsa")
    pair = pki.leaf("localhost", "127.0.0.1", key="rsa")
    pair.write(tmp_path)
    pki.leaf("alice").write(tmp_path, certfile="client.pem", keyfile="client-key.pem")
    (tmp_path / "cert.pem").write_bytes(pair.cert_pem)
    for name in ("ca.pem", "client-ca.pem"):
        (tmp_path / name).write_bytes(pki.root_pem)
    (tmp_path / "client.p12").write_bytes(pair.pkcs12(b"x"))
    (tmp_path / "server.pfx").write_bytes(pair.pkcs12(b"x"))
    empty_crl(pki, tmp_path)
    bin_directory = Path(sys.executable).parent
    serving = asgi_tls("uvicorn", "facts_app:app", "--port=0", f"--ssl-certfile={tmp_path}/fullchain.pem",
                       f"--ssl-keyfile={tmp_path}/privkey.pem")  # fmt: skip
    wrong: dict[str, str] = {}
    with serve(serving, ready="Uvicorn running on") as server:
        for command in COMMANDS:
            if command.startswith("ethtool"):
                continue  # asks a network card, which a container has not
            here = command.replace("HOST:443", f"localhost:{server.port}").replace(
                "//HOST", f"//localhost:{server.port}"
            )
            here = re.sub(r"pkcs12 ", "pkcs12 -passin pass:x ", here.replace("HOST", "localhost"))
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", here], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, timeout=60, env={"PATH": f"{bin_directory}:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C",
                                            "HOME": str(tmp_path), "ASGI_TLS_HOME": str(tmp_path / "home")},
            )  # fmt: skip
            said = done.stdout + done.stderr
            if done.returncode in {2, 126, 127} or (WRONG.search(said) and "--help" not in command):
                wrong[command] = said[-500:]
    assert not wrong, "\n".join(f"$ {command}\n{said}" for command, said in wrong.items())


def empty_crl(pki: PKI, directory: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from pki import DAY

    builder = x509.CertificateRevocationListBuilder().issuer_name(pki.intermediate.certificate.subject)
    crl = builder.last_update(pki.now - DAY).next_update(pki.now + DAY).sign(pki.intermediate.key, SHA256())
    (directory / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
