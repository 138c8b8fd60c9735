"""The trust stores of this machine, one file each."""

from __future__ import annotations

from collections.abc import Collection

from asgi_tls.dev.stores.arch import arch
from asgi_tls.dev.stores.debian import debian
from asgi_tls.dev.stores.fedora import fedora
from asgi_tls.dev.stores.java import java
from asgi_tls.dev.stores.macos import macos
from asgi_tls.dev.stores.nss import nss
from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, TrustStore, family_of
from asgi_tls.dev.stores.windows import windows

__all__ = ["Anchor", "Command", "Host", "Kind", "TrustStore", "family_of", "find_stores"]


def find_stores(host: Host, kinds: Collection[Kind] = ("system", "nss")) -> tuple[TrustStore, ...]:
    """The stores that there are, the system's first."""
    system = (find(host) for find in (fedora, arch, debian, java, macos, windows)) if "system" in kinds else ()
    return (*(store for store in system if store is not None), *(nss(host) if "nss" in kinds else ()))
