"""One question to the server on a connection of its own: a ClientHello out, the first flight back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from asgi_tls.audit.probes.flight import Flight, FlightReader
from asgi_tls.audit.probes.hello import Offer
from asgi_tls.audit.probes.suites import DHE, ECDHE
from asgi_tls.audit.probes.target import Caller, hang_up, receive


@dataclass
class Prober:
    """Asks, and keeps what every flight shows beside its answer. Threads share one."""

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
            sock = self.caller.call()
        except TimeoutError:
            return self._keep(reader.end("timeout"))
        except OSError:
            return self._keep(reader.end("reset"))
        deadline = time.monotonic() + self.caller.target.timeout
        try:
            sock.sendall(offer.record())
            while not reader.done:
                data = receive(sock, deadline)
                if not data:
                    break
                reader.feed(data)
            flight = reader.end("closed")
        except TimeoutError:
            flight = reader.end("timeout")
        except OSError:
            flight = reader.end("reset")
        finally:
            hang_up(sock)
        return self._keep(flight)

    def _keep(self, flight: Flight) -> Flight:
        with self._lock:
            if flight.hello is None:
                self.refusals.append(flight)
            self.asks_for_certificate |= flight.asks_for_certificate
            if flight.certificates:
                self.chains.setdefault(flight.certificates[0], flight.certificates)
                if flight.staple is not None:
                    self.staples.setdefault(flight.certificates[0], flight.staple)
            if flight.dh_bits is not None:
                self.smallest_dh = min(flight.dh_bits, self.smallest_dh or flight.dh_bits)
        return flight
