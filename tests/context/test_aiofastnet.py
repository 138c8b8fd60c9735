"""A server whose event loop the user has patched with `aiofastnet`. Its own TLS engine cannot have our contexts:
CPython's SNI callback would look for a Python object that is not there, and end the process. Its other one loses data
of protocols that pause reading (1.2.0), so our servers accept by themselves.
"""

from __future__ import annotations

import sys

import pytest
from files import Files
from servers import run

SERVING = """
import asyncio, socket, ssl, sys, threading
import aiofastnet
from asgi_tls import PEMFiles, ServerTLS

UPLOAD = 1 << 20

def visit(port):
    context = ssl.create_default_context(cafile=sys.argv[3])
    answers = []
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as secure:
                secure.sendall(bytes(UPLOAD))
                answers.append(secure.recv(100))
    return answers

async def main():
    if sys.argv[4] == "before":
        aiofastnet.patch_loop()
    async def answer(reader, writer):  # more than the reader's limit, so it pauses and resumes
        received = await reader.readexactly(UPLOAD)
        writer.write(b"%d" % len(received))
        await writer.drain()
        writer.close()
    addresses = []
    context = ServerTLS(
        PEMFiles(sys.argv[1], sys.argv[2]),
        listeners=[lambda event: addresses.append(getattr(event, "ip", None))],
    ).create_context()
    if sys.argv[4] == "after":
        aiofastnet.patch_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(await asyncio.to_thread(visit, server.sockets[0].getsockname()[1]))
    server.close()
    await server.wait_closed()
    print(addresses.count("127.0.0.1"), "sessions with their address")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="its wheels")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_patched_loop_serves(files: Files, when: str) -> None:
    pair = files.ecdsa
    status, text = run([sys.executable, "-c", SERVING, str(pair.certfile), str(pair.keyfile), str(files.ca), when])
    assert status == 0, f"status {status}: {text}"
    assert "[b'1048576', b'1048576', b'1048576']" in text
    assert "3 sessions with their address" in text
    assert "Traceback" not in text
