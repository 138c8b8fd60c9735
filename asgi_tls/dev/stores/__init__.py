"""The trust stores of this machine, by kind."""

from __future__ import annotations

from collections.abc import Collection

from asgi_tls.dev.stores.java import java
from asgi_tls.dev.stores.linux import linux
from asgi_tls.dev.stores.macos import macos
from asgi_tls.dev.stores.nss import nss
from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, TrustStore, family_of
from asgi_tls.dev.stores.windows import windows

__all__ = ["Anchor", "Command", "Host", "Kind", "TrustStore", "family_of", "find_stores"]


def find_stores(host: Host, kinds: Collection[Kind] = ("system", "nss")) -> tuple[TrustStore, ...]:
    """The stores of this machine, the system's first."""
    system = (*linux(host), java(host), macos(host), windows(host)) if "system" in kinds else ()
    return (*(store for store in system if store is not None), *(nss(host) if "nss" in kinds else ()))
