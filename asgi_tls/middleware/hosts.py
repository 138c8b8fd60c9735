"""The hosts that a redirect may lead to, and the one parser for everything that claims to be a host.

The grammar is RFC 3986 section 3.2.2 cut down to what RFC 9110 section 7.2 lets a client send for http: a DNS name, an
IPv4 address or a bracketed IPv6 address, and a port. Userinfo, percent-encoding, zone identifiers (RFC 9844: for local
user interfaces only) and raw non-ASCII are refused, never repaired.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{0,5}))?")
# RFC 1123 section 2.1 with the underscore that RFC 3986 allows and that container networks use.
_LABEL = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?")
# RFC 1035 section 2.3.4, without the dot of the root.
_LONGEST_NAME = 253
# Browsers read a name whose last label is a number as an IPv4 address (URL Standard, "ends in a number checker").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Authority:
    """A host in its one normal form (lower case, no trailing dot, shortest IPv6), and the port, when there was one."""

    host: str
    port: int | None


def parse_authority(value: bytes) -> Authority | None:
    """Read `host[:port]` as it stands in a Host field; None when it is anything else."""
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        return None
    host = normal_host(match[1].decode("ascii"))
    digits = match[2]
    # RFC 3986 section 3.2.3: a colon with nothing behind it means the default port.
    port = int(digits) if digits else None
    if host is None or (port is not None and not 0 < port <= _LAST_PORT):
        return None
    return Authority(host, port)


def normal_host(host: str) -> str | None:
    """The normal form of an ASCII name, an IPv4 address or a bracketed IPv6 address; None when it is none of them."""
    if host.startswith("["):
        return _normal_ipv6(host)
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        return None
    if _NUMBER.fullmatch(labels[-1]):
        return name if _is_ipv4(name) and not host.endswith(".") else None
    return name


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _normal_ipv6(host: str) -> str | None:
    inside = host[1:-1]
    # ipaddress accepts a zone identifier; a URL does not.
    if not host.endswith("]") or "%" in inside:
        return None
    try:
        return f"[{ipaddress.IPv6Address(inside).compressed}]"
    except ValueError:
        return None


class AllowedHosts:
    """A list of hosts: exact names and addresses, `*.example.com` for everything below a name, `*` for any host.

    `*.example.com` matches at any depth and does not match example.com itself. Names in Unicode are turned into their
    IDNA 2008 form. Raises ConfigurationError for an empty list and for anything that is not a host.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        if isinstance(hosts, str | bytes):
            raise ConfigurationError(f"hosts is the string {hosts!r}", fix=f"Write hosts=[{hosts!r}].")
        patterns = list(hosts)
        if not patterns:
            raise ConfigurationError(
                "hosts is empty, so that every redirect would be refused",
                fix='Name the hosts that this application answers for, as in hosts=["example.com", "*.example.com"].',
            )
        self.any = "*" in patterns
        self.exact = frozenset(configured_host(each) for each in patterns if not each.startswith("*"))
        self._suffixes = tuple(_suffix(each) for each in patterns if each.startswith("*") and each != "*")

    def allows(self, host: str) -> bool:
        """Whether a host in its normal form is on the list."""
        return host in self.exact or self.any or (host.endswith(self._suffixes) and not host.startswith("["))


def _suffix(pattern: str) -> str:
    name = configured_host(pattern[2:]) if pattern.startswith("*.") else ""
    if not name or name.startswith("[") or _is_ipv4(name):
        raise ConfigurationError(
            f"{pattern!r} is not a host pattern",
            fix="A wildcard stands for whole labels at the left of a name, as in '*.example.com'.",
        )
    return "." + name


def configured_host(host: str) -> str:
    """The normal form of a host in the settings, where Unicode and an IPv6 address without brackets are welcome."""
    ascii_host = host if host.isascii() else _idna(host)
    if ":" in ascii_host and not ascii_host.startswith("["):
        ascii_host = f"[{ascii_host}]"
    normal = normal_host(ascii_host)
    if normal is None:
        raise ConfigurationError(
            f"{host!r} is not a host name or an address",
            fix="Give the bare host: no scheme, no path, and no port (ports go into https_port or port_map).",
        )
    return normal


def _idna(name: str) -> str:
    # The standard library's codec is IDNA 2003, which sends straße.de elsewhere than browsers do.
    try:
        import idna
    except ImportError as error:  # pragma: no cover - starlette brings it through anyio
        raise ConfigurationError(
            f"{name!r} is not ASCII, and the package 'idna' is not installed",
            fix="Write the name in its xn-- form, or install 'idna'.",
        ) from error
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ConfigurationError(f"{name!r} is not a host name: {error}", fix="Write its xn-- form.") from error
