"""The key pairs that the tests serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pki import PKI

from asgi_tls import PEMFiles


@dataclass(frozen=True)
class Files:
    """A CA and the key pairs under it, on disk. The sources are those of the public API."""

    pki: PKI
    directory: Path
    ca: Path
    ecdsa: PEMFiles
    rsa: PEMFiles
    example: PEMFiles
    wildcard: PEMFiles
    client: PEMFiles
    nameless_client: PEMFiles

    @property
    def ca_text(self) -> str:
        return self.ca.read_text(encoding="ascii")
