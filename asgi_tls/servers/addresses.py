"""The addresses that a server will listen on, and sockets that are bound to addresses."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import checked_port, parse_ip

ALL_OF_IPV4: Final = "0.0.0.0"  # noqa: S104 -- what servers bind where no host is named
_DEFAULT_PORT: Final = 8000  # hypercorn's, where a bind names none
_MISSING: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_FIXES: Final = {
    errno.EACCES: "Ports below 1024 need CAP_NET_BIND_SERVICE: set AmbientCapabilities=CAP_NET_BIND_SERVICE in a "
    "systemd unit, add it to a container's capabilities, or choose a port from 1024.",
    errno.EADDRINUSE: "Stop the program that uses it, or choose another port.",
    errno.EADDRNOTAVAIL: "Choose an address that this machine has.",
}


class Address(NamedTuple):
    """A host as the user wrote it, "" for all of both families, a TCP port, and whether a socket is bound to it.

    `v6only` is whether `::` leaves out IPv4; None where the server leaves that to the system.
    """

    host: str
    port: int
    is_bound: bool = False
    v6only: bool | None = None

    @property
    def has_ipv4(self) -> bool:
        """Whether this is `::`, and takes connections over IPv4 as well."""
        if parse_ip(self.host) != "::":
            return False
        if self.v6only is not None:
            return not self.v6only
        try:
            with socket.socket(socket.AF_INET6) as sock:
                return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        except OSError:  # no IPv6 here: whoever binds it says so
            return False

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host or '*'}:{self.port}"


def of_uvicorn(parameters: dict[str, Any], *, by_loop: bool) -> list[Address]:
    """Where uvicorn will listen, by the parameters of its command. None for a Unix socket.

    `by_loop` is whether it leaves binding to its event loop, which leaves out IPv4 at `::`, and takes both at "".

    Raises ConfigurationError, as those below.
    """
    if parameters["fd"] is not None:
        return _of_descriptor(parameters["fd"])
    if parameters["uds"] is not None:
        return []
    address = _checked("--port", parameters["host"], parameters["port"])
    return [address._replace(host=parameters["host"], v6only=True) if by_loop else address]


def of_hypercorn(binds: Iterable[str], option: str = "--bind") -> list[Address]:
    """The same for the values of an option of hypercorn's."""
    found: list[Address] = []
    for bind in binds:
        if bind.startswith("fd://"):
            number = bind.removeprefix("fd://")
            if not number.isdecimal():
                raise ConfigurationError(
                    f"{option} is {bind!r}", fix="Write fd:// and the number of a descriptor, as in fd://3."
                )
            found += _of_descriptor(int(number))
        elif not bind.startswith("unix:"):
            host, colon, port = bind.replace("[", "").replace("]", "").rpartition(":")
            named = (host, int(port)) if colon and port.isdecimal() else (bind, _DEFAULT_PORT)
            found.append(_checked(f"the port of {option}", *named))
    return found


def of_gunicorn(addresses: Iterable[Any]) -> list[Address]:
    """The same for gunicorn's, which are pairs, paths of Unix sockets and descriptors."""
    found: list[Address] = []
    for address in addresses:
        if isinstance(address, int):
            found += _of_descriptor(address)
        elif isinstance(address, tuple):
            found.append(_checked("the port of --bind", *address))
    return found


def _checked(what: str, host: str, port: int) -> Address:
    """libuv and the system's resolver would drop the upper bits of a port, and take another one."""
    return Address(host or ALL_OF_IPV4, checked_port(what, port) if port else 0)


def _of_descriptor(number: int) -> list[Address]:
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            name = sock.getsockname() if sock.family in {socket.AF_INET, socket.AF_INET6} else ()
            v6only = None
            if sock.family == socket.AF_INET6:
                v6only = bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError as error:
        raise ConfigurationError(
            f"file descriptor {number} is not a socket: {error.strerror}", fix="Pass on a socket that is bound."
        ) from None
    return [Address(name[0], name[1], is_bound=True, v6only=v6only)] if name else []


def bound(address: Address) -> list[socket.socket]:
    """Sockets for the addresses of the host that this machine has. Raises ConfigurationError, caused by the OSError."""
    missing: OSError | None = None
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(
                address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # IPv4 has a socket of its own.
            v6only = True if socket.AF_INET in {family for family, *_ in found} else address.v6only
            sockets = []
            for family, *_, name in dict.fromkeys(found):
                try:
                    sockets.append(stack.enter_context(_bound(family, name, v6only)))
                except OSError as error:  # localhost is ::1 as well, often without IPv6
                    if error.errno not in _MISSING:
                        raise
                    missing = error
            if missing is not None and not sockets:
                raise missing
        except UnicodeError as error:  # of the resolver, for an empty label
            raise ConfigurationError(
                f"cannot listen on {address}: it is not a host name", fix="Choose another address."
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address}: {error.strerror}",
                fix=_FIXES.get(error.errno or 0, "Choose another address or port."),
            ) from error
        stack.pop_all()
    return sockets


def _bound(family: int, name: Sequence[Any], v6only: bool | None) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.bind(tuple(name))
    except OSError:
        sock.close()
        raise
    return sock


def check_free(addresses: Iterable[Address], *, but_for: int | None = None) -> None:
    """Raise ConfigurationError where the server could not bind one of these, `but_for` one error number."""
    for address in addresses:
        try:
            for sock in [] if address.is_bound else bound(address):
                sock.close()
        except ConfigurationError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != but_for:
                raise
