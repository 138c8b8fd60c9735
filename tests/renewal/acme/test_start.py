"""What a server with ACME sources refuses before it listens, since a person must mend it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pki import PKI

from asgi_tls import ACME, ServerTLS
from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.ca import ExternalAccount
from asgi_tls.renewal.acme.dns import DNSCommand, DNSLexicon
from asgi_tls.renewal.acme.manager import Manager

NOWHERE = "https://127.0.0.1:1/directory"


def source(tmp_path: Path, **more: Any) -> ACME:
    return ACME("www.example.test", **{"directory": NOWHERE, "storage": tmp_path / "storage", **more})


def a_text(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "text").write_text("no certificate")
    return {"ca_file": tmp_path / "text"}


def a_script(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    return {"dns": DNSCommand(f"{tmp_path}/script --zone example.test")}


def a_file(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "file").write_text("no directory")
    return {"storage": tmp_path / "file"}


MISTAKES = {
    "a storage that is a file": (a_file, "cannot be written"),
    "no CA file": (lambda path: {"ca_file": path / "missing.pem"}, "missing.pem, which cannot be used: No such file"),
    "a directory as CA file": (lambda path: {"ca_file": path}, "which cannot be used"),
    "a CA file without a certificate": (a_text, "no certificate in PEM format"),
    "no such command": (lambda _: {"dns": DNSCommand("no-such-program-here set")}, "no-such-program-here is not found"),
    "a command that may not be run": (a_script, "chmod +x"),
}


@pytest.mark.parametrize(("mistaken", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_at_the_start(tmp_path: Path, mistaken: Any, words: str) -> None:
    for start in (ServerTLS.check, ServerTLS.create_context, ServerTLS.uvicorn_kwargs):
        with pytest.raises(ConfigurationError) as caught:
            start(ServerTLS(source(tmp_path, **mistaken(tmp_path))))
        assert words in str(caught.value)


def test_a_worker_starts_whatever_became_of_the_storage(tmp_path: Path) -> None:
    checked = ServerTLS(source(tmp_path))
    checked.check()
    worker = pickle.loads(pickle.dumps(checked))
    (tmp_path / "storage").rename(tmp_path / "away")
    (tmp_path / "storage").write_text("in the way")
    worker.create_context()


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(PKI("of the directory").root_pem)
    ServerTLS(source(tmp_path, ca_file=tmp_path / "ca.pem", dns=DNSCommand("sh set-record"))).check()


def test_a_provider_need_not_be_hashable(tmp_path: Path) -> None:
    """As with the options of dns-lexicon, and any object of the user's."""
    one = source(tmp_path, dns=DNSLexicon("cloudflare", {"auth_token": "secret"}))
    Manager([one, one], tell=print, is_over=lambda: True, nudge=lambda: None)


def test_a_file_of_an_external_account_that_others_can_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "hmac"
    path.write_text("c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    for mode, codes in ((0o644, ["open-file"]), (0o600, [])):
        path.chmod(mode)
        made = source(tmp_path, external_account=ExternalAccount("kid", file=path))
        notices = ServerTLS(made, allow_unsupported=True).check()
        assert [each.code for each in notices if each.code == "open-file"] == codes
