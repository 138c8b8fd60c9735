"""Which certificates answer for which host name.

Names that are set with their sources come first. Each pair in a directory answers for the names in its certificate.
Clients send no IP address as a name (RFC 6066 section 3), so a pair for an address answers clients that connect to it
and send no name. Where several certificates are for one name, the one that is valid longest answers, for each key type;
self-signed ones only if there are no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.by_name import DEFAULT

Key: TypeAlias = int | str
"""A source that was given, by its identity, or a pair in the directory, by its certificate's file."""


@dataclass(frozen=True)
class Names:
    """`given` has the keys of the sources for each name that was given.

    An update works on what changes, not on the thousands that there may be.
    """

    given: Mapping[str, tuple[Key, ...]]
    certificates: Mapping[Key, Certificate] = field(default_factory=dict)
    groups: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    _holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the directory

    def updated(self, changes: Mapping[Key, Certificate | None]) -> Names:
        """With these certificates in the place of those that their keys had; None takes one away."""
        certificates, groups, holders = dict(self.certificates), dict(self.groups), dict(self._holders)
        touched = {name: None for name, keys in self.given.items() if not changes.keys().isdisjoint(keys)}
        for key, certificate in changes.items():
            before = self.certificates.get(key)
            if certificate is None:
                certificates.pop(key, None)
            else:
                certificates[key] = certificate
            if isinstance(key, str):
                old, new = self._names_of(key, before), self._names_of(key, certificate)
                for name in old.keys() - new.keys():
                    holders[name] = tuple(one for one in holders[name] if one != key)
                for name in new.keys() - old.keys():
                    holders[name] = (*holders.get(name, ()), key)
                touched |= old | new
        for name in touched:
            keys = self.given.get(name) or _best(sorted(holders[name]), certificates)
            group = _side_by_side([certificates[key] for key in keys if key in certificates])
            if group:
                groups[name] = group
            else:
                groups.pop(name, None)
                holders.pop(name, None)
        return Names(self.given, certificates, groups, holders)

    def _names_of(self, key: str, certificate: Certificate | None) -> dict[str, None]:
        if certificate is None:
            return {}
        path = Path(key)
        names = [*sorted(certificate.hosts), *([DEFAULT] if DEFAULT in {path.stem, path.parent.name} else [])]
        return {name: None for name in names if name not in self.given}


def _side_by_side(group: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Without what stands in beside one of its own kind, as the ECDSA certificate may for an RSA one of these names."""
    kinds = {each.kind for each in group if not each.stands_in}
    kept: list[Certificate] = []
    for each in group:
        if not each.stands_in or each.kind not in kinds:
            kinds.add(each.kind)
            kept.append(each)
    return tuple(kept)


def _best(keys: list[str], certificates: Mapping[Key, Certificate]) -> list[Key]:
    """Of each kind of key, the pair that is valid longest. Self-signed ones of any kind only if there are no others:
    a client that prefers their kind would be shown one.
    """
    kinds: dict[str, str] = {}
    for key in [key for key in keys if not _is_self_signed(certificates[key])] or keys:
        kind = certificates[key].kind
        if kind not in kinds or certificates[key].not_after > certificates[kinds[kind]].not_after:
            kinds[kind] = key
    return list(kinds.values())


def _is_self_signed(certificate: Certificate) -> bool:
    return certificate.issuer == certificate.subject
