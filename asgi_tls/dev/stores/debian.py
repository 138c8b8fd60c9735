"""Debian, Ubuntu and Alpine: update-ca-certificates(8)."""

from __future__ import annotations

from asgi_tls.dev.stores.anchors import AnchorDirectory
from asgi_tls.dev.stores.store import Host


def debian(host: Host) -> AnchorDirectory | None:
    return AnchorDirectory.find(
        host,
        "System store",
        "usr/local/share/ca-certificates",
        "etc/ssl/certs/ca-certificates.crt",
        "update-ca-certificates",
    )
