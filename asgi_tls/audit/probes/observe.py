"""The audit from its first connection to its last: which probe comes when, and how many at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asgi_tls.audit.probes.caller import Caller, Stream
from asgi_tls.audit.probes.groups import CURRENT_GROUPS, OLD_GROUPS, TLS12_GROUPS, TLS13_GROUPS, Groups, find_groups
from asgi_tls.audit.probes.handshakes import (
    Handshake,
    Resumption,
    connected,
    context_for,
    resumption,
    shake_hands,
    verify,
    verify_chain,
    wants_certificate,
)
from asgi_tls.audit.probes.http import Answer, get, on_the_http_port, on_the_tls_port
from asgi_tls.audit.probes.observed import Hellos, Observed, Refusals, ServedChain, StapleState, Unreadable, Version
from asgi_tls.audit.probes.prober import Prober
from asgi_tls.audit.probes.staple import read_staple
from asgi_tls.audit.probes.suites import ECDHE, Suites, find_suites, suites_of
from asgi_tls.audit.probes.target import Target
from asgi_tls.certificate.chain import parse_certificate
from asgi_tls.certificate.private_key import describe_key, key_type
from asgi_tls.certificate.trust import load_ca_bundle
from asgi_tls.errors import UnreachableError
from asgi_tls.handshake import alerts, hello
from asgi_tls.handshake.flight import DOWNGRADED, Flight
from asgi_tls.handshake.hello import TLS12, TLS13, VERSION_NAMES, Offer

if TYPE_CHECKING:
    from cryptography import x509

Progress = Callable[[str, int, int], None]
"""Called with what was just looked at, how many steps are done, and of how many."""

AT_A_TIME: Final = 4  # connections: few enough for a server with one worker, enough to hide the latency
_ALPN: Final = ("h2", "http/1.1")
_LONGEST_CHAIN: Final = 16  # GnuTLS accepts no more; what follows is counted and not read

_T = TypeVar("_T")


def observe(target: Target, *, cafile: Path | None = None, progress: Progress | None = None) -> Observed:
    """Look at everything. Raises UnreachableError, and CertificateError for the file of CAs."""
    authorities = None if cafile is None else load_ca_bundle(cafile)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        run = _Run(target, authorities, pool, progress)
        try:
            return run.run()
        finally:
            run.caller.stop()  # after an error, the probes that are left end at once


class _Run:
    def __init__(
        self, target: Target, authorities: str | None, pool: ThreadPoolExecutor, progress: Progress | None
    ) -> None:
        self.target, self.authorities = target, authorities
        self.caller = Caller(target)
        self.prober = Prober(self.caller)
        self._pool = pool
        self._progress = progress or (lambda _what, _done, _of: None)
        self._done = 0
        self._labels: dict[Future[Any], str] = {}

    def run(self) -> Observed:
        started = time.monotonic()
        self.caller.find()
        flights = self._versions()
        spoken = [version for version, flight in flights.items() if _speaks(flight, version)]
        if not spoken:
            raise UnreachableError(
                f"{self.target} does not speak TLS (it answered with: {_how(flights[TLS12])})",
                fix="Check the port: it may serve plain HTTP, or block this address.",
            )
        suites = {version: self._submit(f"suites of {VERSION_NAMES[version]}", partial(self._suites, version))
                  for version in reversed(spoken)}  # fmt: skip
        groups = self._submit("groups", partial(self._groups, spoken[-1]))
        old_groups = self._submit("old groups", partial(self._old_groups, spoken))
        hybrid = self._submit("hybrid groups", partial(self._hybrid, spoken))
        best = self._submit("handshake", self._handshake)
        answer = self._submit("headers", self._answer)
        back = {
            version: self._submit(f"resumption of {VERSION_NAMES[version]}", partial(self._resume, version))
            for version in spoken
            if version in {TLS12, TLS13}
        }
        plain_tls = self._submit("plain HTTP on the TLS port", partial(on_the_tls_port, self.caller))
        plain_http = self._submit("redirect", partial(on_the_http_port, self.caller))
        self._wait([*suites.values(), groups, old_groups, hybrid, best, answer, *back.values(), plain_tls, plain_http])
        chains, unreadable = self._certificates(best.result())
        if self._ask(spoken[-1]).hello is None:
            raise UnreachableError(
                f"{self.target} stopped answering during the audit",
                fix="It may have blocked this address (HandshakeGuard, fail2ban): wait, or allow the address there.",
            )
        refusals = self.prober.refusals
        return Observed(
            target=self.target,
            address=self.caller.address,
            at=datetime.now(UTC),
            versions={
                VERSION_NAMES[version]: _version(flight, suites.get(version)) for version, flight in flights.items()
            },
            own_ca=self.authorities is not None,
            groups=groups.result(),
            old_groups=old_groups.result(),
            hybrid_tolerated=hybrid.result(),
            dh_bits=self.prober.smallest_dh,
            hellos=_hellos(flights),
            chains=chains,
            unreadable=unreadable,
            handshake=None if (shaken := best.result()) is None else shaken.negotiated,
            resumption={
                VERSION_NAMES[version]: found
                for version, future in back.items()
                if (found := future.result()) is not None
            },
            client_certificate=self.prober.asks_for_certificate,
            answer=answer.result(),
            plain_tls=plain_tls.result(),
            plain_http=plain_http.result(),
            refusals=Refusals(
                refused=len(refusals),
                without_alert=sum(flight.ending not in {"alert", "timeout"} for flight in refusals),
                unanswered=sum(flight.ending == "timeout" for flight in refusals),
            ),
            connections=self.caller.connections,
            seconds=time.monotonic() - started,
        )

    def _ask(
        self,
        version: int,
        suites: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        *,
        shares: Mapping[int, bytes] | None = None,
    ) -> Flight:
        """Every suite and group of the version, where none are given."""
        every = TLS13_GROUPS if version == TLS13 else TLS12_GROUPS
        offer = Offer(
            version=version,
            suites=suites_of(version) if suites is None else suites,
            groups=every if groups is None else groups,
            server_name=self.target.host,
            shares=shares or {},
        )
        return self.prober.ask(offer)

    def _versions(self) -> dict[int, Flight]:
        asked = {
            version: self._submit(name, partial(self._ask, version, shares={hello.X25519: os.urandom(32)}))
            for version, name in VERSION_NAMES.items()
        }
        self._wait(asked.values())
        return {version: future.result() for version, future in asked.items()}

    def _suites(self, version: int) -> Suites:
        return find_suites(version, partial(self._ask, version))

    def _groups(self, version: int) -> Groups:
        if version == TLS13:
            return find_groups(TLS13_GROUPS, partial(self._ask, TLS13, None))
        return self._elliptic(version, TLS12_GROUPS)

    def _old_groups(self, spoken: Sequence[int]) -> tuple[str, ...]:
        below = [version for version in spoken if hello.SSL3 < version < TLS13]
        if not below or spoken[-1] != TLS13:
            return ()  # none are used, or `_groups` has found them
        return self._elliptic(below[-1], OLD_GROUPS).names

    def _hybrid(self, spoken: Sequence[int]) -> bool | None:
        return self._ask(TLS12, None, CURRENT_GROUPS).hello is not None if TLS12 in spoken else None

    def _elliptic(self, version: int, groups: Sequence[int]) -> Groups:
        suites = tuple(number for number in suites_of(version) if number in ECDHE)
        return find_groups(groups, partial(self._ask, version, suites))

    def _handshake(self) -> Handshake | None:
        try:
            return shake_hands(self.caller, alpn=_ALPN)
        except OSError:
            return None

    def _answer(self) -> Answer | None:
        try:
            with connected(self.caller, context_for()) as secure:
                return self._exchange(secure)
        except OSError:
            self.prober.asks_for_certificate |= wants_certificate(self.caller)
            return None

    def _exchange(self, stream: Stream) -> Answer | None:
        return get(stream, self.target, self.target.authority)

    def _resume(self, version: int) -> Resumption | None:
        return resumption(self.caller, version, self._exchange)

    def _certificates(self, best: Handshake | None) -> tuple[tuple[ServedChain, ...], tuple[Unreadable, ...]]:
        """Each chain that was seen, and the certificates that cannot be parsed."""
        chains, known = dict(self.prober.chains), dict(self.prober.staples)
        if best is not None and best.chain:
            chains.setdefault(best.chain[0], best.chain)
            if best.staple is not None:
                known.setdefault(best.chain[0], best.staple)
        found: list[ServedChain] = []
        unreadable: list[Unreadable] = []
        for leaf, sent in chains.items():
            certificates: list[x509.Certificate] = []
            for position, der in enumerate(sent[:_LONGEST_CHAIN], 1):
                try:
                    certificates.append(parse_certificate(der))
                except ValueError as error:
                    trust = verify(self.caller, self.authorities) if position == 1 else None
                    unreadable.append(Unreadable(position=position, reason=str(error), trust=trust))
                    break
            if not certificates:
                continue
            # What only TLS 1.3 showed needs libssl to be looked at.
            sure = leaf in self.prober.chains or (best is not None and best.staple_known)
            state: StapleState = "stapled" if leaf in known else "absent" if sure else "unknown"
            staple = read_staple(known[leaf], certificates[0]) if leaf in known else None
            kind = _kind(certificates[0]) if len(chains) > 1 else None
            found.append(
                ServedChain(
                    certificates=tuple(certificates),
                    sent=len(sent),
                    staple=staple,
                    staple_state=state,
                    trust=verify_chain(self.caller, self.authorities, kind),
                )
            )
        return tuple(found), tuple(unreadable)

    def _submit(self, what: str, work: Callable[[], _T]) -> Future[_T]:
        future = self._pool.submit(work)
        self._labels[future] = what
        return future

    def _wait(self, futures: Iterable[Future[Any]]) -> None:
        for future in as_completed(futures):
            self._done += 1
            self._progress(self._labels[future], self._done, len(self._labels))


def _speaks(flight: Flight, version: int) -> bool:
    return flight.hello is not None and flight.hello.version == version


def _version(flight: Flight, suites: Future[Suites] | None) -> Version:
    if suites is None:
        return Version(offered=False, answer=_how(flight))
    found = suites.result()
    return Version(offered=True, answer=_how(flight), suites=found.names, preference=found.preference)


def _how(flight: Flight) -> str:
    """The answer in short: a hello, the name of an alert, or what came instead."""
    if flight.ending == "alert" and flight.alert is not None:
        return alerts.NAMES.get(flight.alert, f"alert {flight.alert}")
    return flight.ending


def _hellos(flights: dict[int, Flight]) -> Hellos | None:
    hellos = {
        version: flight.hello
        for version, flight in flights.items()
        if flight.hello is not None and flight.hello.version == version <= TLS12
    }
    if not hellos:
        return None
    newest = max(hellos)
    best = hellos[newest]
    marked = best.random[-8:] in DOWNGRADED if _speaks(flights[TLS13], TLS13) and newest == TLS12 else None
    return Hellos(
        compression=any(one.compression != 0 for one in hellos.values()),
        secure_renegotiation=hello.RENEGOTIATION_INFO in best.extensions if newest > hello.SSL3 else None,
        extended_master_secret=hello.EXTENDED_MASTER_SECRET in best.extensions if newest > hello.SSL3 else None,
        downgrade_marked=marked,
    )


def _kind(certificate: x509.Certificate) -> str | None:
    named = key_type(certificate) or describe_key(certificate)
    return "RSA" if "RSA" in named else "ECDSA" if "ECDSA" in named else None
