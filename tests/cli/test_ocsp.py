"""`asgi-tls ocsp status`: what it prints, and its exit status."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp
from files import Files
from in_process import here
from responder import HOUR, Responder, signer
from servers import asgi_tls, run


def test_good(files: Files, tmp_path: Path) -> None:
    with Responder(files.pki) as responder:
        responder.answer = responder.made(by=signer(files.pki))
        certfile, _ = responder.leaf().write(tmp_path)
        status, text = run(asgi_tls("ocsp", "status", str(certfile)))
        assert status == 0, text
        assert "status       good" in text
        assert "signed by    CN=ocsp.test" in text
        assert responder.url in text
        assert "next update" in text
        status, text = here(asgi_tls("ocsp", "status", str(certfile), "--json"))
        assert status == 0
        said = json.loads(text)
        assert (said["status"], said["responder"], said["url"]) == ("good", "CN=ocsp.test", responder.url)
        assert {"this_update", "next_update", "msg"} < {*said}


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"status": ocsp.OCSPCertStatus.REVOKED}, "revoked"),
        ({"status": ocsp.OCSPCertStatus.UNKNOWN}, "unknown"),
        ({"this_update": -2 * HOUR, "next_update": -timedelta(seconds=1)}, "expired"),
        (None, "unreachable"),
    ],
)
def test_anything_else_fails(files: Files, tmp_path: Path, how: dict[str, object] | None, word: str) -> None:
    with Responder(files.pki) as responder:
        certfile, _ = responder.leaf().write(tmp_path)
        if how is None:
            responder.stop()
        else:
            responder.answer = responder.made(**how)
        status, text = here(asgi_tls("ocsp", "status", str(certfile), "--json"))
        assert (status, json.loads(text)["status"]) == (1, word)


def test_the_issuer_in_a_file_of_its_own(files: Files, tmp_path: Path) -> None:
    with Responder(files.pki) as responder:
        certfile, _ = responder.leaf().alone().write(tmp_path)
        (tmp_path / "issuer.pem").write_bytes(files.pki.intermediate_pem)
        status, text = here(asgi_tls("ocsp", "status", str(certfile)))
        assert (status, "--issuer FILE" in text) == (3, True)
        status, text = here(asgi_tls("ocsp", "status", str(certfile), "--issuer", str(tmp_path / "issuer.pem")))
        assert status == 0, text


def test_what_cannot_be_asked(files: Files, tmp_path: Path) -> None:
    certfile, _ = files.pki.leaf().write(tmp_path)
    status, text = here(asgi_tls("ocsp", "status", str(certfile)))
    assert (status, "names no OCSP responder" in text) == (3, True)
    status, text = here(asgi_tls("ocsp", "status", str(tmp_path / "nothing.pem")))
    assert (status, "no such file" in text) == (3, True)
    assert "Traceback" not in text
