"""The listeners that the settings ask for: the log, metrics, the guard."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping
from typing import Any, Final

from asgi_tls.events import Listener
from asgi_tls.listeners.log import JSONLog, log_events

_MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"


def listeners_for(values: Mapping[str, Any]) -> list[Listener]:
    """The log, and the other listeners that the settings ask for. Raises ConfigurationError."""
    listeners: list[Listener] = [JSONLog() if values.get("log_json") else log_events]
    if values.get("metrics"):
        _share_metrics()
        from asgi_tls.listeners.prometheus import PrometheusMetrics

        listeners.append(PrometheusMetrics(address=values["metrics"]))
    if values.get("guard") or values.get("guard_redis"):
        from asgi_tls.listeners.guard import HandshakeGuard

        listeners.append(HandshakeGuard(redis=values.get("guard_redis"), allow=tuple(values.get("guard_allow") or ())))
    return listeners


def _share_metrics() -> None:
    """Workers write their metrics to files, so that whichever is asked answers for all.

    prometheus_client looks for the directory when it is imported, and workers inherit the variable.
    """
    if _MULTIPROCESS in os.environ:
        return
    directory = tempfile.mkdtemp(prefix="asgi-tls-metrics-")
    os.environ[_MULTIPROCESS] = directory
    _remove_at_the_end(directory)


def _remove_at_the_end(directory: str) -> None:
    """When this process ends, also by SIGTERM: uvicorn stops, and then lets the signal do what it did before."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked worker
            shutil.rmtree(directory, ignore_errors=True)

    def end(number: int, _frame: object) -> None:
        remove()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    atexit.register(remove)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
