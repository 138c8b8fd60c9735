"""Fedora, RHEL and their kin: update-ca-trust(8). Firefox reads this store too, through p11-kit."""

from __future__ import annotations

from asgi_tls.dev.stores.anchors import AnchorDirectory
from asgi_tls.dev.stores.store import Host


def fedora(host: Host) -> AnchorDirectory | None:
    return AnchorDirectory.find(
        host,
        "System store",
        "etc/pki/ca-trust/source/anchors",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "update-ca-trust",
        "extract",
    )
