"""Whether automatic HTTPS can work on this host, as far as the host itself can tell."""

from __future__ import annotations

import errno
import os
import socket
from importlib import metadata
from pathlib import Path
from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.storage import default_directory
from asgi_tls.servers.given import read

_PORTS: Final = (80, 443)
_CONTAINER: Final = ("/.dockerenv", "/run/.containerenv")
_PASSING: Final = {"tmpfs": "is in memory, and lost at the next start of the host", "ramfs": "is in memory"}


def findings() -> dict[str, str]:
    """What is looked at, and what was found, in words."""
    found = {"acme": _package()}
    found |= {f"port {port}": _port(port) for port in _PORTS}
    return found | {"acme storage": _storage()}


def _package() -> str:
    try:
        return metadata.version("acme")
    except metadata.PackageNotFoundError:
        return "not installed: pip install 'asgi-tls[acme]'"


def _port(port: int) -> str:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))  # noqa: S104 -- as a public server; it does not listen
        except PermissionError:
            return "this user may not listen on it (CAP_NET_BIND_SERVICE, or AmbientCapabilities= in a unit)"
        except OSError as error:
            return "another program listens on it" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return "free"


def _storage() -> str:
    """Where the settings of the environment and of a file put it, as for a server that is started here."""
    try:
        given = str(read().values.get("acme_storage", ""))
        if "://" in given:
            return "a Redis"  # the URL has its password
        path = Path(given).absolute() if given else default_directory()
    except ConfigurationError as error:
        return str(error)
    there = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110 -- False where it cannot be seen
    if not os.access(there, os.W_OK):
        return f"{path} cannot be written by this user (set --tls-acme-storage, or chown it)"
    kind = _file_system(there.resolve())
    if kind in _PASSING:
        return f"{path} {_PASSING[kind]} (set --tls-acme-storage)"
    if kind == "overlay" and any(map(os.path.exists, _CONTAINER)):
        return f"{path} is lost with this container (mount a volume, and set --tls-acme-storage)"
    return str(path)


def _file_system(path: Path) -> str:
    """The type of the file system, empty where the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = ("", "")
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(found[0]):
            found = point, after.split()[0]
    return found[1]
