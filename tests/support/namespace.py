"""A network of its own: fixed port numbers of documented commands meet nobody else's."""

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
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    holder = subprocess.Popen(
        ["unshare", *user, "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n"
        yield Network(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
