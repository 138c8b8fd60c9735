"""Hosts and ports: one grammar for what peers send and for what settings name.

The grammar is RFC 3986 section 3.2.2 cut down to what RFC 9110 section 7.2 lets a client send for http: a DNS name, an
IPv4 address or an IPv6 address in brackets, and a port. From peers, everything else is refused and never repaired:
userinfo, percent-encoding, zone identifiers (RFC 9844: for local user interfaces only), raw non-ASCII. Settings may
also have IPv6 without brackets, and Unicode, which becomes A-labels as in browsers (IDNA 2008, mapped by UTS 46).

The canonical form of a host is an IP address in its shortest spelling, without brackets, or a DNS name in lower-case
A-labels (`xn--…`) without the final dot: `example.com.` and `example.com` are one host (RFC 6066 section 3 has SNI
without the dot, RFC 9110 section 4.2.3 leaves Host to the URI, where both are written).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from asgi_tls.errors import ConfigurationError

_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]*))?")
# RFC 1123 section 2.1, and the underscore, which private networks and Docker Compose use and every client takes.
_LABEL: Final = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?")
# RFC 1035 section 2.3.4, without the dot of the root.
_LONGEST_NAME: Final = 253
# Browsers read a name whose last label is a number as an IPv4 address (URL Standard, "ends in a number checker").
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# RFC 3986 section 3.2.3 sets no limit to zeros in front.
_PORT: Final = re.compile(r"0*([1-9][0-9]{0,4})")
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Authority:
    """A canonical host, and the port where one was given."""

    host: str
    port: int | None


def parse_authority(value: bytes) -> Authority | None:
    """Read `host[:port]` as it stands in a Host field; None for anything else."""
    found = _AUTHORITY.fullmatch(value)
    host = None if found is None else _parse(found[1].decode("ascii"))
    if found is None or host is None:
        return None
    # RFC 3986 section 3.2.3: a colon with nothing behind it means the default port.
    port = _port(found[2].decode("ascii")) if found[2] else None
    return None if found[2] and port is None else Authority(host, port)


def parse_ip(text: str) -> str | None:
    """The shortest spelling of an IP address; None for anything else, an address with a zone (`%eth0`) included."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else str(address)


def checked_host(text: str) -> str:
    """A host from the settings in canonical form. Raises ConfigurationError."""
    host = _parse(text if text.isascii() else _to_ascii(text))
    if host is None:
        alone = "Give the host alone (letters, digits, hyphens and dots), without scheme, port or path."
        each = "Give each host in an argument or option of its own; in a variable put a space between hosts."
        raise ConfigurationError(
            f"{text!r} is not a valid host name or IP address", fix=each if set(", ;") & set(text.strip()) else alone
        )
    return host


def checked_name(text: str) -> str:
    """What a server certificate can be for: a canonical host, or `*.` before a DNS name of two labels or more.

    Raises ConfigurationError.
    """
    if not text.startswith("*."):
        return checked_host(text)
    parent = checked_host(text[2:])
    if "." not in parent or parse_ip(parent) is not None:
        raise ConfigurationError(
            f"{text!r} is a wildcard that no client matches", fix=f"Use '*.app.{parent}', or name each host."
        )
    return f"*.{parent}"


def names_for(dns_names: Iterable[str], addresses: Iterable[str]) -> frozenset[str]:
    """What clients match of a certificate's subjectAltName (RFC 9525 section 6.3), in canonical form.

    A DNS name that is no host name, or is written like an address, matches nothing; nor does `*` or `*.com`.
    """
    found = set(addresses)
    for name in dns_names:
        with contextlib.suppress(ConfigurationError):
            host = checked_name(name)
            if parse_ip(host) is None:
                found.add(host)
    return frozenset(found)


def covers(names: Collection[str], host: str) -> bool:
    """Whether a certificate for `names` is valid for `host` (RFC 9525 section 6.3): both are canonical.

    `*` stands for exactly one label. A host that is a wildcard itself matches only the same one.
    """
    return host in names or "*." + host.partition(".")[2] in names


def is_loopback(host: str) -> bool:
    """Whether a canonical host is this machine: localhost, all below it (RFC 6761 section 6.3), 127.0.0.0/8, ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return parse_ip(host) is not None and ipaddress.ip_address(host).is_loopback


def bracketed(host: str) -> str:
    """A canonical host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def checked_port(what: str, port: int | str) -> int:
    """A port as a number, or as an option's text. Raises ConfigurationError that begins with `what`."""
    number = _port(str(port))
    if number is None:
        raise ConfigurationError(f"{what} is {port!r}", fix="Ports are numbers from 1 to 65535.")
    return number


def checked_authority(what: str, text: str) -> tuple[str, int]:
    """Read `HOST:PORT` of a setting, IPv6 in brackets. Raises ConfigurationError."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise ConfigurationError(f"{what} is {text!r}", fix="Give HOST:PORT, as in 127.0.0.1:8000 or [::1]:8000.")
    return checked_host(host), checked_port(f"the port of {what}", port)


def _parse(text: str) -> str | None:
    """The canonical form of an ASCII host."""
    if text.startswith("["):
        return parse_ip(text[1:-1]) if text.endswith("]") and ":" in text else None
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if ":" in text or _NUMBER.fullmatch(labels[-1]):
        return parse_ip(text)
    return name if len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels)) else None


def _port(digits: str) -> int | None:
    found = _PORT.fullmatch(digits)
    return int(found[1]) if found is not None and int(found[1]) <= _LAST_PORT else None


def _to_ascii(name: str) -> str:
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ConfigurationError(f"{name!r} is not a valid host name: {error}", fix="Write its xn-- form.") from None
