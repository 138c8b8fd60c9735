"""What is audited: the name that a client would use, and the address to connect to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import bracketed, checked_authority, checked_host, checked_port, is_loopback, parse_ip

_HTTPS: Final = 443
_HTTP: Final = 80
_FORM: Final = "Write https://host, https://host:8443 or https://[::1]:8443/path."
_PATH: Final = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, kw_only=True)
class Target:
    """`host` is a canonical name or address, `port` that of HTTPS, `path` the path to request.

    `connect` is another host and port to connect to, or None. `http_port` is the port for plain HTTP, `timeout` the
    seconds that each step of a probe may take.
    """

    host: str
    port: int = _HTTPS
    path: str = "/"
    connect: tuple[str, int] | None = None
    http_port: int = 80
    timeout: float = 5.0

    def __str__(self) -> str:
        return f"https://{self.authority}{'' if self.path == '/' else self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by name or address."""
        return is_loopback(self.host)

    @property
    def needs_hsts(self) -> bool:
        """False for addresses, where browsers ignore it, and for loopback names, which all projects share."""
        return parse_ip(self.host) is None and not self.is_loopback

    @property
    def authority(self) -> str:
        """As it stands in a URL: `localhost:8443`, `[::1]`."""
        return self._authority(self.port, _HTTPS)

    @property
    def plain_authority(self) -> str:
        """The same for plain HTTP."""
        return self._authority(self.http_port, _HTTP)

    @property
    def plain_url(self) -> str:
        return f"http://{self.plain_authority}{self.path}"

    def _authority(self, port: int, usual: int) -> str:
        return bracketed(self.host) if port == usual else f"{bracketed(self.host)}:{port}"


def parse_target(url: str, *, connect: str | None = None, http_port: int = 80, timeout: float = 5.0) -> Target:
    """Read `https://host[:port][/path]`, or the same without scheme. Raises ConfigurationError."""
    parts, port = _split(url)
    if parts.scheme != "https":
        raise ConfigurationError(f"{url!r} is not an https URL", fix=_FORM)
    if not parts.hostname or parts.username is not None:
        raise ConfigurationError(f"{url!r} has no valid host", fix=_FORM)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PATH.fullmatch(path):
        raise ConfigurationError(
            f"{url!r} has characters that are not valid in a path", fix="Percent-encode them: %20 for a space."
        )
    return Target(
        host=checked_host(parts.hostname),
        port=_HTTPS if port is None else port,
        path=path,
        connect=None if connect is None else checked_authority("--connect", connect),
        http_port=http_port,
        timeout=timeout,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{url!r} is not a valid URL", fix=_FORM) from None
    return parts, None if port is None else checked_port(f"the port of {url!r}", port)
