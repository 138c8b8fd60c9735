"""Server CPU per new handshake and GET: a certificate that the server orders itself, and the same one from files."""

from __future__ import annotations

import ssl
import tempfile
import time
from pathlib import Path

from asgi_tls import ACME
from asgi_tls.renewal.acme.schedule import Record, succeeded, to_json
from bench.load import certificate, cpu_per_connection, serving

ROUNDS, COUNT = 20, 150  # 3,000 handshakes for each server and loop
_DIRECTORY = "https://127.0.0.1:1/directory"  # nothing is due, so nobody is asked
_DAY = 86_400.0
# asyncio has a buffer of 256 KiB for each connection. Where it lies at the end of the heap, which chance decides for a
# process, glibc gives it back and takes it again each time: 100 us. Here neither server does.
_HEAP = {"MALLOC_TRIM_THRESHOLD_": "200000000", "MALLOC_MMAP_THRESHOLD_": "200000000"}


def run() -> None:
    """Print a line for each event loop. The aim is a ratio of at most 1.01."""
    with certificate() as (ca, certfile, keyfile), tempfile.TemporaryDirectory() as storage:
        context = ssl.create_default_context(cafile=ca)
        _store(Path(storage), Path(certfile).read_bytes() + Path(keyfile).read_bytes())
        common = ["uvicorn", "hello_app:app", "--port", "{port}", "--no-access-log", "--log-level", "warning"]
        files = ["--ssl-certfile", certfile, "--ssl-keyfile", keyfile]
        acme = ["--tls-acme", "localhost", "--tls-acme-directory", _DIRECTORY, "--tls-acme-storage", storage]
        for loop in ("asyncio", "uvloop"):
            with (
                serving("-m", "asgi_tls", *common, "--loop", loop, *files, env=_HEAP) as without,
                serving("-m", "asgi_tls", *common, "--loop", loop, *acme, env=_HEAP) as ordering,
            ):
                (base, _), (cost, _) = cpu_per_connection([without, ordering], context, rounds=ROUNDS, count=COUNT)
            print(
                f"{loop}: {cost * 1e6:.0f} us of server CPU per handshake and GET with ACME, {base * 1e6:.0f} us with "
                f"files: ratio {cost / base:.3f} ({ROUNDS * COUNT} handshakes each)"
            )


def _store(storage: Path, pem: bytes) -> None:
    """As an order would have."""
    source, now = ACME("localhost", directory=_DIRECTORY, storage=storage), time.time()
    source.storage.check()
    source.path.touch(mode=0o600)
    source.path.write_bytes(pem)
    record = succeeded(
        Record(), now, 0.5, certificate_id=None, ca=_DIRECTORY, not_before=now, not_after=now + 90 * _DAY
    )
    source.path.with_suffix(".json").touch(mode=0o600)
    source.path.with_suffix(".json").write_bytes(to_json(record))
