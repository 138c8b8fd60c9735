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


# What the proxy says about the client. Whatever a client says itself under these names is overwritten.
SET: Final = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
# And under these, which some frameworks read, it is removed. Forwarded is RFC 7239.
REMOVED: Final = ("Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Real-IP")

CHALLENGES: Final = "/.well-known/acme-challenge/"
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
            path = checked_path("upstream", text.removeprefix("unix:"))
            if len(path.encode()) > _LONGEST_SOCKET_PATH:
                raise ConfigurationError(
                    f"the upstream's path has more than {_LONGEST_SOCKET_PATH} bytes", fix="Choose a shorter one."
                )
            return cls(path=path)
        host, port = checked_authority("the upstream", text)
        return cls(host=host, port=port)

    @property
    def authority(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, where nobody between can read along."""
        return bool(self.path) or is_loopback(self.host)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One site: its names, all on one certificate, and one application. Everything in it is fit to be quoted.

    `certificate` and `key` are absolute paths on the proxy's machine; None is for a proxy that gets its own. `headers`
    go out over TLS where the application sends none of that name. `stapling` is whether the certificate names an OCSP
    responder, None where that is not known. `address` is where to listen, None for everywhere.

    Raises ConfigurationError.
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
            raise ConfigurationError("of certificate and key, one is missing", fix="Name both files.")
        for name in ("certificate", "key", "client_ca"):
            if (path := getattr(self, name)) is not None:
                checked_path(name, path)
        if self.client_auth not in ("required", "optional"):
            raise ConfigurationError(f"client_auth is {self.client_auth!r}", fix='Choose "required" or "optional".')
        if self.address is not None and parse_ip(self.address) is None:
            raise ConfigurationError(
                f"{self.address!r} is no address", fix="Give an IPv4 or IPv6 address to listen on."
            )
        checked_port("the http port", self.http_port)
        checked_port("the https port", self.https_port)
        if self.http_port == self.https_port:
            raise ConfigurationError(f"port {self.http_port} is for http and for https", fix="Choose two ports.")
        encoded({name.lower(): (value,) for name, value in self.headers.items()})

    def files(self, program: str) -> tuple[str, str]:
        """The paths of certificate and key, for a program that needs them. Raises ConfigurationError."""
        if self.certificate is None or self.key is None:
            raise ConfigurationError(f"{program} needs a certificate", fix="Name --certificate and --key.")
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


def checked_path(what: str, path: str) -> str:
    """An absolute path that can stand on one line. Raises ConfigurationError."""
    if not _VISIBLE.fullmatch(path) or not path.isprintable():
        raise ConfigurationError(f"the path of {what} is {path!r}", fix="A path has no control characters.")
    if not PurePosixPath(path).is_absolute():
        raise ConfigurationError(f"the path of {what}, {path!r}, is relative", fix="Give the whole path.")
    return path


def refuse_characters(program: str, characters: str, *values: str | None) -> None:
    """Raise ConfigurationError where a value has a character that the program's files cannot quote."""
    for value in values:
        found = [each for each in characters if each in (value or "")]
        if found:
            raise ConfigurationError(
                f"{value!r} has {' and '.join(found)}, which {program} reads as its own", fix="Rename the file."
            )


def _host(text: str) -> str:
    host = checked_name(text)
    if parse_ip(host) is not None:
        raise ConfigurationError(
            f"{text} is an address",
            fix="Clients send no server name for an address (RFC 6066 section 3), and who sends none is refused: "
            "name a host.",
        )
    return host
