"""What every export needs to know of a site, checked once: names, files, ports, the application behind it, headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import bracketed, checked_authority, checked_name, checked_port, is_loopback, parse_ip
from asgi_tls.middleware.fields import HSTS_NAME, encoded

ClientAuth = Literal["required", "optional"]

# Some frameworks read these: what a client sends under such a name is removed. Forwarded is RFC 7239. The proxy sets
# X-Forwarded-For, -Proto and -Host itself.
REMOVED: Final = ("Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Real-IP")

FORWARDED_COMMENT: Final = "# Only this proxy sets these: what the client sent under these names is not passed on."
CHALLENGES_COMMENT: Final = "# For an ACME client that writes to the directory that TLSMiddleware's webroot names."
# As long as the keys of ServerTLS's tickets live, in seconds.
SESSION_SECONDS: Final = 12 * 3600

# sockaddr_un on Linux holds 108 bytes, the last of them zero.
_LONGEST_SOCKET_PATH: Final = 107
_VISIBLE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Upstream:
    """Where the application listens: a host and a port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Read `127.0.0.1:8000`, `[::1]:8000`, `app.internal:8000` or `unix:/run/app.sock`.

        Raises ConfigurationError.
        """
        if text.startswith("unix:"):
            path = _path("--upstream", text.removeprefix("unix:"))
            if len(path.encode()) > _LONGEST_SOCKET_PATH:
                raise ConfigurationError(
                    f"--upstream: the path of a Unix socket has at most {_LONGEST_SOCKET_PATH} bytes",
                    fix="Choose a shorter path.",
                )
            return cls(path=path)
        host, port = checked_authority("--upstream", text)
        return cls(host=host, port=port)

    @property
    def authority(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, so that plain HTTP to it crosses no network."""
        return bool(self.path) or is_loopback(self.host)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One site: its names, all on one certificate, and one application. All values are fit to be quoted.

    `certificate` and `key` are absolute paths on the proxy's machine; None is for a proxy that obtains its own.
    `headers` are added over TLS where the application sends none of that name. `stapling` is whether the certificate
    names an OCSP responder, None where that is not known. `address` is where to listen, None for all addresses.

    Raises ConfigurationError, in the words of the options of `asgi-tls export`.
    """

    hosts: tuple[str, ...]
    upstream: Upstream
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    client_auth: ClientAuth = "required"
    stapling: bool | None = None
    address: str | None = None
    http_port: int = 80
    https_port: int = 443
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ConfigurationError("no host is named", fix="Name the site's hosts: --host example.com.")
        object.__setattr__(self, "hosts", tuple(dict.fromkeys(_host(each) for each in self.hosts)))
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError("--certificate and --key belong together", fix="Name both files.")
        for option, path in self.paths.items():
            _path(option, path)
        if self.client_auth not in ("required", "optional"):
            raise ConfigurationError(
                f"--client-auth {self.client_auth!r} is not valid", fix="Choose required or optional."
            )
        if self.address is not None and parse_ip(self.address) is None:
            raise ConfigurationError(
                f"--address {self.address!r} is not an IP address", fix="Give an IPv4 or IPv6 address to listen on."
            )
        checked_port("--http-port", self.http_port)
        checked_port("--https-port", self.https_port)
        if self.http_port == self.https_port:
            raise ConfigurationError(
                f"--http-port and --https-port are both {self.http_port}", fix="Choose two different ports."
            )
        encoded({name.lower(): (value,) for name, value in self.headers.items()})

    @property
    def paths(self) -> dict[str, str]:
        """The paths that an export contains, by the option that gives them."""
        found = {
            "--certificate": self.certificate,
            "--key": self.key,
            "--client-ca": self.client_ca,
            "--upstream": self.upstream.path or None,
        }
        return {option: path for option, path in found.items() if path is not None}

    def files(self, program: str) -> tuple[str, str]:
        """The paths of certificate and key, for a program that needs them. Raises ConfigurationError."""
        if self.certificate is None or self.key is None:
            raise ConfigurationError(f"{program} needs a certificate", fix="Give --certificate and --key.")
        return self.certificate, self.key

    @property
    def hsts(self) -> str | None:
        """The value of Strict-Transport-Security, None without one."""
        return self.headers.get(HSTS_NAME)

    @property
    def other_headers(self) -> list[tuple[str, str]]:
        """The headers but HSTS, spelt as in the standards."""
        return [(name.title(), value) for name, value in self.headers.items() if name != HSTS_NAME]

    @property
    def port_suffix(self) -> str:
        """What stands behind the host in a URL: nothing for 443."""
        return "" if self.https_port == 443 else f":{self.https_port}"

    @property
    def bracketed_address(self) -> str | None:
        """The address, IPv6 in brackets."""
        return self.address and bracketed(self.address)


def _path(option: str, path: str) -> str:
    if not _VISIBLE.fullmatch(path) or not path.isprintable():
        raise ConfigurationError(f"{option} {path!r} is not a valid path", fix="Remove the control characters.")
    if not PurePosixPath(path).is_absolute():
        raise ConfigurationError(f"{option} {path!r} is a relative path", fix="Give the absolute path.")
    return path


def _host(text: str) -> str:
    host = checked_name(text)
    if parse_ip(host) is not None:
        raise ConfigurationError(
            f"--host {text} is an IP address",
            fix="Give a host name: clients send no server name for an address (RFC 6066 section 3), and the export "
            "refuses connections without one.",
        )
    return host
