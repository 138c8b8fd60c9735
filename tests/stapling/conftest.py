"""Responses are kept in a directory of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from files import Files
from responder import Responder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's process, and those that it starts, keep them."""
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "asgi-tls" / "ocsp"


@pytest.fixture
def responder(files: Files) -> Iterator[Responder]:
    """For certificates of the tests' CA."""
    with Responder(files.pki) as responder:
        yield responder
