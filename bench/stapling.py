"""Handshakes with stapling, tickets and renewals: the cost of a response, and whether memory grows.

    python -m bench.stapling [--handshakes N]

Client and server shake hands in memory, in one process, with TLS 1.2 and 1.3 in turns; each third client offers a
session. The response changes every hundred handshakes, the certificates every thousand, the ticket keys every five
seconds. Memory is measured after a tenth of the handshakes and at the end. For leaks in libssl, run it under valgrind:

    PYTHONMALLOC=malloc valgrind --leak-check=full python -m bench.stapling --handshakes 300
"""

from __future__ import annotations

import argparse
import gc
import os
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp

from asgi_tls import INTERMEDIATE
from asgi_tls._openssl.library import reach
from asgi_tls.certificate import Certificate, PEMFiles
from asgi_tls.context.server_context import ServerContext
from asgi_tls.dev.ca import LocalCA
from asgi_tls.tickets import Rotation

HANDSHAKES = 20_000
_SET_STATUS_REQ_TYPE, _TYPE_OCSP = 65, 1  # openssl/tls1.h


def run(handshakes: int = HANDSHAKES) -> None:
    """Measure, and print the results."""
    with tempfile.TemporaryDirectory() as directory:
        ca = LocalCA(Path(directory))
        pairs = [_pair(ca, name) for name in ("one.localhost", "two.localhost")]
        responses = [[_response(ca, pair) for _ in range(3)] for pair in pairs]
        _cost(pairs[0], responses[0][0], min(handshakes, 4000))
        _soak(pairs, responses, handshakes)


def _response(ca: LocalCA, pair: Certificate) -> bytes:
    """A good one, of the size that public CAs send: OpenSSL 3.6 parses it, and sends only a valid one."""
    issuer = x509.load_pem_x509_certificate(ca.certificate_path.read_bytes())
    key: Any = load_pem_private_key(ca.key_path.read_bytes(), None)
    leaf, now = x509.load_der_x509_certificate(pair.leaf_der), datetime.now(UTC)
    builder = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    builder = builder.add_response(
        leaf, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now, now + timedelta(days=7), None, None
    )
    builder = builder.certificates([issuer]).add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _pair(ca: LocalCA, name: str) -> Certificate:
    issued = ca.issue([name])
    return PEMFiles(issued.certfile, issued.keyfile).load()


def _cost(pair: Certificate, response: bytes, handshakes: int) -> None:
    plain, stapling = ServerContext(INTERMEDIATE), ServerContext(INTERMEDIATE, find_staple=lambda _: response)
    for context in (plain, stapling):
        context.use({"default": [pair]})
    variants = {
        "no client asks, no stapling": (plain, _client(asks=False)),
        "no client asks, stapling": (stapling, _client(asks=False)),
        "every client asks, no stapling": (plain, _client(asks=True)),
        "every client asks, stapling": (stapling, _client(asks=True)),
    }
    best = dict.fromkeys(variants, 1e9)
    for _ in range(10):  # in turns, since the speed of a machine varies
        for name, (context, client) in variants.items():
            started = time.process_time()
            for _ in range(handshakes // 40):
                _shake_hands(context.ssl_context, client)
            best[name] = min(best[name], (time.process_time() - started) / (handshakes // 40))
    for name, seconds in best.items():
        print(f"{name:32} {seconds * 1e6:6.0f} us for both sides of a handshake")


def _soak(pairs: list[Certificate], responses: list[list[bytes]], handshakes: int) -> None:
    process, current = psutil.Process(), [b""]
    rotation, secret = Rotation.gentle(5.0), os.urandom(32)
    context = ServerContext(INTERMEDIATE, find_staple=lambda _: current[0], rotation=rotation)
    clients = [_client(asks=True, version=version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    sessions: list[ssl.SSLSession | None] = [None, None]
    before, resumed = 0.0, 0
    for number in range(handshakes):
        served = number // 1000 % 2
        if number % 1000 == 0:
            context.use({"default": [pairs[served]]}, ticket_secret=secret)
        if number % 100 == 0:
            current[0] = responses[served][number // 100 % 3]
        if number == handshakes // 10:
            before = _memory(process)
        turn = number % 2
        end = _shake_hands(context.ssl_context, clients[turn], sessions[turn] if number % 3 == 0 else None)
        resumed += bool(end.session_reused)
        if number % 2000 < 2:  # CPython leaks a copy each time that a session is read
            sessions[turn] = end.session
    after = _memory(process)
    print(f"{resumed} of {handshakes} handshakes resumed a session")
    print(f"{handshakes} handshakes: {before:.1f} MiB after a tenth of them, {after - before:+.2f} MiB at the end")


def _memory(process: psutil.Process) -> float:
    gc.collect()
    return float(process.memory_info().rss) / (1 << 20)


def _client(*, asks: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if asks:
        lib = reach()
        lib.SSL_CTX_ctrl(lib.context(context), _SET_STATUS_REQ_TYPE, _TYPE_OCSP, None)
    return context


def _shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLObject:
    """The client's end, after its handshake and the TLS 1.3 session that the server sends behind it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="one.localhost", session=session)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    ends: list[Any] = [one, other]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    other.write(b"!")
    one.read(1)
    return one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handshakes", type=int, default=HANDSHAKES)
    run(parser.parse_args().handshakes)
