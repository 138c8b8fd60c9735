"""What is served until the first certificate for these names is there: the site must not stop for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.material import Material
from asgi_tls.events import Notice
from asgi_tls.renewal.acme.ca import KeyType

_DAYS: Final = 90
_RSA_BITS: Final = 2048


def self_signed_for(names: Sequence[str], kind: KeyType, title: str) -> Certificate:
    """A self-signed certificate, which no client accepts. `title` names the source in messages."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    from asgi_tls.certificate.self_signed import self_signed
    from asgi_tls.certificate.validation import validate

    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=1), now + timedelta(days=_DAYS)
    key = rsa.generate_private_key(65537, _RSA_BITS) if kind == "rsa" else None
    made = self_signed("placeholder until ACME issues", names, begin, end, key=key)
    certificate = validate(title, Material("certificate", b"".join(made)), None, None, "server")
    text = "no certificate has been issued yet; a self-signed placeholder, which clients refuse, is served until then"
    return replace(certificate, warnings=(Notice("acme-placeholder", text),))


def closest(found: Iterable[Certificate], names: Sequence[str], kind: KeyType) -> Certificate | None:
    """The one that is valid now and has most of these names, then one with such a key, then the one that is valid for
    longest: a name that was added must not take the others away, nor must another CA or type of key.
    """
    now = datetime.now(UTC)
    shared = [
        (len(set(names).intersection(each.subject_alt_names)), each.kind.lower() == kind, each.not_after, each)
        for each in found
        if each.not_before <= now <= each.not_after
    ]
    count, *_, best = max(shared, key=lambda each: each[:3], default=(0, False, now, None))
    if best is None or not count:
        return None
    text = (
        "no certificate has been issued yet for these names and this CA; the stored one for "
        f"{', '.join(best.subject_alt_names)} is served until then"
    )
    return replace(best, warnings=(*best.warnings, Notice("acme-placeholder", text)))
