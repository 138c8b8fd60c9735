"""What a soak saw of a server: what it lost, what it used, and what it said that nobody expected."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from launch import Launch
from traffic import Address, Loss

# What a process may use more at the end than after its warm-up: what the noise of the traffic is.
MORE_MEMORY: Final = 4.0  # MiB
MORE_DESCRIPTORS: Final = 10
MORE_THREADS: Final = 3
_WARM: Final = 120.0  # seconds that a run needs for that
# The shares of the run that are compared: the time after the warm-up, and the end.
_FIRST: Final = (0.3, 0.5)
_LAST: Final = (0.8, 1.0)

_CODES: Final = {
    "CERTIFICATE_VERIFY_FAILED", "CONNECTION_CLOSED", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "HANDSHAKE_TIMEOUT",
    "HTTP_REQUEST", "NO_APPLICATION_PROTOCOL", "NO_DATA", "TLSV1_ALERT_UNKNOWN_CA", "UNSUPPORTED_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}  # fmt: skip
_MESSAGES: Final = (
    r"Redis does not answer, so each process counts failed handshakes for itself: (Connection|Timeout)Error",
    r"reloaded: no file has changed",
    r"watching \d directories failed: No such file or directory",  # that of a certificate before the last
    r"Redis answers again: failed handshakes are counted for all servers",
)
_OURS: Final = (
    r"OpenSSL .* cannot do the .*key exchanges? ",
    r"SIGHUP: reloading the certificates of \d workers?; to change settings, restart the server",
    r"privkey\.pem renewed; workers that start later get it",
)
_UVICORN: Final = "|".join((
    "Started parent process", "Started server process", "Waiting for application startup",
    "Application startup complete", "Uvicorn running", r"Child process \[\d+\] died", "Waiting for child process",
    "connection open", "connection closed", r'.* "WebSocket /" \[accepted\]', "Received SIGTERM, exiting",
    "Terminated child process", "Stopping parent process", "Shutting down", "Waiting for connections to close",
    "Waiting for background tasks", "Waiting for application shutdown", "Application shutdown complete",
    "Finished server process",
))  # fmt: skip
_GUNICORN: Final = "|".join((
    "Starting gunicorn", "Listening at", "Using worker", "Control socket listening", "Booting worker",
    "ASGI server listening", "Handling signal: term", "ASGI lifespan", "Worker exiting",
    "Worker shutting down", "Shutting down",
))  # fmt: skip
_STAMP: Final = r"^\[[^]]+\] \[\d+\] "
_LINES: Final = {
    "uvicorn": (f"^INFO: +({_UVICORN})",),
    "gunicorn": (
        rf"{_STAMP}\[INFO\] ({_GUNICORN})",
        rf"{_STAMP}\[ERROR\] Worker \(pid:\d+\) was sent SIG(KILL! Perhaps out of memory\?|TERM!)",
    ),
    "hypercorn": (rf"{_STAMP}\[INFO\] Running on https://",),
}


def is_expected(line: str, launch: Launch) -> bool:
    """Whether a server may print this line during a soak."""
    if not line.startswith("{"):
        return any(re.search(pattern, line) for pattern in (*_LINES[launch.server], *_OURS))
    event = json.loads(line)
    match event["event"]:
        case "tls_session" | "tls_certificate_loaded" | "tls_guard":
            return True
        case "tls_client_error":
            return event["code"] in _CODES
        case "tls_stapling":
            return event["status"] in {"good", "unreachable", "expired"}
        case "log":
            return any(re.match(pattern, event["msg"]) for pattern in _MESSAGES)
    return False


@dataclass(frozen=True)
class Sample:
    """What a process used at a time of `time.monotonic`. Memory is what is resident, in MiB."""

    at: float
    memory: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Killed:
    """A worker that was killed, and the clients that it was connected to."""

    pid: int
    at: float
    clients: frozenset[Address]

    def had(self, loss: Loss) -> bool:
        """Whether this explains the loss."""
        return loss.begin <= self.at <= loss.end and not self.clients.isdisjoint(loss.addresses)


@dataclass
class Report:
    """What came of a run. `problems` is empty where all is well."""

    launch: Launch
    seconds: float = 0.0
    visits: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    losses: list[Loss] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    killed: list[Killed] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    """Events in the log, by name and kind."""
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> list[Loss]:
        """Without the connections of killed workers."""
        return [loss for loss in self.losses if not any(each.had(loss) for each in self.killed)]

    def judge(self, log: Sequence[str]) -> None:
        """Add what is wrong to the problems. `log` is what the server has printed."""
        self.problems += [f"lost: {loss.kind} after {loss.end - loss.begin:.2f} s: {loss.error}" for loss in self.lost]
        for line in log:
            if line.startswith("{"):
                event = json.loads(line)
                kind = next((event[name] for name in ("code", "status", "action") if name in event), "")
                self.told[f"{event['event']} {kind}".strip()] += 1
        unexpected = [line for line in log if not is_expected(line, self.launch)]
        self.problems += [f"unexpected in the log: {line[:300].rstrip()}" for line in unexpected]
        for pid, first, last in self.compared():
            for what, before, after, more in (
                ("MiB", first.memory, last.memory, MORE_MEMORY),
                ("descriptors", first.descriptors, last.descriptors, MORE_DESCRIPTORS),
                ("threads", first.threads, last.threads, MORE_THREADS),
            ):
                if after > before + more:
                    self.problems.append(
                        f"process {pid} grows: {before:.1f} {what} after its warm-up, {after:.1f} later"
                    )

    def compared(self) -> list[tuple[int, Sample, Sample]]:
        """Each process that lived all the time: what it used after its warm-up, and at the end. None in a short run."""
        if self.seconds < _WARM:
            return []
        begin = min((each[0].at for each in self.samples.values()), default=0.0)
        found = []
        for pid, samples in self.samples.items():
            windows = []
            for since, until in (_FIRST, _LAST):
                times = begin + since * self.seconds, begin + until * self.seconds
                windows.append([each for each in samples if times[0] <= each.at <= times[1]])
            if all(windows) and samples[0].at < begin + _FIRST[0] * self.seconds:
                found.append((pid, _typical(windows[0]), _typical(windows[1])))
        return found

    def _tenths(self, pid: int) -> list[str]:
        samples = self.samples[pid]
        size = max(len(samples) // 10, 1)
        return [f"{_typical(samples[at : at + size]).memory:.0f}" for at in range(0, len(samples), size)]

    def __str__(self) -> str:
        lines = [
            f"{self.launch}, {self.seconds:.0f} s",
            "  visits: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.visits.items())),
            f"  {sum(self.visits.values())} in all, {self.resumed} sessions resumed; {len(self.lost)} lost, and "
            f"{len(self.losses) - len(self.lost)} with the worker that they were connected to",
            "  meanwhile: " + ", ".join(f"{count} {what}" for what, count in sorted(self.happened.items())),
        ]
        lines.append("  events: " + ", ".join(f"{count} {event}" for event, count in sorted(self.told.items())))
        for pid, first, last in self.compared():
            lines.append(
                f"  process {pid}: {first.memory:.1f} to {last.memory:.1f} MiB, "
                f"{first.descriptors} to {last.descriptors} descriptors, {first.threads} to {last.threads} threads; "
                f"MiB in each tenth of the time: {' '.join(self._tenths(pid))}"
            )
        memory = [self.samples[each.pid][-1].memory for each in self.killed if each.pid in self.samples]
        if memory:
            lines.append("  workers when they were killed, MiB: " + " ".join(f"{each:.0f}" for each in memory))
        alike: dict[str, list[str]] = {}
        for problem in self.problems:
            alike.setdefault(re.sub(r"\d+", "0", problem)[:40], []).append(problem)
        lines += [f"  PROBLEM ({len(each)} times): {each[0]}" for each in alike.values()]
        return "\n".join(lines)


def _typical(samples: Sequence[Sample]) -> Sample:
    """The medians, but the least memory: downloads that are under way add to it."""
    return Sample(
        statistics.median(each.at for each in samples),
        min(each.memory for each in samples),
        int(statistics.median(each.descriptors for each in samples)),
        int(statistics.median(each.threads for each in samples)),
    )
