"""The directory in which workers share their metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_tls.errors import ConfigurationError
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
