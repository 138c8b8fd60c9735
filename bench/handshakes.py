"""Server CPU per new TLS 1.3 handshake and GET: `asgi-tls uvicorn` and plain uvicorn, with the same certificate."""

from __future__ import annotations

import ssl

from bench.load import certificate, cpu_per_connection, serving

ROUNDS, COUNT = 20, 150  # 3,000 handshakes for each server and loop


def run() -> None:
    """Print a line for each event loop. The aim is a ratio of at most 1.05."""
    with certificate() as (ca, certfile, keyfile):
        context = ssl.create_default_context(cafile=ca)
        files = ["--ssl-certfile", certfile, "--ssl-keyfile", keyfile]
        common = ["hello_app:app", "--port", "{port}", "--no-access-log", "--log-level", "warning", *files]
        for loop in ("asyncio", "uvloop"):
            with (
                serving("-m", "uvicorn", *common, "--loop", loop) as plain,
                serving("-m", "asgi_tls", "uvicorn", *common, "--loop", loop) as ours,
            ):
                (base, _), (cost, _) = cpu_per_connection([plain, ours], context, rounds=ROUNDS, count=COUNT)
            print(
                f"{loop}: {cost * 1e6:.0f} us of server CPU per handshake and GET, plain uvicorn {base * 1e6:.0f} us: "
                f"ratio {cost / base:.3f} ({ROUNDS * COUNT} handshakes each)"
            )
