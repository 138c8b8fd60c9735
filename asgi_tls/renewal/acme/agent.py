"""One order, in a process of its own: importing certbot's `acme` and waiting for a CA must not hold up who serves.

The child gets its job, which has keys, over its standard input, never by arguments or the environment. It says on its
standard output what it wants, a JSON object a line: `alive`, to `present` or `clean` a challenge; the last one has the
result. It goes on when it has been answered, and ends as soon as its input does: a server that dies takes it along.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Literal

from asgi_tls.renewal.acme.ca import CA
from asgi_tls.renewal.acme.problems import ACMEError, Problem, failure

logger = logging.getLogger("asgi_tls")

_SILENCE: Final = 60.0
"""Seconds within which the child says something: it does once a second, and a request takes 30 at most."""
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a child is to do: an order, or a question about the certificate `replaces` ("renewal-info").

    `seconds` limits it. `dns` solves dns-01 in the child; what it does not solve is presented by the parent.
    """

    kind: Literal["order", "renewal-info"]
    ca: CA
    names: tuple[str, ...] = ()
    challenge: str = "http-01"
    profile: str | None = None
    key: str = "ecdsa"
    replaces: str | None = None
    account_key: bytes = field(default=b"", repr=False)
    account_url: str | None = None
    dns: Any = field(default=None, repr=False)
    seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of an order. `pem` has the chain and the key; times are aware."""

    pem: bytes = field(repr=False)
    account_url: str
    certificate_id: str | None
    not_before: datetime
    not_after: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Presented:
    """A challenge to present. `certificate` is the pair of tls-alpn-01, PEM."""

    name: str
    challenge: str
    token: str
    key_authorization: str
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """When the CA wants the certificate to be replaced, in seconds since 1970, and when to ask again, in seconds."""

    start: float
    end: float
    retry_after: float | None


def order(
    job: Job,
    *,
    alive: Callable[[], None],
    present: Callable[[Presented], None],
    clean: Callable[[Presented], None],
) -> Result:
    """Run an order. `alive` is called about once a second, and ends the order by raising.

    Raises ACMEError, and whatever `alive` and `present` raise.
    """

    def answer(message: Mapping[str, Any]) -> None:
        alive()
        if message["say"] in {"present", "clean"}:
            pair = message.get("certificate")
            challenge = Presented(
                name=message["name"],
                challenge=message["challenge"],
                token=message["token"],
                key_authorization=message["key_authorization"],
                certificate=None if pair is None else (_bytes(pair[0]), _bytes(pair[1])),
            )
            (present if message["say"] == "present" else clean)(challenge)

    last = _run(job, answer)
    return Result(
        pem=_bytes(last["pem"]),
        account_url=last["account_url"],
        certificate_id=last["certificate_id"],
        not_before=datetime.fromtimestamp(last["not_before"], UTC),
        not_after=datetime.fromtimestamp(last["not_after"], UTC),
        notes=tuple(last["notes"]),
    )


def renewal_info(job: Job, *, alive: Callable[[], None]) -> Suggestion | None:
    """Ask the CA; None where it has no such information. Raises ACMEError."""
    last = _run(job, lambda _message: alive())
    if last["start"] is None:
        return None
    return Suggestion(start=last["start"], end=last["end"], retry_after=last["retry_after"])


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
        for stream, read in ((self._process.stdout, self._read_lines), (self._process.stderr, self._read_words)):
            threading.Thread(target=read, args=(stream,), name="asgi_tls-acme-order", daemon=True).start()

    def send(self, data: bytes) -> None:
        """Nothing happens where it has ended: its last line says so."""
        with contextlib.suppress(BrokenPipeError):
            stdin: Any = self._process.stdin
            stdin.write(data)
            stdin.flush()

    def last_words(self) -> str:
        """The last line that it printed: Python's own words, such as a package that is not installed."""
        status = self._process.wait()
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
