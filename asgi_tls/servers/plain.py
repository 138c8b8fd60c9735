"""The plain port beside the TLS port: redirects to https, and ACME challenges, by the same process.

The socket is bound by the process that is started, and inherited by its workers.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgi_tls.certificate.names import parse_ip
from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import redirect_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from asgi_tls.server import ServerTLS


@dataclass(frozen=True)
class PlainListener:
    """A bound socket, and where it leads. Picklable while a worker process is being spawned, as sockets are."""

    socket: socket.socket
    https_port: int
    webroot: str | None

    @classmethod
    def bind(cls, host: str, port: int, *, https_port: int, webroot: str | None) -> PlainListener:
        """Take the port, or raise ConfigurationError."""
        if https_port == 0:
            raise ConfigurationError(
                "the plain port has to know the TLS port to lead to it", fix="Give the TLS port a fixed number."
            )
        if webroot is not None and not os.path.isdir(webroot):  # noqa: PTH112 -- a path as the user wrote it
            raise ConfigurationError(f"the webroot {webroot} is no directory", fix="Make it, or name another.")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise ConfigurationError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                fix="Choose another port, or stop what uses it; ports below 1024 need CAP_NET_BIND_SERVICE.",
            ) from None
        sock.set_inheritable(True)
        return cls(sock, https_port, webroot)

    def app(self, tls: ServerTLS) -> ASGIApp:
        """Leads to the hosts that the served certificates name, and refuses others."""
        names = {name for group in tls.load().values() for one in group for name in one.subject_alt_names}
        hosts = sorted(f"[{name}]" if parse_ip(name) is not None and ":" in name else name for name in names)
        return redirect_app(hosts=hosts, https_port=self.https_port, webroot=self.webroot)
