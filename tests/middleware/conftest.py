from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgi_servers import KeyPair, make_key_pair

from asgi_tls.certificate.challenges import challenges

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    directory: Path = tmp_path_factory.mktemp("keys")
    return make_key_pair(directory)


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ACME, which a test of this process may have left: the middleware would answer its challenges."""
    monkeypatch.setattr(challenges, "_thumbprint", None)
