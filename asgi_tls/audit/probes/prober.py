"""One ClientHello to the server on a connection of its own, and the first flight of its answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from asgi_tls.audit.probes.caller import Caller
from asgi_tls.audit.probes.suites import DHE, ECDHE
from asgi_tls.handshake.flight import Flight, FlightReader
from asgi_tls.handshake.hello import Offer

_MOST_CHAINS: Final = 8  # a server has one for each type of key; a hostile one may send another each time


@dataclass
class Prober:
    """Sends hellos, and collects what every flight shows. Threads share one."""

    caller: Caller
    chains: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    staples: dict[bytes, bytes] = field(default_factory=dict)
    smallest_dh: int | None = None
    refusals: list[Flight] = field(default_factory=list)
    asks_for_certificate: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, offer: Offer) -> Flight:
        """Send the hello and read until the server waits for an answer, refuses, or time is up."""
        reader = FlightReader(ECDHE, DHE)
        try:
            with self.caller.call() as stream:
                stream.send(offer.record())
                while not reader.done and (data := stream.receive()):
                    reader.feed(data)
            return self._keep(reader.end("closed"))
        except TimeoutError:
            return self._keep(reader.end("timeout"))
        except OSError:
            return self._keep(reader.end("reset"))

    def _keep(self, flight: Flight) -> Flight:
        with self._lock:
            if flight.hello is None:
                self.refusals.append(flight)
            self.asks_for_certificate |= flight.asks_for_certificate
            if flight.certificates and (len(self.chains) < _MOST_CHAINS or flight.certificates[0] in self.chains):
                self.chains.setdefault(flight.certificates[0], flight.certificates)
                if flight.staple is not None:
                    self.staples.setdefault(flight.certificates[0], flight.staple)
            if flight.dh_bits is not None:
                self.smallest_dh = min(flight.dh_bits, self.smallest_dh or flight.dh_bits)
        return flight
