"""What this process can set and read, and how."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from asgi_tls._openssl.groups import keeps_order, reading_group, setting_groups
from asgi_tls._openssl.library import libssl, native, scratch


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What this process can set and read: how, in words, or None. `reason` says why libssl could not be reached."""

    groups: str | None
    ciphersuites: str | None
    group_order: str | None
    negotiated_group: str | None
    stapling: str | None
    ticket_keys: str | None
    reason: str | None


@functools.cache
def capabilities() -> Capabilities:
    """Tried by calling, once per process: a method that is there may still refuse on an old OpenSSL."""
    lib, reason = libssl()
    reached = None if lib is None else "libssl"
    return Capabilities(
        groups=setting_groups(),
        ciphersuites="native" if native(scratch(), "set_ciphersuites", "TLS_AES_128_GCM_SHA256") else reached,
        group_order="OpenSSL" if setting_groups() and keeps_order() else reached,
        negotiated_group=reading_group(),
        stapling=reached,
        ticket_keys=reached,
        reason=reason,
    )
