"""When it is reported that a certificate expires."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from files import Files
from pki import DAY

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.trust import RevocationList, TrustAnchor
from asgi_tls.events import CertificateExpiringEvent, ClientCAExpiringEvent, CRLExpiringEvent
from asgi_tls.renewal.expiry import Expiring, ExpiryWatch, stage_at

HOUR, SECOND = DAY / 24, timedelta(seconds=1)
LIFETIMES = {"90 days": 90 * 24.0, "47 days": 47 * 24.0, "160 hours": 160.0}


def lasting(files: Files, hours: float, **changes: str) -> Certificate:
    certificate = files.ecdsa.load()
    return replace(certificate, not_after=certificate.not_before + hours * HOUR, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("hours", LIFETIMES.values(), ids=LIFETIMES)
def test_expiry_is_reported_by_the_share_of_the_lifetime(files: Files, hours: float) -> None:
    certificate, watch = lasting(files, hours), ExpiryWatch()
    seen: list[tuple[float, str]] = []
    for number in range(int(hours) + 3):
        now = certificate.not_before + number * HOUR
        seen += [(number / hours, event.severity) for event in watch.due({"localhost": [certificate]}, now)]
    assert seen[0][0] == pytest.approx(2 / 3, abs=1 / hours)
    assert {severity for share, severity in seen if share < 0.89} == {"warning"}
    assert {severity for share, severity in seen if 0.91 < share < 0.99} == {"error"}
    assert seen[-1][1] == "critical"
    warnings = [share * hours for share, severity in seen if severity == "warning"]
    assert all(later - earlier == pytest.approx(24) for earlier, later in pairwise(warnings))


@pytest.mark.parametrize(
    ("left", "severity"),
    [(0.0, "critical"), (0.001, "error"), (0.1, "error"), (0.101, "warning"), (1 / 3, "warning"), (0.34, None)],
)
def test_the_stages(left: float, severity: str | None) -> None:
    stage = stage_at(left)
    assert (stage and stage.severity) == severity


def test_what_is_reported(files: Files) -> None:
    certificate = lasting(files, 240)
    (event,) = ExpiryWatch().due({"a": [certificate]}, certificate.not_after - 36 * HOUR)
    assert isinstance(event, CertificateExpiringEvent)
    assert (event.source, event.not_after) == (certificate.source, certificate.not_after)
    assert (event.days_left, event.severity) == (1.5, "warning")
    (event,) = ExpiryWatch().due({"a": [certificate]}, certificate.not_after + 6.06 * HOUR)
    assert (event.days_left, event.severity) == (-0.25, "critical")
    (event,) = ExpiryWatch().due({"a": [certificate]}, certificate.not_after + SECOND)
    assert str(event.days_left) == "0.0"


def test_a_list_is_reported_as_a_certificate_is(files: Files) -> None:
    ends = lasting(files, 240).not_after
    one = RevocationList("crl.pem", "CN=Clients", ends - 10 * DAY, ends)
    watch = ExpiryWatch()
    seen = []
    for hours in range(-240, 3):
        now = ends + hours * HOUR
        seen += [(hours, event) for event in watch.due({}, now, [replace(one)])]
    assert [(hours, event.severity) for hours, event in seen] == [
        (-80, "warning"), (-56, "warning"), (-32, "warning"), (-24, "error"), (-18, "error"), (-12, "error"),
        (-6, "error"), (0, "critical"), (1, "critical"), (2, "critical"),
    ]  # fmt: skip
    first, last = seen[0][1], seen[-1][1]
    assert isinstance(first, CRLExpiringEvent)
    assert isinstance(last, CRLExpiringEvent)
    assert (first.source, first.issuer, first.next_update, first.days_left) == ("crl.pem", "CN=Clients", ends, 3.33)
    assert first.msg == (
        f"crl.pem: the CRL of CN=Clients expires on {ends:%Y-%m-%d %H:%M UTC}, in 3.3 days; then every client of this "
        "CA is refused. Fetch the current CRL from the CA, and repeat this regularly."
    )
    assert last.msg.startswith(
        f"crl.pem: the CRL of CN=Clients expired on {ends:%Y-%m-%d %H:%M UTC}: every client of this"
    )


@pytest.mark.parametrize(
    ("left", "words"),
    [(9 * DAY, "in 9.0 days"), (3 * DAY, "in 3.0 days"), (30 * HOUR, "in 30 hours"), (HOUR, "in 60 minutes"),
     (40 * SECOND, "in 1 minutes")],
)  # fmt: skip
def test_what_is_left_is_told_in_the_unit_to_act_by(files: Files, left: timedelta, words: str) -> None:
    ends = lasting(files, 240).not_after
    (event,) = ExpiryWatch().due({}, ends - left, [TrustAnchor("ca.pem", "CN=Clients", ends - 3650 * DAY, ends)])
    assert isinstance(event, ClientCAExpiringEvent)
    assert f", {words}; then" in event.msg


def severities(one: TrustAnchor) -> dict[int, str]:
    """By days before the end, looking each day."""
    watch = ExpiryWatch()
    found: dict[int, str] = {}
    for days in range(40, -1, -1):
        for event in watch.due({}, one.not_after - days * DAY, [one]):
            found[days] = event.severity
    return found


def test_a_ca_of_clients_is_reported_in_its_last_days(files: Files) -> None:
    """Not by a third of ten years. One that lives for hours, as in a mesh, is reported as a certificate is."""
    ends = lasting(files, 240).not_after
    ten_years = TrustAnchor("ca.pem", "CN=Clients", ends - 3650 * DAY, ends)
    assert severities(ten_years) == {
        **dict.fromkeys(range(30, 9, -1), "warning"), **dict.fromkeys(range(9, 0, -1), "error"), 0: "critical"
    }  # fmt: skip
    assert [*severities(replace(ten_years, not_before=ends - 9 * DAY))] == [3, 2, 1, 0]
    watch = ExpiryWatch()
    (first,) = watch.due({}, ends - 8 * DAY, [ten_years])
    (last,) = watch.due({}, ends, [ten_years])
    assert isinstance(first, ClientCAExpiringEvent)
    assert isinstance(last, ClientCAExpiringEvent)
    assert (first.source, first.subject, first.not_after, first.days_left) == ("ca.pem", "CN=Clients", ends, 8)
    assert first.msg == (
        f"ca.pem: the CA CN=Clients expires on {ends:%Y-%m-%d %H:%M UTC}, in 8.0 days; then every client of this CA is "
        "refused. Append the CA's new certificate to the file, and remove this one when no client needs it any more."
    )
    assert last.msg.startswith(f"ca.pem: the CA CN=Clients expired on {ends:%Y-%m-%d %H:%M UTC}: every client of this")


def reported(watch: ExpiryWatch, served: dict[str, list[Certificate]], now: datetime) -> list[Expiring]:
    """What is reported where it is not known that the same are served."""
    return watch.due(dict(served), now)


def test_each_is_reported_once_and_again_at_the_pace_of_its_stage(files: Files) -> None:
    fresh, old = lasting(files, 2400), lasting(files, 240, fingerprint_sha256="old")
    served = {"a": [fresh, old], "b": [old]}
    watch, ends = ExpiryWatch(), old.not_after
    assert [event.severity for event in reported(watch, served, ends - 23 * HOUR)] == ["error"]
    assert reported(watch, served, ends - 17 * HOUR - SECOND) == []
    assert len(reported(watch, served, ends - 17 * HOUR)) == 1
    assert [event.severity for event in reported(watch, served, ends)] == ["critical"]
    assert reported(watch, served, ends + HOUR - SECOND) == []
    assert len(reported(watch, served, ends + HOUR)) == 1
    # What is served no longer is forgotten.
    assert reported(watch, {"a": [fresh]}, ends + HOUR) == []
    assert len(reported(watch, served, ends + HOUR)) == 1


def test_the_same_are_looked_at_once_a_minute(files: Files) -> None:
    certificate = lasting(files, 240)
    served, watch, now = {"a": [certificate]}, ExpiryWatch(), certificate.not_after - 120 * HOUR
    assert watch.due(served, now) == []
    served["a"] = [replace(certificate, not_after=now)]
    assert watch.due(served, now + 59 * SECOND) == []
    assert len(watch.due(served, now + 60 * SECOND)) == 1
    served["a"] = [replace(certificate, not_after=now, fingerprint_sha256="another")]
    assert len(watch.due(served, now)) == 1  # the clock was set back
