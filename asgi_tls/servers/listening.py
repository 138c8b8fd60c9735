"""The listeners that the settings ask for: the log, metrics, the guard."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import Listener
from asgi_tls.listeners import shared_metrics
from asgi_tls.listeners.log import JSONLog, log_events
from asgi_tls.servers.addresses import Address, check_free

logger = logging.getLogger("asgi_tls")


def listeners_for(values: Mapping[str, Any]) -> list[Listener]:
    """The log, and the other listeners that the settings ask for. Raises ConfigurationError."""
    listeners: list[Listener] = [JSONLog() if values.get("log_json") else log_events]
    if values.get("metrics"):
        shared_metrics.share()
        from asgi_tls.listeners.prometheus import PrometheusMetrics

        listeners.append(PrometheusMetrics(address=values["metrics"]))
    if values.get("guard") or values.get("guard_redis"):
        from asgi_tls.listeners.guard import HandshakeGuard

        listeners.append(HandshakeGuard(redis=values.get("guard_redis"), allow=tuple(values.get("guard_allow") or ())))
    elif values.get("guard_allow") and "guard" not in values:
        raise ConfigurationError(
            "{guard_allow} is set without {guard}",
            fix="Set {guard} as well, or remove {guard_allow}.",
            settings=("guard_allow", "guard"),
        )
    return listeners


def check_metrics(values: Mapping[str, Any], own: Iterable[Address]) -> None:
    """Before the first worker starts: can the metrics be served? `own` are the addresses of the server itself.

    Raises ConfigurationError.
    """
    if not values.get("metrics"):
        return
    from asgi_tls.listeners.prometheus import are_served, parse_address

    metrics = Address(*parse_address(values["metrics"]))
    others = {address.port: "the server's own port" for address in own}
    if "redirect_port" in values:
        others[values["redirect_port"]] = "{redirect_port}"
    if metrics.port in others:
        raise ConfigurationError(
            f"{{metrics}} is {metrics}, and {metrics.port} is {others[metrics.port]}",
            fix="Choose another port for the metrics, such as 9464.",
            settings=("metrics", "redirect_port"),
        )
    check_free([metrics], but_for=errno.EADDRINUSE)
    # A server that was stopped gives its TLS port back at once, and its metrics when its last connection has ended.
    if are_served(metrics.host, metrics.port):
        logger.warning("another server serves its metrics on %s: those of this one follow when it has ended", metrics)
    else:
        check_free([metrics])  # it may have ended in this moment
