"""The audit from its first connection to its last: which probe comes when, and how many at a time."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from asgi_tls.audit import hello
from asgi_tls.audit.flight import DOWNGRADED, Flight
from asgi_tls.audit.groups import ALL_GROUPS, MODERN_GROUPS, OLD_GROUPS, Groups, find_groups
from asgi_tls.audit.handshakes import connected, context_for, resumption, shake_hands, verify, wants_certificate
from asgi_tls.audit.hello import TLS12, TLS13, VERSION_NAMES, Offer
from asgi_tls.audit.http import get
from asgi_tls.audit.observed import Hellos, Observed, ServedChain, StapleState
from asgi_tls.audit.plain import on_the_http_port, on_the_tls_port
from asgi_tls.audit.prober import Prober
from asgi_tls.audit.staple import read_staple
from asgi_tls.audit.suites import ECDHE, Suites, find_suites, suites_of
from asgi_tls.audit.target import Caller, Target
from asgi_tls.certificate.private_key import describe_key, key_type
from asgi_tls.certificate.trust import load_ca_bundle
from asgi_tls.errors import UnreachableError
from asgi_tls.handshake import alerts

if TYPE_CHECKING:
    from asgi_tls.audit.http import Answer

Progress = Callable[[str, int, int], None]
"""Called with what has just been looked at, how many steps are done, and of how many."""

AT_A_TIME: Final = 4  # connections: few enough for a server with one worker, enough to hide the way there
_ALPN: Final = ("h2", "http/1.1")


def observe(target: Target, *, cafile: Path | None = None, progress: Progress | None = None) -> Observed:
    """Look at everything. Raises UnreachableError, and CertificateError for the file of CAs."""
    return _Run(target, None if cafile is None else load_ca_bundle(cafile), progress).run()


class _Run:
    def __init__(self, target: Target, authorities: str | None, progress: Progress | None) -> None:
        self.target, self.authorities = target, authorities
        self.caller = Caller(target)
        self.prober = Prober(self.caller)
        self._progress = progress or (lambda _what, _done, _of: None)
        self._done = self._planned = 0
        self._labels: dict[Future[Any], str] = {}

    def run(self) -> Observed:
        started = time.monotonic()
        self.caller.call().close()  # or nobody is there
        seen = Observed(
            target=self.target,
            address=self.caller.address,
            at=datetime.now(UTC),
            versions={},
            own_ca=self.authorities is not None,
        )
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            flights = self._versions(pool)
            seen.versions = {VERSION_NAMES[version]: _speaks(flight, version) for version, flight in flights.items()}
            seen.answers = {VERSION_NAMES[version]: _how(flight) for version, flight in flights.items()}
            spoken = [version for version, flight in flights.items() if _speaks(flight, version)]
            if not spoken:
                raise UnreachableError(
                    f"{self.target} does not speak TLS (it answers with: {_how(flights[TLS12])})",
                    fix="Check the port: it may serve plain HTTP, or block this address.",
                )
            seen.hellos = _hellos(flights)
            self._deeper(pool, seen, spoken)
        self._certificates(seen)
        if self._ask(spoken[-1]).hello is None:
            raise UnreachableError(
                f"{self.target} stopped answering during the audit",
                fix="It may have blocked this address (HandshakeGuard, fail2ban): wait, or let it through there.",
            )
        seen.dh_bits = self.prober.smallest_dh
        seen.client_certificate = self.prober.asks_for_certificate
        seen.refused = len(self.prober.refusals)
        seen.silent = sum(flight.ending not in {"alert", "timeout"} for flight in self.prober.refusals)
        seen.unanswered = sum(flight.ending == "timeout" for flight in self.prober.refusals)
        seen.connections = self.caller.connections
        seen.seconds = time.monotonic() - started
        return seen

    def _ask(self, version: int, *, share: bool = False) -> Flight:
        return self.prober.ask(self._offer(version, suites_of(version), share=share))

    def _offer(
        self, version: int, suites: Sequence[int], groups: Sequence[int] | None = None, *, share: bool = False
    ) -> Offer:
        every = MODERN_GROUPS if version == TLS13 else ALL_GROUPS
        return Offer(
            version=version,
            suites=suites,
            groups=every if groups is None else groups,
            server_name=self.target.host,
            share=share,
        )

    def _versions(self, pool: ThreadPoolExecutor) -> dict[int, Flight]:
        asked = {
            version: self._submit(pool, name, functools.partial(self._ask, version, share=True))
            for version, name in VERSION_NAMES.items()
        }
        self._wait(asked.values())
        return {version: future.result() for version, future in asked.items()}

    def _deeper(self, pool: ThreadPoolExecutor, seen: Observed, spoken: Sequence[int]) -> None:
        suites = {
            VERSION_NAMES[version]: self._submit(
                pool, f"suites of {VERSION_NAMES[version]}", functools.partial(self._suites, version)
            )
            for version in reversed(spoken)
        }
        groups = self._submit(pool, "groups", lambda: self._groups(spoken[-1]))
        old_groups = self._submit(pool, "old groups", lambda: self._old_groups(spoken))
        best = self._submit(pool, "handshake", lambda: _or_none(lambda: shake_hands(self.caller, alpn=_ALPN)))
        answer = self._submit(pool, "headers", self._answer)
        back = [
            self._submit(pool, f"resumption of {VERSION_NAMES[version]}", functools.partial(self._resume, version))
            for version in spoken
            if version in {TLS12, TLS13}
        ]
        plain_tls = self._submit(pool, "plain HTTP on the TLS port", lambda: on_the_tls_port(self.caller))
        plain_http = self._submit(pool, "redirect", lambda: on_the_http_port(self.caller))
        self._wait([*suites.values(), groups, old_groups, best, answer, *back, plain_tls, plain_http])
        seen.suites = {name: suites[name].result() for name in seen.versions if name in suites}
        seen.groups, seen.old_groups = groups.result(), old_groups.result()
        seen.handshake = best.result()
        seen.http_over_tls, seen.answer = answer.result()
        seen.resumption = tuple(found for each in back if (found := each.result()) is not None)
        seen.plain_tls, seen.plain_http = plain_tls.result(), plain_http.result()

    def _suites(self, version: int) -> Suites:
        return find_suites(version, lambda suites: self.prober.ask(self._offer(version, suites)))

    def _groups(self, version: int) -> Groups:
        if version == TLS13:
            suites, offered = suites_of(TLS13), MODERN_GROUPS
        else:
            suites, offered = tuple(number for number in suites_of(version) if number in ECDHE), ALL_GROUPS
        return find_groups(offered, lambda groups: self.prober.ask(self._offer(version, suites, groups)))

    def _old_groups(self, spoken: Sequence[int]) -> tuple[str, ...]:
        below = [version for version in spoken if version in {hello.TLS10, hello.TLS11, TLS12}]
        if not below or spoken[-1] != TLS13:
            return ()  # none are used, or `_groups` has found them
        suites = tuple(number for number in suites_of(below[-1]) if number in ECDHE)
        found = find_groups(OLD_GROUPS, lambda groups: self.prober.ask(self._offer(below[-1], suites, groups)))
        return found.names

    def _answer(self) -> tuple[bool | None, Answer | None]:
        """Whether the server spoke HTTP, None when there was no handshake to ask over; and its answer."""
        try:
            with connected(self.caller, context_for()) as secure:
                answer = self._exchange(secure)
        except OSError:
            self.prober.asks_for_certificate |= wants_certificate(self.caller)
            return None, None
        return answer is not None, answer

    def _exchange(self, secure: ssl.SSLSocket) -> Answer | None:
        return get(secure, self.target.authority, self.target.path, self.target.timeout)

    def _resume(self, version: int) -> Any:
        return resumption(self.caller, version, self._exchange)

    def _certificates(self, seen: Observed) -> None:
        chains = dict(self.prober.chains)
        known = self.prober.staples
        best = seen.handshake
        if best is not None and best.chain:
            chains.setdefault(best.chain[0], best.chain)
            if best.staple is not None:
                known.setdefault(best.chain[0], best.staple)
        found: list[ServedChain] = []
        for leaf, sent in chains.items():
            try:
                certificates = tuple(_parse(der) for der in sent)
            except ValueError:
                seen.unreadable_certificate = True
                continue
            # Only what TLS 1.3 showed alone needs libssl to be looked at.
            sure = leaf in self.prober.chains or (best is not None and best.staple_known)
            state: StapleState = "stapled" if leaf in known else "absent" if sure else "unknown"
            staple = read_staple(known[leaf], certificates[0]) if leaf in known else None
            kind = _kind(certificates[0]) if len(chains) > 1 else None
            trust = verify(self.caller, self.authorities, kind)
            found.append(ServedChain(certificates=certificates, staple=staple, staple_state=state, trust=trust))
        seen.chains = tuple(found)

    def _submit(self, pool: ThreadPoolExecutor, what: str, work: Callable[[], Any]) -> Future[Any]:
        self._planned += 1
        future: Future[Any] = pool.submit(work)
        self._labels[future] = what
        return future

    def _wait(self, futures: Any) -> None:
        for future in as_completed(futures):
            self._done += 1
            self._progress(self._labels[future], self._done, self._planned)


def _speaks(flight: Flight, version: int) -> bool:
    return flight.hello is not None and flight.hello.version == version


def _how(flight: Flight) -> str:
    """The answer in a word: a hello, the name of an alert, or what came in place of one."""
    if flight.ending == "alert" and flight.alert is not None:
        return alerts.NAMES.get(flight.alert, f"alert {flight.alert}")
    return flight.ending


def _hellos(flights: dict[int, Flight]) -> Hellos | None:
    below = [version for version in flights if version <= TLS12 and _speaks(flights[version], version)]
    if not below:
        return None
    best = flights[below[-1]].hello
    assert best is not None  # noqa: S101 -- _speaks has looked
    marked = best.random[-8:] in DOWNGRADED if _speaks(flights[TLS13], TLS13) and below[-1] == TLS12 else None
    return Hellos(
        compression=any(one.compression != 0 for version in below if (one := flights[version].hello) is not None),
        secure_renegotiation=hello.RENEGOTIATION_INFO in best.extensions if below[-1] > hello.SSL3 else None,
        extended_master_secret=hello.EXTENDED_MASTER_SECRET in best.extensions if below[-1] > hello.SSL3 else None,
        downgrade_marked=marked,
    )


def _parse(der: bytes) -> x509.Certificate:
    """Each part now, so that nothing raises later. Raises ValueError."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature_algorithm_oid
    except Exception as error:
        raise ValueError("no certificate") from error
    return certificate


def _kind(certificate: x509.Certificate) -> str | None:
    named = key_type(certificate) or describe_key(certificate)
    return "RSA" if "RSA" in named else "ECDSA" if "ECDSA" in named else None


def _or_none(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except OSError:
        return None
