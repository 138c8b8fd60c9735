"""Every trouble that is known."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from asgi_tls.explain.agreement import AGREEMENT
from asgi_tls.explain.clients import CLIENTS
from asgi_tls.explain.connection import CONNECTION
from asgi_tls.explain.files import FILES
from asgi_tls.explain.own import OWN
from asgi_tls.explain.records import RECORDS
from asgi_tls.explain.strictness import STRICTNESS
from asgi_tls.explain.trust import TRUST

CATALOGUE: Final = MappingProxyType(
    {
        trouble.code: trouble
        for trouble in (*TRUST, *STRICTNESS, *CLIENTS, *AGREEMENT, *CONNECTION, *RECORDS, *FILES, *OWN)
    }
)
"""By code, in the order of docs/errors.md: what clients meet first."""
