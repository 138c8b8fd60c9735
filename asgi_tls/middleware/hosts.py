"""The hosts that a redirect may lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import checked_host, covers, parse_ip
from asgi_tls.middleware.checks import checked_strings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class AllowedHosts:
    """A list of hosts: exact names and addresses, `*.example.com` for everything below a name, `*` for any host.

    `*.example.com` matches at any depth and does not match example.com itself. Raises ConfigurationError for an empty
    list and for anything that is not a host.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        patterns = checked_strings("hosts", hosts, "example.com")
        if not patterns:
            raise ConfigurationError(
                "hosts is empty, so that every redirect would be refused",
                fix='Name the hosts that this application answers for, as in hosts=["example.com", "*.example.com"].',
            )
        self.any = "*" in patterns
        self.exact = frozenset(checked_host(each) for each in patterns if not each.startswith("*"))
        self._suffixes = tuple(_suffix(each) for each in patterns if each.startswith("*") and each != "*")

    def allows(self, host: str) -> bool:
        """Whether a canonical host is on the list."""
        # No address ends in a suffix: the last label of a name is not a number.
        return host in self.exact or self.any or host.endswith(self._suffixes)


class CertificateHosts(AllowedHosts):
    """The names of certificates (`Certificate.hosts`), where `*` stands for exactly one label (RFC 9525)."""

    def __init__(self, names: Collection[str]) -> None:
        self.exact = frozenset(names)

    def allows(self, host: str) -> bool:
        """Whether one of them is valid for a canonical host."""
        return covers(self.exact, host)


def _suffix(pattern: str) -> str:
    name = checked_host(pattern[2:]) if pattern.startswith("*.") else ""
    if not name or parse_ip(name) is not None:
        raise ConfigurationError(
            f"{pattern!r} is not a host pattern",
            fix="A wildcard stands for whole labels at the left of a name, as in '*.example.com'.",
        )
    return "." + name
