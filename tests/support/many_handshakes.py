"""A program for valgrind: handshakes in memory, while ticket keys turn and certificates are swapped.

python many_handshakes.py COUNT CERTFILE KEYFILE
"""

from __future__ import annotations

import os
import ssl
import sys

from handshakes import client
from memory import handshake

from asgi_tls import INTERMEDIATE, PEMFiles
from asgi_tls.context.resumption import Resumption
from asgi_tls.context.server_context import ServerContext
from asgi_tls.tickets import Rotation

PERIOD = 43_200.0


class Clock:
    now = 50_000 * PERIOD

    def __call__(self) -> float:
        return self.now


def main(count: int, certfile: str, keyfile: str) -> None:
    """Print how many handshakes were resumed."""
    clock, resumed = Clock(), 0
    pair = PEMFiles(certfile, keyfile).load()
    for threaded in (False, True):
        server = ServerContext(INTERMEDIATE, threaded=threaded)
        rotation = Rotation.gentle(PERIOD)
        server.resumption = Resumption(server.ssl_context, rotation, threaded=threaded, clock=clock)
        server.ssl_context.tls_before_each = server.resumption.refresh
        server.use({"default": [pair]}, ticket_secret=os.urandom(32))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            peer, session = client(minimum=version, maximum=version), None
            for number in range(count):
                clock.now += 1_800.0  # the overlap comes and goes
                ends = handshake(server.ssl_context, peer, session=session)
                session, resumed = ends.client.session, resumed + ends.client.session_reused
                if number % 10 == 0:
                    server.use({"default": [pair]})
    print("resumed", resumed)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
