"""The soak of `make soak`, in short."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch import Launch
from soak import Pace, Soak
from traffic import KINDS

pytestmark = [pytest.mark.system, pytest.mark.long]

QUICK = Pace(renewal=0.5, kill=2.5, outage=3.0, outage_lasts=1.5, jump=1.5)


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop", 2), Launch("gunicorn", "asgi", 2)], ids=str)
def test_nothing_is_lost_but_what_a_killed_worker_had(launch: Launch, tmp_path: Path) -> None:
    """Python checks its own allocations, too."""
    report = Soak(launch, tmp_path, QUICK).run(5.0, env={"PYTHONMALLOC": "debug"})
    assert not report.problems, str(report)
    assert report.visits.keys() == {kind.__name__.lower() for kind, _ in KINDS}
    assert report.resumed, str(report)
    assert report.told.keys() >= {"tls_session", "tls_certificate_loaded", "tls_client_error HTTP_REQUEST"}, str(report)
