"""A program: handshakes in memory with stapling, while responses, certificates and ticket keys change.

python many_staples.py COUNT

TLS 1.2 and 1.3 take turns, and each third client offers a session. The response changes every hundred handshakes, the
certificate every thousand, the ticket keys every five seconds. It prints how much memory has grown since a tenth of
them, in MiB.
"""

from __future__ import annotations

import gc
import os
import ssl
import sys

import psutil
from memory import handshake
from pki import PKI
from responder import respond
from staples import asking

from asgi_tls import INTERMEDIATE
from asgi_tls.certificate import Certificate, PEMData
from asgi_tls.context.server_context import ServerContext
from asgi_tls.tickets import Rotation


def main(count: int) -> None:
    """Shake hands so often."""
    pki, current = PKI(), [b""]
    leaves = [pki.leaf("localhost") for _ in range(2)]
    pairs: list[Certificate] = [PEMData(leaf.chain_pem, leaf.key_pem).load() for leaf in leaves]
    responses = [[respond(leaf.certificate, pki.intermediate) for _ in range(3)] for leaf in leaves]
    secret = os.urandom(32)
    context = ServerContext(INTERMEDIATE, find_staple=lambda _: current[0], rotation=Rotation.gentle(5.0))
    versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    clients = [asking(minimum=version, maximum=version) for version in versions]
    sessions: list[ssl.SSLSession | None] = [None, None]
    before, resumed = 0.0, 0
    for number in range(count):
        served, turn = number // 1000 % 2, number % 2
        if number % 1000 == 0:
            context.use({"default": [pairs[served]]}, ticket_secret=secret)
        if number % 100 == 0:
            current[0] = responses[served][number // 100 % 3]
        if number == count // 10:
            before = _memory()
        session = sessions[turn] if number % 3 == 0 else None
        end = handshake(context.ssl_context, clients[turn], session=session).client
        resumed += bool(end.session_reused)
        if number % 2000 < 2:  # CPython leaks a copy each time that a session is read
            sessions[turn] = end.session
    print(f"{count} handshakes, {resumed} resumed, {_memory() - before:+.2f} MiB")


def _memory() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / (1 << 20)


if __name__ == "__main__":
    main(int(sys.argv[1]))
