"""Every way to start a server, in one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from servers import Server, asgi_tls, serve

from asgi_tls import PEMFiles
from asgi_tls.servers.settings import FLAG, SETTINGS

_FLAGS = {setting.name for setting in SETTINGS if setting.kind is FLAG}


@dataclass(frozen=True)
class Launch:
    """One server, event loop or worker kind, and number of workers."""

    server: Literal["uvicorn", "hypercorn", "gunicorn"]
    kind: str
    workers: int = 1
    """hypercorn's worker is a process beside its parent; with 0 there is one process, which serves."""

    def __str__(self) -> str:
        return f"{self.server}-{self.kind}-{self.workers}"

    @property
    def speaks_asgi(self) -> bool:
        """Whether the application can tell its connection."""
        return self.server != "gunicorn" or self.kind == "asgi"

    def command(
        self, pair: PEMFiles | None, settings: Mapping[str, str], *own: str, host: str = "127.0.0.1", port: int = 0
    ) -> list[str]:
        """The command line, with `own` options of the server or ours at its end."""
        prefix = "--ssl-" if self.server == "uvicorn" else "--"
        files = [] if pair is None else [f"{prefix}certfile={pair.certfile}", f"{prefix}keyfile={pair.keyfile}"]
        kind = [f"--loop={self.kind}"] if self.server == "uvicorn" else [f"--worker-class={self.kind}"]
        app = "facts_app:app" if self.speaks_asgi else "facts_app:wsgi"
        options = [
            f"--tls-{name.replace('_', '-')}" + ("" if name in _FLAGS else f"={value}")
            for name, value in settings.items()
        ]
        return asgi_tls(
            self.server,
            app,
            *self.listen(host, port),
            *kind,
            f"--workers={self.workers}",
            *files,
            *options,
            *own,
        )

    def listen(self, host: str, port: int) -> list[str]:
        """The options that make it listen there."""
        return [f"--host={host}", f"--port={port}"] if self.server == "uvicorn" else [f"--bind={host}:{port}"]

    def start(self, pair: PEMFiles | None, settings: Mapping[str, str], *own: str) -> AbstractContextManager[Server]:
        """Run it until the context manager is left."""
        ready, count = self.readiness()
        return serve(self.command(pair, settings, *own), ready=ready, count=count)

    def readiness(self) -> tuple[str, int]:
        """What the server prints when it takes connections, and how often."""
        if self.server == "uvicorn":
            ready = "Application startup complete|Uvicorn running on"
            return ready, self.workers + 1
        if self.server == "hypercorn":
            return "Running on https", max(self.workers, 1)
        if self.kind == "asgi":
            return "ASGI server listening", self.workers
        return "Booting worker", self.workers


LAUNCHES: Sequence[Launch] = (
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop"),
    Launch("uvicorn", "asyncio", 2),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio"),
    Launch("hypercorn", "uvloop"),
    Launch("hypercorn", "asyncio", 2),
    Launch("hypercorn", "uvloop", 2),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread"),
    Launch("gunicorn", "sync"),
)

# The whole table takes minutes: `make test` runs one or two of each kind, `make test-system` the others as well.
QUICK = {"uvicorn-asyncio-1", "uvicorn-uvloop-2", "hypercorn-uvloop-1", "hypercorn-asyncio-1", "gunicorn-asgi-2"}


def split(launches: Sequence[Launch], quick: Collection[str] = QUICK) -> list[Any]:
    """The same as parameters of a test, quick ones first, the rest marked for `make test-system`."""
    rest = [pytest.param(each, marks=pytest.mark.system) for each in launches if str(each) not in quick]
    return [each for each in launches if str(each) in quick] + rest
