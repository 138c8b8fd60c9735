"""The directory in which workers share their metrics, and those of events that few servers have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import prometheus_client
import pytest

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import ACMEAction, ACMEEvent
from asgi_tls.listeners.prometheus import PrometheusMetrics


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = PrometheusMetrics()  # imports prometheus_client, which must not see the variable
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match=f"PROMETHEUS_MULTIPROC_DIR={tmp_path}: can be written by others"):
        metrics.start(lambda _: None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="none: No such file or directory"):
        metrics.start(lambda _: None)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    metrics.start(lambda _: None)


def test_orders_are_counted_and_the_moments_are_kept_by_name() -> None:
    names, now = ("metrics.example.test", "www.metrics.example.test"), datetime.now(UTC)
    metrics, value = PrometheusMetrics(), prometheus_client.REGISTRY.get_sample_value
    renew_at = now + timedelta(days=60)

    def tell(action: ACMEAction, code: str | None, renew_at: datetime | None) -> None:
        metrics(
            ACMEEvent(
                names=names, action=action, directory="letsencrypt", challenge="http-01", code=code, msg="",
                again_at=None, renew_at=renew_at, severity="info",
            )
        )  # fmt: skip

    steps: list[tuple[ACMEAction, str | None]] = [("obtaining", None), ("failed", "acme-caa"), ("obtained", None)]
    before = [value("asgi_tls_acme_total", {"action": action, "code": code or ""}) or 0.0 for action, code in steps]
    for action, code in steps:
        tell(action, code, None)
    for (action, code), count in zip(steps, before, strict=True):
        assert value("asgi_tls_acme_total", {"action": action, "code": code or ""}) == count + 1
    for name in names:
        issued_at = value("asgi_tls_acme_success_timestamp_seconds", {"name": name})
        assert issued_at is not None
        assert issued_at >= now.timestamp()
        assert value("asgi_tls_acme_renewal_timestamp_seconds", {"name": name}) == 0
    tell("scheduled", None, renew_at)
    for name in names:
        assert value("asgi_tls_acme_renewal_timestamp_seconds", {"name": name}) == renew_at.timestamp()
        assert value("asgi_tls_acme_success_timestamp_seconds", {"name": name}) == issued_at
