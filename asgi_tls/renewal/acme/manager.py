"""The thread in each process that keeps the certificates of its ACME sources alive.

Each second it answers what others have put up, and asks the schedule. What is due is done by whoever gets the lock; the
others see the file that results, as they see every renewed file. The order itself runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from asgi_tls.certificate.challenges import challenges
from asgi_tls.events import ACMEAction, Listener
from asgi_tls.renewal.acme import agent, records
from asgi_tls.renewal.acme.account import dns_value, new_account_key
from asgi_tls.renewal.acme.agent import Job, Presented
from asgi_tls.renewal.acme.board import MIRROR_SECONDS, Board, answer_by, lock_of
from asgi_tls.renewal.acme.ca import CA, ChallengeType, Issued, OrderRequest
from asgi_tls.renewal.acme.dns import meanwhile
from asgi_tls.renewal.acme.event import event_of, not_stored, replacement, shown
from asgi_tls.renewal.acme.problems import ACMEError
from asgi_tls.renewal.acme.schedule import (
    Record,
    Window,
    begun,
    choice,
    decide,
    failed,
    forgiven,
    put_off,
    stopped,
    succeeded,
    wants_window,
    with_window,
)
from asgi_tls.renewal.acme.source import ACME
from asgi_tls.renewal.acme.storage import ACCOUNT, Fence, StaleFenceError, Storage, holding, holding_all

logger = logging.getLogger("asgi_tls")

_LEASE: Final = 90.0
_RECORD_SECONDS: Final = 200.0  # more than a command of the user's may take
_EXTEND: Final = 10.0
_LONGEST_LOOK: Final = 5.0
"""Seconds after which what others have stored is read again."""
_FIRST_CONNECTION: Final = 5.0
"""Seconds that an order waits for a server that accepts by itself, and does not say when."""
_SAVE_AGAIN: Final = 30.0
_MOST_TROUBLES: Final = 20


class Over(Exception):  # noqa: N818 -- not an error: nobody needs the certificates any more
    pass


@dataclass(eq=False)
class _Watched:
    """One source, and what this process remembers of it: `blocked` and `planned` were reported, `unsaved` could not be
    written to the storage.
    """

    source: ACME
    record: Record = field(default_factory=Record)
    next_look: float = 0.0
    blocked: str = ""
    planned: float | None = None
    is_new: bool = True
    is_forced: bool = False
    unsaved: tuple[bytes, Record] | None = None


class Manager:
    """Works for these sources until `is_over`. `nudge` makes the reloader look at the files.

    All sources have the same storage. `tell` takes events, in any thread.
    """

    def __init__(
        self,
        sources: Sequence[ACME],
        *,
        tell: Listener,
        is_over: Callable[[], bool],
        nudge: Callable[[], None],
    ) -> None:
        self._storage: Storage = sources[0].storage
        self._watched = [_Watched(one) for one in {one.identifier: one for one in sources}.values()]
        self._board = Board(self._storage)
        self._tell, self._is_over, self._nudge = tell, is_over, nudge
        self._started = time.monotonic()
        self._account_made = -math.inf
        self._troubles: set[str] = set()  # that have been reported: each is once, until a round without one
        self._sound = True
        answer_by(self._storage)

    def start(self) -> None:
        """Run in a daemon thread: it never keeps a process from ending."""
        threading.Thread(target=self._run, name="asgi_tls-acme", daemon=True).start()

    def order_now(self, *, force: bool) -> None:
        """In this thread: what is due, or with `force` everything. Nothing is reported where another process orders."""
        for watched in self._watched:
            watched.is_forced = force
            self._under_lock(watched, self._forgive)
            self._under_lock(watched, self._order)

    def _run(self) -> None:
        with contextlib.suppress(Over):
            while True:
                self._sound = True
                self._survive(self._mirror)
                for watched in self._watched:
                    if time.monotonic() >= watched.next_look:
                        watched.next_look = time.monotonic() + MIRROR_SECONDS
                        self._survive(lambda watched=watched: self._look(watched))  # type: ignore[misc]
                self._alive()
                if self._sound and self._troubles:
                    self._troubles.clear()
                    logger.info("the ACME storage %s can be used again", self._storage)
                time.sleep(MIRROR_SECONDS)

    def _mirror(self) -> None:
        self._storage.refresh([ACCOUNT, *(watched.source.certificate_entry for watched in self._watched)])
        self._board.mirror()

    def _survive(self, step: Callable[[], None]) -> None:
        """Whatever goes wrong in one step must not end the renewals."""
        try:
            step()
        except Over:
            raise
        except OSError as error:
            self._sound = False
            if str(error) not in self._troubles and len(self._troubles) < _MOST_TROUBLES:
                self._troubles.add(str(error))
                text = "the ACME storage %s cannot be used: %s; what is served stays in use, and nothing is ordered"
                logger.error(text, self._storage, error)  # noqa: TRY400
        except Exception:
            if threading.main_thread().is_alive():  # else nothing can be imported any more
                logger.exception("an error of asgi-tls itself in a renewal by ACME; it tries again. Please report it")

    def _alive(self) -> None:
        if self._is_over():
            raise Over

    def _look(self, watched: _Watched) -> None:
        if watched.unsaved is not None:
            self._save_again(watched, *watched.unsaved)
            return
        if watched.is_new:
            self._under_lock(watched, self._forgive)
        watched.record = records.read_record(watched.source)
        now = time.time()
        decision = decide(watched.record, now)
        if watched.is_new and decision.action == "wait" and watched.record.failures:
            why = f"the last one failed: {watched.record.reason}; `asgi-tls acme issue --force` orders now"
            self._block(watched, why, decision.until)
        watched.is_new = False
        is_served = challenges.is_served or time.monotonic() - self._started >= _FIRST_CONNECTION
        if is_served and decision.until == watched.record.renew_at != watched.planned:  # whoever has ordered
            ca = records.issuer_of(watched.source, watched.record) or watched.source.cas[0]
            self._report(watched, "scheduled", ca, f"the next renewal is planned for {shown(watched.record.renew_at)}")
        if decision.action == "order":
            if is_served:
                self._under_lock(watched, self._order)
        elif wants_window(watched.record, now):
            self._under_lock(watched, self._ask_for_window)
        else:
            if decision.action == "blocked":
                self._block(watched, decision.why, decision.until)
            watched.next_look = time.monotonic() + min(max(decision.until - now, 0.0), _LONGEST_LOOK)

    def _under_lock(self, watched: _Watched, work: Callable[[_Watched, Fence], None]) -> None:
        """Whoever has the lock looks again: the one before may have done it."""
        with holding(self._storage, watched.source.identifier, _LEASE) as fence:
            if fence is None:
                return
            try:
                watched.record = records.read_record(watched.source)
                work(watched, fence)
            except StaleFenceError:
                logger.warning("another process has taken over the ACME order for %s", ", ".join(watched.source.names))

    def _forgive(self, watched: _Watched, fence: Fence) -> None:
        """Once in each process, so that servers with different settings do not make each other order in a loop."""
        record = forgiven(watched.record, watched.source.fingerprint)
        if record != watched.record:
            self._store_record(watched, record, fence)

    def _order(self, watched: _Watched, fence: Fence) -> None:
        source = watched.source
        if not watched.is_forced and decide(watched.record, time.time()).action != "order":
            return
        account_key = self._account_key()
        if account_key is None:
            return
        with holding_all(self._storage, map(lock_of, source.names), _LEASE) as names:
            if names is not None:  # else another order for one of them is under way
                self._order_alone(watched, [fence, *names], account_key)

    def _order_alone(self, watched: _Watched, fences: Sequence[Fence], account_key: bytes) -> None:
        source, now, fence = watched.source, time.time(), fences[0]
        number, challenge = choice(watched.record, len(source.cas), source.challenges)
        ca = source.cas[number]
        self._store_record(watched, begun(watched.record, now, random.random()), fence)  # noqa: S311
        self._report(watched, "obtaining", ca, f"ordering from {ca.name} by {challenge}", challenge=challenge)
        try:
            issued = self._run_order(watched, fences, ca, challenge, account_key)
        except ACMEError as error:
            self._fail(watched, fence, ca, challenge, error)
        except Over:
            with contextlib.suppress(OSError, StaleFenceError):
                self._store_record(watched, stopped(watched.record), fence)
            raise
        except OSError as error:
            with contextlib.suppress(OSError, StaleFenceError):
                record = put_off(watched.record, time.time(), random.random(), reason=str(error))  # noqa: S311
                self._store_record(watched, record, fence)
            raise
        else:
            self._take(watched, fence, ca, challenge, issued)

    def _run_order(
        self, watched: _Watched, fences: Sequence[Fence], ca: CA, challenge: ChallengeType, account_key: bytes
    ) -> Issued:
        source = watched.source
        extended = time.monotonic()
        # A provider of the user's own may be importable in this process alone.
        ours = source.dns is not None and type(source.dns).__module__.startswith("asgi_tls.")

        def alive() -> None:
            nonlocal extended
            self._alive()
            if time.monotonic() - extended >= _EXTEND:
                extended = time.monotonic()
                for fence in fences:
                    self._storage.extend(fence, _LEASE)
            self._board.mirror()

        def present(asked: Presented) -> None:
            if (dns := source.dns) is not None and asked.challenge == "dns-01":
                meanwhile(lambda: dns.present(asked.name, dns_value(asked.key_authorization)), alive)
                return
            self._board.put_up(asked, fences[0])
            # Until every process and host has mirrored it; http-01 needs the account's key alone.
            since = time.monotonic() if asked.certificate else self._account_made
            while (left := since + 2.2 * MIRROR_SECONDS - time.monotonic()) > 0:
                time.sleep(min(left, MIRROR_SECONDS))
                alive()

        def clean(asked: Presented) -> None:
            if (dns := source.dns) is not None and asked.challenge == "dns-01":
                meanwhile(lambda: dns.clean(asked.name, dns_value(asked.key_authorization)), alive)
            else:
                self._board.take_down(asked, fences[0])

        replaces = watched.record.certificate_id if watched.record.ca == ca.url else None
        request = OrderRequest(source.names, challenge, source.profile, source.key, replaces)
        job = Job(
            ca=ca,
            request=request,
            account_key=account_key,
            account_url=records.read_account(self._storage, ca),
            dns=source.dns if ours and challenge == "dns-01" else None,
            seconds=Job.seconds + (_RECORD_SECONDS * len(source.names) if challenge == "dns-01" else 0.0),
        )
        return agent.order(job, alive=alive, present=present, clean=clean)

    def _take(self, watched: _Watched, fence: Fence, ca: CA, challenge: str, issued: Issued) -> None:
        record = succeeded(
            watched.record,
            time.time(),
            random.random(),  # noqa: S311
            certificate_id=issued.certificate_id,
            ca=ca.url,
            not_before=issued.not_before.timestamp(),
            not_after=issued.not_after.timestamp(),
        )
        watched.record = record
        for note in issued.notes:
            logger.warning("ACME for %s: %s", ", ".join(watched.source.names), note)
        try:
            self._save(watched, fence, issued.pem, record)
            records.store_account(self._storage, ca, issued.account_url, fence)
        except OSError as error:
            # Never ordered again: it is served from memory, and written as soon as that is possible.
            watched.unsaved = issued.pem, record
            watched.source.keep(issued.pem)
            watched.next_look = time.monotonic() + _SAVE_AGAIN
            self._report(watched, "failed", ca, not_stored(ca.name, error), code="acme-storage", challenge=challenge)
        else:
            text = f"{ca.name} has issued a certificate that is valid until {issued.not_after:%Y-%m-%d %H:%M:%S UTC}"
            self._report(watched, "obtained", ca, text, challenge=challenge)
        self._nudge()

    def _save(self, watched: _Watched, fence: Fence, pem: bytes, record: Record) -> None:
        # First: a record alone would promise what is not there.
        self._storage.store(watched.source.certificate_entry, pem, fence)
        self._store_record(watched, record, fence)

    def _save_again(self, watched: _Watched, pem: bytes, record: Record) -> None:
        watched.next_look = time.monotonic() + _SAVE_AGAIN
        with holding(self._storage, watched.source.identifier, _LEASE) as fence:
            if fence is None:
                return
            try:
                self._save(watched, fence, pem, record)
            except StaleFenceError:
                return
        watched.unsaved = None
        watched.source.keep(None)
        self._nudge()

    def _fail(self, watched: _Watched, fence: Fence, ca: CA, challenge: str, error: ACMEError) -> None:
        record = failed(
            watched.record,
            time.time(),
            random.random(),  # noqa: S311
            kind=error.kind,
            reason=error.problem,
            retry_after=error.retry_after,
            settings=watched.source.fingerprint,
        )
        if error.kind == "account-unknown":
            with contextlib.suppress(OSError):
                records.forget_account(self._storage, ca, fence)
        self._store_record(watched, record, fence)
        self._report(watched, "failed", ca, f"{error} {error.more}", code=error.entry, challenge=challenge)

    def _ask_for_window(self, watched: _Watched, fence: Fence) -> None:
        record, now = watched.record, time.time()
        ca = records.issuer_of(watched.source, record)
        if ca is None or record.certificate_id is None or not wants_window(record, now):
            watched.next_look = time.monotonic() + _LONGEST_LOOK
            return
        job = Job(ca=ca, renewal_of=record.certificate_id, seconds=60.0)
        try:
            found = agent.renewal_info(job, alive=self._alive)
        except ACMEError as error:
            logger.debug("no renewal information from %s: %s", ca.name, error)
            found = None
        window = None
        if found is not None:
            start, end = found.start.timestamp(), found.end.timestamp()
            window = Window(certificate_id=record.certificate_id, start=start, end=end)
        wanted = None if found is None else found.retry_after
        after = with_window(record, time.time(), random.random(), window, wanted)  # noqa: S311
        self._store_record(watched, after, fence)
        if after.renew_at != record.renew_at:
            self._report(watched, "scheduled", ca, replacement(ca.name, after.renew_at, found))

    def _account_key(self) -> bytes | None:
        """The account's key, made for the first order; None while another process makes it. Raises OSError."""
        if (known := self._storage.load(ACCOUNT)) is not None:
            return known
        with holding(self._storage, "account", _LEASE) as fence:
            if fence is None:
                return None
            known = self._storage.load(ACCOUNT)
            if known is None:
                known = new_account_key()
                self._storage.store(ACCOUNT, known, fence)
                self._account_made = time.monotonic()
            return known

    def _store_record(self, watched: _Watched, record: Record, fence: Fence) -> None:
        records.store_record(watched.source, record, fence)
        watched.record = record

    def _block(self, watched: _Watched, why: str, until: float) -> None:
        if watched.blocked != why:
            watched.blocked = why
            again = datetime.fromtimestamp(until, UTC)
            ca = watched.source.cas[0]
            self._report(watched, "blocked", ca, f"no order now: {why}.", code="acme-blocked", again_at=again)

    def _report(
        self,
        watched: _Watched,
        action: ACMEAction,
        ca: CA,
        msg: str,
        *,
        code: str | None = None,
        challenge: str | None = None,
        again_at: datetime | None = None,
    ) -> None:
        if action != "blocked":
            watched.blocked = ""
        watched.planned = watched.record.renew_at
        names, record = watched.source.names, watched.record
        self._tell(event_of(names, record, action, ca.name, msg, code=code, challenge=challenge, again_at=again_at))
