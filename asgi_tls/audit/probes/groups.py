"""Groups of the key exchange: which ones a server accepts, and in whose order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asgi_tls.handshake.flight import Flight, Preference, eliminate
from asgi_tls.handshake.groups import GROUP_NAMES, OLD, OTHERS, OWN
from asgi_tls.profile import GROUPS

TLS13_GROUPS: Final = (*OWN, *OTHERS)
OLD_GROUPS: Final = tuple(OLD)
# Post-quantum groups, and the Brainpool curves with numbers of their own there (RFC 8734), are for TLS 1.3 only.
_TLS13_ONLY: Final = re.compile(r"MLKEM|Kyber|tls13$")
TLS12_GROUPS: Final = tuple(number for number, name in GROUP_NAMES.items() if not _TLS13_ONLY.search(name))
"""Of TLS 1.2 and earlier."""
CURRENT_GROUPS: Final = tuple(GROUPS[name][1] for name in ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"))
"""What a client of today lists, in a TLS 1.2 hello too."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Names in the order in which the server chose them, and whose order decides; None for a single group."""

    names: tuple[str, ...] = ()
    preference: Preference | None = None


def find_groups(offered: Sequence[int], ask: Callable[[Sequence[int]], Flight]) -> Groups:
    """By elimination, like suites. `ask` offers groups and returns the flight that the server answered with."""

    def chosen(groups: Sequence[int]) -> int | None:
        flight = ask(groups)
        if flight.hello is None:
            return None
        return flight.curve if flight.curve is not None else flight.hello.group

    found, preference = eliminate(offered, chosen)
    return Groups(names=tuple(GROUP_NAMES[number] for number in found), preference=preference)
