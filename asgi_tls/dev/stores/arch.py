"""Arch Linux: update-ca-trust(8). Firefox reads this store too, through p11-kit."""

from __future__ import annotations

from asgi_tls.dev.stores.anchors import AnchorDirectory
from asgi_tls.dev.stores.store import Host


def arch(host: Host) -> AnchorDirectory | None:
    return AnchorDirectory.find(
        host,
        "System store",
        "etc/ca-certificates/trust-source/anchors",
        "etc/ca-certificates/extracted/tls-ca-bundle.pem",
        "update-ca-trust",
    )
