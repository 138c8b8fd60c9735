"""Stapling in real servers: one fetch for all workers, warm starts, renewals, and no start without where required."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest
from cryptography.x509 import ocsp
from launch import Launch, split
from patience import PATIENCE, until
from pki import Pair
from ports import free_port
from responder import Responder
from servers import Server, run, serve
from staples import stapled_at

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.errors import ConfigurationError

MANY = [
    Launch("uvicorn", "asyncio", 4),
    Launch("hypercorn", "uvloop", 4),
    Launch("gunicorn", "asgi", 4),
    Launch("gunicorn", "sync", 4),
]
RENEWED = [
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio", 2),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread"),
    Launch("gunicorn", "sync"),
]


def serial_at(server: Server) -> int | None:
    response = stapled_at(server.port)
    return None if response is None else ocsp.load_der_ocsp_response(response).serial_number


@pytest.mark.system
@pytest.mark.parametrize("launch", MANY, ids=str)
def test_one_fetch_for_all_workers_and_a_warm_start(responder: Responder, tmp_path: Path, launch: Launch) -> None:
    pair = responder.leaf()
    source = PEMFiles(*pair.write(tmp_path / "pair"))
    responder.before = lambda _: time.sleep(0.5)
    with launch.start(source, {}) as server:
        until(lambda: server.text.count("good: valid until") == launch.workers, server)
        for _ in range(6):
            assert serial_at(server) == pair.certificate.serial_number
        assert responder.requests == [pair.certificate.serial_number]
    responder.stop()
    with launch.start(source, {}) as server:
        for _ in range(6):  # from the first connection on
            assert serial_at(server) == pair.certificate.serial_number
        assert "Traceback" not in server.text


@pytest.mark.system
@pytest.mark.parametrize("launch", RENEWED, ids=str)
def test_a_renewed_certificate_gets_a_response_of_its_own(responder: Responder, tmp_path: Path, launch: Launch) -> None:
    first, second = responder.leaf(), responder.leaf()
    source = PEMFiles(*first.write(tmp_path / "pair"))

    def is_stapled(pair: Pair) -> bool:
        return all(serial_at(server) == pair.certificate.serial_number for _ in range(2 * launch.workers))

    with launch.start(source, {"reload_interval": "0.5"}) as server:
        until(lambda: is_stapled(first), server)
        second.write(tmp_path / "pair")
        until(lambda: is_stapled(second), server)
        assert sorted(responder.requests) == sorted(pair.certificate.serial_number for pair in (first, second))
        assert "Traceback" not in server.text


@pytest.mark.parametrize(
    "launch",
    split([Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop"), RENEWED[2], RENEWED[0]], {"uvicorn-asyncio-1"}),
    ids=str,
)
def test_required_without_a_response_does_not_start(responder: Responder, tmp_path: Path, launch: Launch) -> None:
    source = PEMFiles(*responder.leaf().write(tmp_path / "pair"))
    responder.answer = responder.made(status=ocsp.OCSPCertStatus.REVOKED)
    command = launch.command(source, {"stapling": "required"})
    status, text = run(command)
    assert status == 3, text
    assert text.count("the CA has revoked the certificate") == 1, text
    assert "Traceback" not in text


def test_required_beside_http3_which_cannot_staple(responder: Responder, tmp_path: Path) -> None:
    tls = ServerTLS(PEMFiles(*responder.leaf().write(tmp_path / "pair")), stapling="required")
    with pytest.raises(ConfigurationError, match="HTTP/3 in hypercorn cannot staple"):
        tls.hypercorn_config(bind="127.0.0.1:0", quic_bind="127.0.0.1:0")


@pytest.mark.system
def test_required_keeps_the_old_pair_until_the_new_one_has_a_response(responder: Responder, tmp_path: Path) -> None:
    first, second = responder.leaf(), responder.leaf()
    source = PEMFiles(*first.write(tmp_path / "pair"))
    launch = Launch("uvicorn", "uvloop")
    with launch.start(source, {"stapling": "required", "reload_interval": "0.3"}) as server:
        assert serial_at(server) == first.certificate.serial_number  # from the first connection on
        del responder.known[second.certificate.serial_number]  # its answer is an empty page
        responder.answer = lambda _: b""
        second.write(tmp_path / "pair")
        until(lambda: "kept the old certificate" in server.text, server)
        assert "no good OCSP response is available" in server.text
        assert serial_at(server) == first.certificate.serial_number
        time.sleep(1.5)  # the files are looked at five times in it
        assert responder.requests.count(second.certificate.serial_number) == 1
        responder.known[second.certificate.serial_number] = second.certificate
        responder.answer = responder.good
        until(lambda: serial_at(server) == second.certificate.serial_number, server)


def test_a_slow_responder_delays_no_start(responder: Responder, tmp_path: Path) -> None:
    source = PEMFiles(*responder.leaf().write(tmp_path / "pair"))
    responder.before = lambda _: time.sleep(60)
    with Launch("uvicorn", "asyncio").start(source, {}) as server:
        assert stapled_at(server.port) is None
        until(lambda: bool(responder.requests), server)
        assert stapled_at(server.port) is None
        assert "OCSP response" not in server.text


def test_json_and_metrics_tell_of_it(responder: Responder, tmp_path: Path) -> None:
    port = free_port()
    source = PEMFiles(*responder.leaf().write(tmp_path / "pair"))
    command = Launch("uvicorn", "asyncio").command(source, {"metrics": f"127.0.0.1:{port}"}, "--tls-log-json")
    with serve(command, ready="running on") as server:
        until(lambda: '"tls_stapling"' in server.text, server)
        line = next(json.loads(line) for line in server.text.splitlines() if '"tls_stapling"' in line)
        assert (line["status"], line["severity"], line["subject_alt_names"]) == (
            "good", "info", ["localhost", "127.0.0.1"],
        )  # fmt: skip
        assert line["next_update"].endswith("Z")
        assert line["msg"].startswith("valid until")
        page = ""

        def has_metrics() -> bool:
            nonlocal page
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).read().decode()
            return 'asgi_tls_stapling_total{status="good"} 1.0' in page

        until(has_metrics, server)
        assert 'asgi_tls_staple_next_update_timestamp_seconds{name="localhost"} 1.' in page
