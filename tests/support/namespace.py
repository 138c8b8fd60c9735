"""A network of its own: fixed port numbers of documented commands meet nobody else's. And a LAN of such networks.

A program that runs as `alone` says, so that nothing of it outlives the test:

    make_lan("10.0.0.1")
    with on_lan("10.0.0.2") as one, on_lan("10.0.0.3") as two:
        subprocess.run(one.inside(["curl", "http://10.0.0.3"]))
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A network that has loopback and nothing else."""

    pid: int

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command line that runs this one in there."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), "--net", *user, "--", *command]


@contextlib.contextmanager
def private_network() -> Iterator[Network]:
    """Make one, until the block is left; needs root, or user namespaces."""
    holder = subprocess.Popen(
        ["unshare", *_user(), "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n"
        yield Network(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def alone(command: Sequence[str]) -> list[str]:
    """The command line that runs this one in a network of its own, which ends with it, and so do all its processes."""
    return ["unshare", *_user(), "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *command]


def make_lan(address: str) -> None:
    """Give this network a bridge, on which it has this address."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "name", "lan", "type", "bridge")
    _ip("address", "add", f"{address}/24", "dev", "lan")
    _ip("link", "set", "lan", "up")


@contextlib.contextmanager
def on_lan(address: str) -> Iterator[Network]:
    """Another host on the bridge of this network, until the block is left."""
    with private_network() as network:
        port = f"to-{network.pid}"
        _ip("link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns", str(network.pid))
        _ip("link", "set", port, "master", "lan", "up")
        _ip("address", "add", f"{address}/24", "dev", "eth0", inside=network)
        _ip("link", "set", "eth0", "up", inside=network)
        yield network


def _ip(*arguments: str, inside: Network | None = None) -> None:
    command = ["ip", *arguments]
    subprocess.run(command if inside is None else inside.inside(command), check=True, env=_environment())


def _user() -> list[str]:
    return [] if os.geteuid() == 0 else ["--map-root-user"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
