"""How many clients resume their session, if they come back to a server with several workers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace

from returning import Crowd

from bench.figures import Samples
from bench.servers import CONTESTANTS, certified
from bench.tables import Column, Measurement, Pace, Table

_CLIENTS, _WORKERS = 200, 4
_VERSIONS = {"tls13": ssl.TLSVersion.TLSv1_3, "tls12": ssl.TLSVersion.TLSv1_2}


def _run(pace: Pace) -> Mapping[str, Samples]:
    found: dict[str, dict[str, list[float]]] = {}
    with certified() as setting:
        for contestant in pace.chosen(CONTESTANTS):
            if "asyncio" in contestant.name:
                continue
            with contestant.start(replace(setting, workers=_WORKERS)) as server:
                server.rest()
                for column, version in _VERSIONS.items():
                    crowd = Crowd(_CLIENTS, version)
                    crowd.visit(server.port)
                    found.setdefault(contestant.name, {})[column] = [crowd.visit(server.port).resumed]
    return {"tickets": found}


TICKETS = Measurement(
    "tickets",
    (
        Table(
            "tickets", "Sessions across workers",
            f"The share of {_CLIENTS} clients that resume, if they come back to a server with {_WORKERS} workers. The "
            "workers behind a proxy do not matter: it has the sessions itself.",
            {
                "tls13": Column(
                    "TLS 1.3, %", factor=100, compared=False, more=True, plot="Clients that resume with TLS 1.3, %"
                ),
                "tls12": Column("TLS 1.2, %", factor=100, compared=False),
            },
        ),
    ),
    _run,
)  # fmt: skip
