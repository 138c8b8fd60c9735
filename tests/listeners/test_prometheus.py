"""The directory in which workers share their metrics, and those of events that few servers have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import prometheus_client
import pytest

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import (
    ACMEAction,
    ACMEEvent,
    CertificateLoadedEvent,
    ClientErrorEvent,
    ReloadFailedEvent,
    StaplingEvent,
)
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


def test_what_clients_cause_takes_no_room_of_reloads() -> None:
    metrics, value = PrometheusMetrics(), prometheus_client.REGISTRY.get_sample_value
    for number in range(100):
        metrics(ClientErrorEvent(ip=None, port=None, code=f"CODE_{number}", msg="", sni=None, alert=None))
    metrics(ReloadFailedEvent(source="a.pem", code="certificate-expired", msg=""))
    assert value("asgi_tls_reload_failures_total", {"code": "certificate-expired"}) == 1


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


NOT_AFTER, NEXT_UPDATE = (
    "asgi_tls_certificate_not_after_timestamp_seconds",
    "asgi_tls_staple_next_update_timestamp_seconds",
)
NOW = datetime.now(UTC)


def loaded(source: str, days: int, *names: str) -> CertificateLoadedEvent:
    return CertificateLoadedEvent(
        source=source, subject_alt_names=names, not_after=NOW + timedelta(days=days), fingerprint_sha256=""
    )


def stapling(source: str, days: int, *names: str) -> StaplingEvent:
    return StaplingEvent(
        source=source, subject_alt_names=names, fingerprint_sha256="", status="good", msg="",
        next_update=NOW + timedelta(days=days), severity="info",
    )  # fmt: skip


def days_of(metric: str, domain: str) -> dict[str, int]:
    """What is reported of the names below this one."""
    return {
        sample.labels["name"].removesuffix(f".{domain}"): round((sample.value - NOW.timestamp()) / 86400)
        for family in prometheus_client.REGISTRY.collect()
        for sample in family.samples
        if sample.name == metric and sample.labels["name"].endswith(f".{domain}")
    }


def test_names_that_a_renewed_certificate_no_longer_has() -> None:
    metrics, domain = PrometheusMetrics(), "renewed.example"
    a, b, c = (f"{letter}.{domain}" for letter in "abc")
    metrics(loaded("one", 10, a, b, c))
    metrics(stapling("one", 1, a, b, c))
    metrics(loaded("two", 20, c))
    assert days_of(NOT_AFTER, domain) == {"a": 10, "b": 10, "c": 20}
    metrics(loaded("two", 21, c))
    metrics(loaded("one", 30, a))
    # Another source has the last one still. The new response has not come yet.
    assert days_of(NOT_AFTER, domain) == {"a": 30, "c": 21}
    assert days_of(NEXT_UPDATE, domain) == {"a": 1}
    metrics(stapling("one", 3, a))
    metrics(loaded("one", 40, a, b))
    assert days_of(NOT_AFTER, domain) == {"a": 40, "b": 40, "c": 21}
    assert days_of(NEXT_UPDATE, domain) == {"a": 3}
    metrics(loaded("one", 50))
    assert days_of(NOT_AFTER, domain) == {"c": 21}
    assert days_of(NEXT_UPDATE, domain) == {}


def test_several_certificates_in_memory() -> None:
    """They say the same of themselves."""
    metrics, domain, source = PrometheusMetrics(), "memory.example", "PEM data in memory"
    for _ in range(2):  # once more at SIGHUP
        metrics(loaded(source, 10, f"a.{domain}", f"b.{domain}"))
        metrics(loaded(source, 20, f"c.{domain}"))
        assert days_of(NOT_AFTER, domain) == {"a": 10, "b": 10, "c": 20}


def test_names_come_and_go_for_ever() -> None:
    """As many as there may be at a time."""
    metrics, domain = PrometheusMetrics(), "many.example"
    for number in range(400):
        metrics(loaded("many", number, f"www.{domain}", f"{number}.{domain}"))
    assert days_of(NOT_AFTER, domain) == {"www": 399, "399": 399}
