"""Host names and addresses as certificates carry them (RFC 9525).

A canonical name is an IP address in its shortest spelling, or a DNS name in lower-case A-labels (`xn--…`) without the
final dot, whose left-most label may be `*`.
"""

from __future__ import annotations

import ipaddress
import re

from asgi_tls.errors import ConfigurationError

# RFC 1035 section 2.3.4 gives the lengths. The underscore is no host name character (RFC 952), yet private networks
# and Docker Compose use it, and every TLS client matches it.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_MAX_NAME = 253

# IDNA 2003 (Python's codec) and IDNA 2008 (browsers) turn these into different names, so guessing is wrong for one.
_DEVIATIONS = frozenset("ßς\u200c\u200d")


def parse_ip(name: str) -> str | None:
    """The shortest spelling of an IP address, or None when `name` is none. An address with a zone (`%eth0`) is none."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return None if "%" in name else str(address)


def canonical_name(name: str) -> str:
    """`name` in canonical form. Raises ConfigurationError for what no certificate can carry."""
    address = parse_ip(name)
    if address is not None:
        return address
    if "/" in name or "@" in name or (":" in name and "::" not in name):
        raise _invalid(name, "is no host name", "Give the name alone, without scheme, port or path.")
    wildcard = name.startswith("*.")
    host = _to_ascii(name[2:] if wildcard else name).removesuffix(".")
    labels = host.split(".")
    if len(host) + 2 * wildcard > _MAX_NAME or not all(_LABEL.match(label) for label in labels):
        raise _invalid(name, "is no host name", "Use letters, digits, hyphens and dots, or `*.` before such a name.")
    if labels[-1].isdigit():
        raise _invalid(name, "looks like an IP address and is none", "Check its numbers.")
    if wildcard and len(labels) < 2:
        raise _invalid(name, "is a wildcard that no client matches", f"Use `*.app.{host}`, or name each host.")
    return f"*.{host}" if wildcard else host


def matches(pattern: str, name: str) -> bool:
    """RFC 9525 section 6.3: equal, or `*` as the whole left-most label of `pattern` stands for exactly one label.

    Both are canonical DNS names. A `name` that is a wildcard itself matches only the same pattern.
    """
    if pattern == name:
        return True
    label, _, parent = name.partition(".")
    return pattern.startswith("*.") and bool(label) and label != "*" and parent == pattern[2:]


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    if _DEVIATIONS.intersection(host):
        raise _invalid(host, "has letters that old and new rules encode differently", "Write it as xn--….")
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _invalid(host, "cannot be written in A-labels", "Check its letters, or write it as xn--….") from None


def _invalid(name: str, problem: str, fix: str) -> ConfigurationError:
    return ConfigurationError(f"{name!r} {problem}", fix=fix)
