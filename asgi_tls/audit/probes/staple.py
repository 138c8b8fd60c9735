"""Read a stapled OCSP response. Its signature is not verified: clients that rely on it do that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography import x509

Status = Literal["good", "revoked", "unknown", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Staple:
    """`status` is that of the server's own certificate, "unknown" also if the response is for another one."""

    status: Status
    this_update: datetime | None = None
    next_update: datetime | None = None


def read_staple(der: bytes, leaf: x509.Certificate) -> Staple:
    """Raises nothing."""
    from cryptography.x509 import ocsp

    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Staple(status="unreadable")
        for single in response.responses:
            if single.serial_number == leaf.serial_number:
                return Staple(
                    status=_STATUS[single.certificate_status.name],
                    this_update=single.this_update_utc,
                    next_update=single.next_update_utc,
                )
    except Exception:  # noqa: BLE001 -- whatever a stranger's bytes make the parser raise
        return Staple(status="unreadable")
    return Staple(status="unknown")


_STATUS: dict[str, Status] = {"GOOD": "good", "REVOKED": "revoked", "UNKNOWN": "unknown"}
