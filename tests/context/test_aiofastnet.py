"""A server whose event loop the user has patched with `aiofastnet`. Its own TLS engine cannot have our contexts:
CPython's SNI callback would look for a Python object that is not there, and end the process.
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

def visit(port):
    context = ssl.create_default_context(cafile=sys.argv[3])
    answers = []
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as secure:
                secure.sendall(b"hello")
                answers.append(secure.recv(100))
    return answers

async def main():
    if sys.argv[4] == "before":
        aiofastnet.patch_loop()
    async def answer(reader, writer):
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()
    context = ServerTLS(PEMFiles(sys.argv[1], sys.argv[2])).create_context()
    if sys.argv[4] == "after":
        aiofastnet.patch_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(await asyncio.to_thread(visit, server.sockets[0].getsockname()[1]))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="its wheels")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_patched_loop_serves(files: Files, when: str) -> None:
    pair = files.ecdsa
    status, text = run([sys.executable, "-c", SERVING, str(pair.certfile), str(pair.keyfile), str(files.ca), when])
    assert status == 0, f"status {status}: {text}"
    assert "[b'hello', b'hello', b'hello']" in text
