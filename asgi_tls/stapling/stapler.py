"""The current OCSP responses, and the thread that refreshes them: one for each context, so one in each worker.

A response on disk is used when its certificate is loaded, before it is served, so the first client gets it. Otherwise
the thread fetches one. Only a must-staple certificate, or any certificate if stapling is required, waits for it. The
workers of a host use a lock and look at the disk before they send a request: one of them asks for all.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from asgi_tls import _openssl
from asgi_tls.certificate import Certificate
from asgi_tls.context.server_context import ServerContext
from asgi_tls.events import Event, Listener, Severity, StaplingEvent, StaplingStatus
from asgi_tls.listeners.dispatch import in_loop
from asgi_tls.stapling import Stapling
from asgi_tls.stapling.cache import Attempt, Cache
from asgi_tls.stapling.entry import Entry, entry_for, moment, without
from asgi_tls.stapling.fetch import TIMEOUT, FetchError, fetch
from asgi_tls.stapling.schedule import again_after, due_after, is_time

if TYPE_CHECKING:
    from asgi_tls.stapling.ocsp import Answer

logger = logging.getLogger("asgi_tls")

# The clock is checked at least this often: it may be set, or the machine suspended.
_LONGEST_PAUSE: Final = 3600.0
# How long requests for other certificates wait after a responder did not answer.
_SILENCE: Final = 10.0
# A loaded certificate that is not served within this time is not going to be.
_LOADING: Final = 60.0


class Stapler:
    """The OCSP responses for the certificates of one context."""

    def __init__(self, mode: Stapling, *, cache: Cache | None = None) -> None:
        self._mode = mode
        self._cache = Cache() if cache is None else cache
        self._entries: dict[str, Entry] = {}
        self._wake = threading.Event()
        self._tell: Listener | None = None
        self._untold: list[Event] = []
        self._context: Callable[[], ServerContext | None] = lambda: None
        self._thread: threading.Thread | None = None

    def find(self, fingerprint: str) -> bytes | None:
        """The response to staple to this certificate now, DER. Called in handshakes."""
        entry = self._entries.get(fingerprint)
        if entry is None or (staple := entry.staple) is None or time.time() >= staple[1]:
            return None
        return staple[0]

    def vet(self, certificate: Certificate) -> None:
        """Prepare stapling for a certificate that has been loaded, before it is served.

        Raises StaplingError if stapling is required and no good response is available.
        """
        if self._mode == "off":
            return
        entry = self._entries.get(certificate.fingerprint_sha256) or self._enter(certificate)
        if entry is None:
            return
        entry.seen = time.monotonic()
        self._adopt(entry)
        if self._must_have(entry) and self.find(entry.key) is None:
            self._refresh(entry)
        self._ensure_thread()
        self._wake.set()
        if self._mode == "required" and self.find(entry.key) is None:
            why = entry.attempt.msg if entry.attempt else "another process is fetching it"
            raise without(certificate, f"no good OCSP response is available: {why}")

    def vet_only(self, certificate: Certificate) -> None:
        """The same in a process that serves nothing: it keeps what it was asked lately, and reports nothing."""
        self._forget(served=())
        self._untold.clear()
        self.vet(certificate)

    def start(self, context: ServerContext, *, tell: Listener, loop: asyncio.AbstractEventLoop | None) -> None:
        """Refresh responses until the context is gone. `tell` is called in the event loop."""
        self._context = weakref.ref(context, lambda _: self._wake.set())
        self._tell = in_loop(loop, tell)
        untold, self._untold = self._untold, []
        for event in untold:
            self._tell(event)
        self._ensure_thread()

    def _enter(self, certificate: Certificate) -> Entry | None:
        """The entry of a certificate, None if no response can be stapled. Raises StaplingError if one is required."""
        found = entry_for(certificate)
        if isinstance(found, Entry):
            return self._entries.setdefault(found.key, found)
        if self._mode == "required":
            raise without(certificate, found)
        if certificate.must_staple or (certificate.ocsp_url is not None and not _openssl.reachable()):
            self._say(certificate, "unavailable", found, None)
        return None

    def _must_have(self, entry: Entry) -> bool:
        return self._mode == "required" or entry.certificate.must_staple

    def _adopt(self, entry: Entry) -> None:
        """Use the response on disk if it is newer than the current one."""
        attempt = self._cache.attempt(entry.key)
        if attempt is not None and attempt.status == "revoked":
            entry.staple, entry.attempt = None, attempt
            return
        der = self._cache.response(entry.key)
        if der is None or (entry.staple is not None and der == entry.staple[0]):
            return
        from asgi_tls.stapling.ocsp import judge

        answer = judge(der, entry.subject, datetime.now(UTC))
        if answer.is_good:
            self._take(entry, answer)

    def _take(self, entry: Entry, answer: Answer) -> bool:
        """Staple this response from now on, unless it is older than the current one."""
        if answer.der is None or answer.this_update is None or answer.next_update is None:
            return False
        this, until = answer.this_update.timestamp(), answer.next_update.timestamp()
        before = self.find(entry.key)
        if before is not None and this < entry.this_update:
            return False
        entry.staple, entry.this_update, entry.attempt = (answer.der, until), this, None
        entry.due = due_after(this, until, time.time())
        if answer.der != before:
            self._say(entry.certificate, "good", answer.msg, answer.next_update)
        return True

    def _refresh(self, entry: Entry) -> None:
        """Ask the responder, unless a sibling process or another thread has just done so."""
        with entry.lock, self._cache.locked(entry.key, TIMEOUT + 5):
            self._adopt(entry)
            now = time.time()
            if now < entry.due and self.find(entry.key) is not None:
                return
            attempt = self._cache.attempt(entry.key) or entry.attempt
            if attempt is not None and not is_time(attempt.at, attempt.again_at, now, first=not entry.has_asked):
                entry.attempt, entry.due = attempt, max(attempt.again_at, now + 1)
                return
            entry.has_asked = True
            answer = self._ask(entry)
            if answer.der is not None and self._take(entry, answer):
                self._cache.store(entry.key, answer.der)
            elif answer.is_good:
                entry.due = again_after(1, now, None)
            else:
                self._fail(entry, answer, 1 if attempt is None else attempt.failures + 1)

    def _ask(self, entry: Entry) -> Answer:
        from asgi_tls.stapling.ocsp import Answer, build_request, judge

        try:
            der = fetch(entry.url, build_request(entry.subject))
        except FetchError as error:
            return Answer(status=error.status, msg=str(error))
        return judge(der, entry.subject, datetime.now(UTC))

    def _fail(self, entry: Entry, answer: Answer, failures: int) -> None:
        revoked = answer.status == "revoked"
        if revoked:
            entry.staple = None
        now, until = time.time(), None if entry.staple is None else entry.staple[1]
        again = again_after(failures, now, until)
        entry.due = again
        entry.attempt = Attempt(status=answer.status, msg=answer.msg, failures=failures, at=now, again_at=again)
        self._cache.fail(entry.key, entry.attempt, drop=revoked)
        self._say(entry.certificate, answer.status, answer.msg, None if until is None else moment(until))

    def _say(self, certificate: Certificate, status: StaplingStatus, msg: str, next_update: datetime | None) -> None:
        missed = next_update is None and (certificate.must_staple or self._mode == "required")
        severity: Severity = "warning"
        if status == "good":
            severity = "info"
        elif status == "revoked" or missed:
            severity = "error"
        if certificate.must_staple and missed:
            msg = f"{msg}; clients that support must-staple (RFC 7633) refuse the certificate without a response"
        event = StaplingEvent(
            source=certificate.source,
            subject_alt_names=certificate.subject_alt_names,
            fingerprint_sha256=certificate.fingerprint_sha256,
            status=status,
            msg=msg,
            next_update=next_update,
            severity=severity,
        )
        if self._tell is None:
            self._untold.append(event)
        else:
            self._tell(event)

    def _ensure_thread(self) -> None:
        if self._thread is None and self._tell is not None and self._entries:
            self._thread = threading.Thread(target=self._run, name="asgi_tls-stapling", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._prune():
            silent: set[str] = set()  # responders of this round: one that hangs must not delay the others
            for entry in list(self._entries.values()):
                try:
                    self._look(entry, silent)
                except Exception:  # no error may end the stapling permanently
                    logger.exception("fetching the OCSP response for %s failed; retrying", entry.key)
                    entry.due = again_after(1, time.time(), None)
            self._wake.wait(self._pause())
            self._wake.clear()

    def _look(self, entry: Entry, silent: set[str]) -> None:
        self._adopt(entry)
        now = time.time()
        if now >= entry.due and entry.host in silent:
            entry.due = now + _SILENCE
        elif now >= entry.due:
            self._refresh(entry)
            if entry.attempt is not None and entry.attempt.status == "unreachable":
                silent.add(entry.host)
        if entry.staple is not None and time.time() >= (until := entry.staple[1]):
            entry.staple = None
            self._say(entry.certificate, "expired", f"the last response expired at {moment(until):%H:%M:%S UTC}", None)

    def _pause(self) -> float:
        """Seconds until the next refresh, or the end of a response."""
        moments = [entry.due for entry in self._entries.values()]
        moments += [entry.staple[1] for entry in self._entries.values() if entry.staple is not None]
        return max(min([each - time.time() for each in moments] + [_LONGEST_PAUSE]), 0.05)

    def _prune(self) -> bool:
        """Forget certificates that are no longer served. False when the context is gone."""
        context = self._context()
        if context is None:
            return False
        self._forget({each.fingerprint_sha256 for group in context.certificates.values() for each in group})
        return True

    def _forget(self, served: Collection[str]) -> None:
        for key, entry in list(self._entries.items()):
            if key not in served and time.monotonic() - entry.seen > _LOADING:
                del self._entries[key]
