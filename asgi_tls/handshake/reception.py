"""How a server receives its clients: who is notified of each handshake, and what a client may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asgi_tls.events import ClientErrorEvent, SilentClientEvent
from asgi_tls.handshake.outcomes import Outcome
from asgi_tls.handshake.peer import Address
from asgi_tls.handshake.plain_http import PlainHTTP, answer
from asgi_tls.listeners.dispatch import Dispatcher


@dataclass(frozen=True, kw_only=True)
class Reception:
    """`dispatcher` hands events to the listeners. `timeout` is in seconds, from the connection to the handshake's end.
    `covers` says whether a host of a plain HTTP request has a certificate, and so may be redirected to.
    `graceful_timeout` is how long, in seconds, connections may take to end when the server stops. `before_listening` is
    called in the event loop, and ends the process where it cannot serve. `public_port` is the HTTPS port that clients
    connect to, None where it is the one that they have reached.
    """

    dispatcher: Dispatcher
    covers: Callable[[str], bool]
    timeout: float
    plain_http: PlainHTTP
    graceful_timeout: float | None = None
    before_listening: Callable[[], None] | None = None
    public_port: int | None = None

    @property
    def admits(self) -> Callable[[str], bool] | None:
        """Whether an address may connect; None where every address may."""
        return self.dispatcher.admits if self.dispatcher.gates else None

    def answer_plain_http(self, request: bytes, port: int | None) -> bytes:
        """The response to the head of a request that has reached this port."""
        return answer(request, mode=self.plain_http, covers=self.covers, port=self.public_port or port)

    def report_failure(
        self, address: Address, outcome: Outcome, *, has_sent: bool, alert: str | None = None, sni: str | None = None
    ) -> None:
        """A handshake failed, or a connection did later on."""
        (ip, port), (code, msg) = address, outcome
        kind = ClientErrorEvent if has_sent else SilentClientEvent
        self.dispatcher.tell(kind(ip=ip, port=port, code=code, msg=msg, alert=alert, sni=sni))
