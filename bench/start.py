"""The time to import the package, and to print the help of the command."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def run() -> None:
    """Print medians. The aims: 40 ms over starlette alone, and help within 300 ms."""
    starlette = _milliseconds("-c", "import starlette.applications")
    for what in ("import asgi_tls", "from asgi_tls import TLSMiddleware", "from asgi_tls import *"):
        both = _milliseconds("-c", f"import starlette.applications\n{what}")
        print(f"{what}: {both - starlette:.0f} ms more than starlette alone ({starlette:.0f} ms)")
    print(f"asgi-tls --help: {_milliseconds('-m', 'asgi_tls', '--help'):.0f} ms")


def _milliseconds(*arguments: str) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000
