"""A Redis server of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from patience import PATIENCE
from servers import await_port


@contextlib.contextmanager
def redis(directory: Path, port: int, *, save: str = "", host: str = "127.0.0.1") -> Iterator[subprocess.Popen[bytes]]:
    """It listens on this port until the block is left. `save` says when it writes what it has to the directory."""
    command = ["redis-server", "--port", str(port), "--bind", host, "--save", save, "--dir", str(directory)]
    command += ["--protected-mode", "no"]  # which would refuse another host than this one
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        await_port(port, PATIENCE, host=host)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        process.terminate()
        process.wait(PATIENCE)
