"""What a server says on the wire, byte by byte, and what it reports in its log."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from patience import PATIENCE, until
from servers import Server


@dataclass(frozen=True)
class Said:
    """Everything that came until the end, how it ended, and after how many seconds."""

    data: bytes
    ending: str  # "end", "reset" or "timeout"
    seconds: float
    port: int  # ours

    @property
    def alerts(self) -> list[int]:
        """The alerts in the clear, by number."""
        return [body[1] for kind, body in records(self.data) if kind == 21 and len(body) == 2]


def records(data: bytes) -> list[tuple[int, bytes]]:
    """TLS records, as type and body."""
    found = []
    while len(data) >= 5:
        size = int.from_bytes(data[3:5])
        found.append((data[0], data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def say(port: int, *chunks: bytes, pause: float = 0.0, timeout: float = PATIENCE, finish: bool = False) -> Said:
    """Send the chunks with pauses between them, and read to the end. `finish` ends our side first."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own_port = sock.getsockname()[1]
        data, ending = b"", "end"
        try:
            for number, chunk in enumerate(chunks):
                if number:
                    time.sleep(pause)
                sock.sendall(chunk)
            if finish:
                sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # the server has said its word already: read it
        try:
            while chunk := sock.recv(65536):
                data += chunk
        except TimeoutError:
            ending = "timeout"
        except ConnectionError:
            ending = "reset"
    return Said(data, ending, time.monotonic() - started, own_port)


def hello(**how: Any) -> bytes:
    """The first flight of a real client, by Python's own `ssl`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=how.get("server_name", "localhost"))
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a client does not finish alone")


def events(server: Server, port: int | None = None, *, name: str | None = None, count: int = 1) -> list[dict[str, Any]]:
    """The events in the server's JSON log, of one client's port or one name if given; waits until there are `count`."""

    def found() -> list[dict[str, Any]]:
        logged = [json.loads(line) for line in list(server.log) if line.startswith("{")]
        return [each for each in logged if port in {None, each.get("port")} and name in {None, each["event"]}]

    until(lambda: len(found()) >= count, server)
    return found()
