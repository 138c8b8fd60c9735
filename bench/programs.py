"""What it costs to import the package, and to start the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from bench.figures import Samples, turns
from bench.tables import Column, Measurement, Pace, Table

_STARLETTE = "import starlette.applications"
_WAYS = {
    "starlette alone": ["-c", _STARLETTE],
    "and TLSMiddleware": ["-c", f"{_STARLETTE}\nfrom asgi_tls import TLSMiddleware"],
    "and every name of asgi_tls": ["-c", f"{_STARLETTE}\nfrom asgi_tls import *"],
    "`asgi-tls --help`": ["-m", "asgi_tls", "--help"],
}


def _cpu(arguments: list[str]) -> dict[str, float]:
    with subprocess.Popen([sys.executable, "-P", *arguments], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {arguments} failed")
    return {"cpu": used.ru_utime + used.ru_stime}


def _way(arguments: list[str]) -> Callable[[], dict[str, float]]:
    return lambda: _cpu(arguments)


def _run(pace: Pace) -> Mapping[str, Samples]:
    ways = {name: _way(arguments) for name, arguments in _WAYS.items()}
    turns(ways, 1)  # until the files are in memory
    return {"programs": turns(ways, 6 * pace.rounds)}


PROGRAMS = Measurement(
    "programs",
    (
        Table(
            "programs", "Imports", "A whole Python process, from its start to its end.",
            {"cpu": Column("CPU, ms", factor=1e3)}, first="program", bases={"and TLSMiddleware": "starlette alone"},
        ),
    ),
    _run,
)  # fmt: skip
