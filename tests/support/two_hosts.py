"""A program: two hosts with networks of their own serve one name, with one Redis and one CA. For `namespace.alone`.

python two_hosts.py DIRECTORY

Both have begun before the CA answers. It asks the host that has not ordered; then that one orders, and it asks the
other. It prints what was seen after each order, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from acme_servers import options, served, settings_for
from launch import Launch
from namespace import make_lan, on_lan
from patience import PATIENCE, until
from pebble import NAME, Pebble, pebble
from ports import free_port
from redis_server import redis
from servers import Server, asgi_tls, run, serve

CENTRE: Final = "10.0.0.1"
HOSTS: Final = ("10.0.0.2", "10.0.0.3")


def main(directory: Path) -> None:
    """Make the hosts, and let each order once."""
    make_lan(CENTRE)
    launch, port = Launch("uvicorn", "uvloop"), free_port()
    ready, count = launch.readiness()
    with ExitStack() as running:
        networks = {address: running.enter_context(on_lan(address)) for address in HOSTS}
        homes = {address: {"ASGI_TLS_HOME": str(directory / address)} for address in HOSTS}
        ca = running.enter_context(pebble(directory, host=CENTRE))
        running.enter_context(redis(directory, port, save="1 1", host=CENTRE))
        settings = settings_for(ca, Path("unused"), acme_storage=f"redis://{CENTRE}:{port}/0", acme_challenge="http-01")
        servers: dict[str, Server] = {}
        ca.pause()
        for address, network in networks.items():
            command = network.inside(launch.command(None, settings, host=address, port=ca.tls_port))
            servers[address] = running.enter_context(serve(command, ready=ready, count=count, env=homes[address]))
        until(lambda: _ordering(servers), servers[HOSTS[0]])
        (first,) = _ordering(servers)
        (second,) = set(HOSTS) - {first}
        _resolve(ca, second)
        ca.go_on()
        before = _await_another(ca, servers, 0)
        _resolve(ca, first)
        command = asgi_tls("acme", "issue", "--force", *options(settings))
        status, said = run(networks[second].inside(command), env=homes[second])
        assert status == 0, said
        _await_another(ca, servers, before)
        assert "Traceback" not in "".join(server.text for server in servers.values())


def _ordering(servers: Mapping[str, Server]) -> list[str]:
    return [address for address, server in servers.items() if "ordering from" in server.text]


def _resolve(ca: Pebble, address: str) -> None:
    """From now on the name is this host's alone."""
    ca.dns("clear-a", host=f"{NAME}.")
    ca.dns("add-a", host=f"{NAME}.", addresses=[address])


def _await_another(ca: Pebble, servers: Mapping[str, Server], before: int) -> int:
    """Until both serve what the CA has issued, and not the previous certificate. Its serial number."""

    def is_there(address: str) -> bool:
        certificate = served(ca.tls_port, address)
        return "Pebble" in certificate.issuer.rfc4514_string() and certificate.serial_number != before

    for address, server in servers.items():
        until(lambda address=address: is_there(address), server, patience=PATIENCE / 2)  # type: ignore[misc]
    serials = [served(ca.tls_port, address).serial_number for address in servers]
    seen = {"orders": ca.orders, "issued": [int(each, 16) for each in ca.issued], "served": serials}
    print(json.dumps(seen), flush=True)
    return serials[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
