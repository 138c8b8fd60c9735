"""Each malformed conversation ends with the alert that the RFC asks for, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest
from conversations import CONVERSATIONS, Conversation
from files import Files
from handshakes import client, connect
from launch import Launch
from patience import PATIENCE
from servers import Server

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop"),
    Launch("hypercorn", "asyncio", 0),
    Launch("hypercorn", "uvloop", 0),
]


@pytest.fixture(scope="module", params=LAUNCHES, ids=str)
def server(request: pytest.FixtureRequest, files: Files) -> Iterator[Server]:
    launch: Launch = request.param
    with launch.start(files.ecdsa, {"handshake_timeout": str(PATIENCE)}) as running:
        yield running


def test_there_are_enough() -> None:
    assert len(CONVERSATIONS) >= 60
    assert len({conversation.name for conversation in CONVERSATIONS}) == len(CONVERSATIONS)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda each: each.name)
def test_conversation(server: Server, conversation: Conversation) -> None:
    assert conversation.hold(server.port) in conversation.wanted


def test_nothing_is_left_behind(files: Files, server: Server) -> None:
    process = psutil.Process(server.process.pid)
    deadline = time.monotonic() + PATIENCE
    while True:
        left = [each for each in process.net_connections("tcp") if each.status not in {"LISTEN", "NONE"}]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert not left
    text = server.text
    # CPython itself writes this to stderr for a name that is no ASCII, and ends the handshake with an alert.
    assert text.count("Traceback") == text.count("Exception ignored ") == text.count("UnicodeDecodeError"), text
    for sign in ("never retrieved", "was never awaited", "Unhandled"):
        assert sign not in text, text
    assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
