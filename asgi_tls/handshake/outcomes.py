"""How a handshake ends that does not succeed: a code of `tls_client_error`, and a sentence."""

from __future__ import annotations

import re
import ssl
from typing import Final

from asgi_tls.handshake.facts import verified_chain

Outcome = tuple[str, str]

HTTP_REQUEST: Final[Outcome] = "HTTP_REQUEST", "a plain HTTP request came to the TLS port"
STUN_REQUEST: Final[Outcome] = "STUN_REQUEST", "a STUN request came to the TLS port"

# "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)". A Python that was built for an older OpenSSL has no
# name for a reason that is new: "[SSL] record layer failure (_ssl.c:1032)". Where OpenSSL has no words either, Python
# says "[SSL] unknown error (0xa000461) (_ssl.c:1081)", before 3.14 without the number.
_MESSAGE: Final = re.compile(r"(?:\[(?P<library>[^\]]*)\] )?(?P<words>.*?)(?: \(_ssl\.c:\d+\))?", re.DOTALL)


def left(has_sent: bool) -> Outcome:
    """The client closed the connection, after it had sent something or before."""
    if has_sent:
        return "CONNECTION_CLOSED", "the client closed the connection during the handshake"
    return "NO_DATA", "the client closed the connection before it sent anything"


def timed_out(limit: float) -> Outcome:
    """The client did not finish within so many seconds."""
    return "HANDSHAKE_TIMEOUT", f"no handshake within {limit:g} s"


def outcome_of(error: ssl.SSLError, connection: ssl.SSLObject | ssl.SSLSocket) -> Outcome:
    """For what OpenSSL raised. A context may add to it, by `tls_explain`."""
    if getattr(connection, "tls_name_refused", False):
        name: str | None = getattr(connection, "tls_server_name", None)
        asked = (
            f"asked for a name that is not served: {name!r}"
            if name
            else "sent no host name, and there is no default certificate"
        )
        return "UNRECOGNIZED_NAME", f"the client {asked}"
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    parts = _MESSAGE.fullmatch(text)
    msg = text if parts is None else parts["words"]
    explain = getattr(connection.context, "tls_explain", None)
    if explain is not None and isinstance(error, ssl.SSLCertVerificationError):
        msg += explain(error.verify_code, verified_chain(connection))
    if error.reason or parts is None or parts["library"] is None:
        return error.reason or "UNKNOWN", msg
    return re.sub(r"\W+", "_", parts["words"].partition(" (0x")[0]).upper(), msg
