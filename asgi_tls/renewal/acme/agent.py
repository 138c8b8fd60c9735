"""One order, in a process of its own: importing certbot's `acme` and waiting for a CA must not hold up who serves.

The child gets its job, which has keys, over its standard input, never by arguments or the environment. It says on its
standard output what it wants, a JSON object a line: `alive`, to `present` or `clean` a challenge; the last one has the
result. It goes on when it has been answered, and ends as soon as its input does: a server that dies takes it along.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from asgi_tls.renewal.acme.answers import RenewalInfo
from asgi_tls.renewal.acme.ca import CA, Issued, OrderRequest
from asgi_tls.renewal.acme.problems import ACMEError, Problem, failure

_SILENCE: Final = 60.0
"""Seconds within which the child says something: it does once a second, and a request takes 30 at most."""
_LARGEST: Final = 1 << 20
_LAST_WORDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a child is to do: order what `request` says; without one, ask when the certificate with the ID `renewal_of`
    is to be replaced.

    `seconds` limits it. `dns` solves dns-01 in the child; what it does not solve is presented by the parent.
    """

    ca: CA
    request: OrderRequest | None = None
    renewal_of: str = ""
    account_key: bytes = field(default=b"", repr=False)
    account_url: str | None = None
    dns: Any = field(default=None, repr=False)
    seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Presented:
    """A challenge to present. `certificate` is the pair of tls-alpn-01, PEM."""

    name: str
    challenge: str
    key_authorization: str
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)


def order(
    job: Job,
    *,
    alive: Callable[[], None],
    present: Callable[[Presented], None],
    clean: Callable[[Presented], None],
) -> Issued:
    """Run an order. `alive` is called about once a second, and ends the order by raising.

    Raises ACMEError, and whatever `alive` and `present` raise.
    """

    def answer(message: Mapping[str, Any]) -> None:
        alive()
        if message["say"] in {"present", "clean"}:
            pair = message["certificate"]
            challenge = Presented(
                name=message["name"],
                challenge=message["challenge"],
                key_authorization=message["key_authorization"],
                certificate=None if pair is None else (_bytes(pair[0]), _bytes(pair[1])),
            )
            (present if message["say"] == "present" else clean)(challenge)

    last = _run(job, answer)
    return Issued(
        pem=_bytes(last["pem"]),
        account_url=last["account_url"],
        certificate_id=last["certificate_id"],
        not_before=_moment(last["not_before"]),
        not_after=_moment(last["not_after"]),
        notes=tuple(last["notes"]),
    )


def renewal_info(job: Job, *, alive: Callable[[], None]) -> RenewalInfo | None:
    """Ask the CA; None where it has no such information. Raises ACMEError."""
    last = _run(job, lambda _message: alive())
    if last["start"] is None:
        return None
    return RenewalInfo(_moment(last["start"]), _moment(last["end"]), last["retry_after"], last["explanation"])


def _run(job: Job, answer: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    """The last message of a child. Answers the others."""
    with _child() as child:
        child.send(pickle.dumps(job))
        end = time.monotonic() + job.seconds + _SILENCE
        while True:
            try:
                line = child.lines.get(timeout=min(_SILENCE, max(end - time.monotonic(), 0.1)))
            except queue.Empty:
                raise failure("timeout", f"the order from {job.ca.name} took too long") from None
            if line is None:
                raise failure("refused", f"the process that orders from {job.ca.name} has ended: {child.last_words()}")
            message = json.loads(line)
            if message["say"] == "done":
                return dict(message)
            if message["say"] == "failed":
                raise _error(message)
            answer(message)
            child.send(b"\n")


class _Child:
    """The process. `lines` has what it says, None at its end."""

    def __init__(self) -> None:
        # -P: whatever the working directory has. Not in our session: Ctrl+C is for the server.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "asgi_tls.renewal.acme.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise failure("refused", f"{sys.executable} cannot be started for the order: {error.strerror}") from None
        self.lines = queue.SimpleQueue[bytes | None]()
        self._printed = b""
        self._readers = [
            threading.Thread(target=read, args=(stream,), name="asgi_tls-acme-order", daemon=True)
            for stream, read in ((self._process.stdout, self._read_lines), (self._process.stderr, self._read_words))
        ]
        for reader in self._readers:
            reader.start()

    def send(self, data: bytes) -> None:
        """Nothing happens where it has ended: its last line says so."""
        with contextlib.suppress(BrokenPipeError):
            stdin: Any = self._process.stdin
            stdin.write(data)
            stdin.flush()

    def last_words(self) -> str:
        """The last line that it printed: Python's own words, such as a package that is not installed."""
        status = self._process.wait()
        # Not for ever: a program that it has started may keep the stream open.
        self._readers[-1].join(_LAST_WORDS)
        printed = self._printed.decode("utf-8", "replace").strip().splitlines()
        return printed[-1][:300] if printed else f"status {status}"

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            stdin: Any = self._process.stdin
            stdin.close()

    def _read_lines(self, stream: BinaryIO) -> None:
        with stream, contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_LARGEST):
                self.lines.put(line)
        self.lines.put(None)

    def _read_words(self, stream: BinaryIO) -> None:
        with stream, contextlib.suppress(OSError, ValueError):
            while some := stream.read1(65536):  # type: ignore[attr-defined]
                self._printed = (self._printed + some)[-4096:]


@contextlib.contextmanager
def _child() -> Iterator[_Child]:
    child = _Child()
    try:
        yield child
    finally:
        child.end()


def _error(message: Mapping[str, Any]) -> ACMEError:
    return ACMEError(
        message["problem"],
        fix=message["fix"],
        kind=message["kind"],
        retry_after=message["retry_after"],
        problems=[Problem(*each) for each in message["problems"]],
    )


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
