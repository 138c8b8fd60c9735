"""Whatever a client does to a server, the code in our log has an explanation."""

from __future__ import annotations

from conversations import CONVERSATIONS
from files import Files
from launch import Launch
from patience import PATIENCE
from wire import events, say

from asgi_tls.explain import explain


def test_every_reason_of_the_malformed_conversations_is_explained(files: Files) -> None:
    launch = Launch("uvicorn", "asyncio")
    with launch.start(files.ecdsa, {"handshake_timeout": str(PATIENCE)}, "--tls-log-json") as server:
        for conversation in CONVERSATIONS:
            conversation.hold(server.port)
        # Events come in order: when this one is there, all are.
        last = say(server.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert events(server, last.port)
        failed = [event for event in events(server) if event["event"] == "tls_client_error"]
    codes = {event["code"] for event in failed}
    assert len(codes) > 25
    assert not [code for code in codes if not explain(code)]
    # In a whole log line, whatever else stands there, the code decides.
    for event in failed:
        first = explain(f'{{"event": "tls_client_error", "code": "{event["code"]}", "msg": "{event["msg"]}"}}')[0]
        assert first.trouble.code == explain(event["code"])[0].trouble.code
