"""The page of benchmarks is made by `make bench`: from the figures to the tables and plots."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from documents import REPOSITORY

DOCS = REPOSITORY / "docs"
SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {"processor": "one", "Python": "CPython <3> & OpenSSL"}


def bench(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def figure(median: float, spread: float = 0.0, ratio: float | None = None) -> dict[str, Any]:
    return {"median": median, "low": median - spread, "high": median + spread, "ratio": ratio}


def page_of(tables: dict[str, Any], directory: Path) -> str:
    """The page for these figures."""
    (directory / "benchmarks").mkdir()
    text = json.dumps({"machine": MACHINE, "tables": tables})
    (directory / "benchmarks/figures.json").write_text(text, encoding="utf-8")
    bench("--page", "--output", str(directory))
    return (directory / "benchmarks.md").read_text(encoding="utf-8")


def test_the_page_is_that_of_its_figures(tmp_path: Path) -> None:
    """Somebody has changed one of them by hand, or the texts: run `python -m bench --page`."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/figures.json").write_bytes((DOCS / "benchmarks/figures.json").read_bytes())
    bench("--page", "--output", str(tmp_path))
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path: (DOCS / path).read_bytes() for path in made}
    assert made == kept
    assert {path.name for path in (DOCS / "benchmarks").iterdir()} == {path.name for path in made} - {"benchmarks.md"}


def test_a_table_has_medians_quartiles_and_ratios(tmp_path: Path) -> None:
    figures = {
        "uvicorn, uvloop": {"cpu": figure(0.0005, 1e-5), "instructions": figure(3_200_000)},
        "asgi-tls uvicorn, uvloop": {"cpu": figure(0.00051, 2e-5, 1.02), "instructions": figure(3_120_000, 0, 0.975)},
        "granian": {"cpu": figure(0.0002, 1e-5)},
    }
    text = page_of({"handshake": figures}, tmp_path)
    assert "| Python | CPython <3> & OpenSSL |" in text
    assert "| server | CPU, µs | quartiles | ratio | instructions, k | ratio |" in text
    assert "| asgi-tls uvicorn, uvloop | 510 | 490 to 530 | 1.02 | 3,120 | 0.97 |" in text
    assert "| granian | 200 | 190 to 210 |  |  |  |" in text
    assert "## Downloads" not in text


def test_a_table_with_more_columns_than_rows_is_turned(tmp_path: Path) -> None:
    keys = ("start", "memory", "idle", "renewal")
    text = page_of({"certificates": {name: dict.fromkeys(keys, figure(1)) for name in ("10", "2,000")}}, tmp_path)
    assert "| certificates | 10 | 2,000 |" in text
    assert "| start, s | 1.00 | 1.00 |" in text


def test_a_plot_is_drawn_to_scale_for_light_and_dark(tmp_path: Path) -> None:
    figures = {"plain <server>": {"cpu": figure(0.0002)}, "asgi-tls server": {"cpu": figure(0.0004, 0.0001)}}
    page_of({"handshake": figures}, tmp_path)
    text = (tmp_path / "benchmarks/handshake-cpu.svg").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    root = ET.fromstring(text)
    plain, ours = (each for each in root.iter(f"{SVG}rect") if "bar" in each.attrib["class"])
    assert "ours" in ours.attrib["class"]
    assert "ours" not in plain.attrib["class"]
    assert float(ours.attrib["width"]) == pytest.approx(2 * float(plain.attrib["width"]), abs=0.2)
    assert len([*root.iter(f"{SVG}line")]) == 2  # the axis, and the one spread that there is
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"plain <server>", "asgi-tls server", "200", "400"} <= {*texts}
    widths = [float(each.attrib["x"]) for each in root.iter(f"{SVG}text")]
    assert max(widths) < float(root.attrib["width"]) - 20


def test_a_short_measurement(tmp_path: Path) -> None:
    out = bench("middleware", "--short", "--output", str(tmp_path))
    assert "TLSMiddleware" in out
    found = json.loads((tmp_path / "benchmarks/figures.json").read_text(encoding="utf-8"))
    row = found["tables"]["middleware"]["TLSMiddleware"]["total"]
    assert 0 < row["low"] <= row["median"] <= row["high"]
    assert (tmp_path / "benchmarks/middleware-cost.svg").exists()
    assert "## Middleware" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.system
def test_a_short_measurement_of_servers_and_a_proxy(tmp_path: Path) -> None:
    servers = ("uvicorn, uvloop", "asgi-tls uvicorn, uvloop", "nginx and uvicorn")
    bench("traffic", "--short", "--output", str(tmp_path), *(f"--server={name}" for name in servers))
    found = json.loads((tmp_path / "benchmarks/figures.json").read_text(encoding="utf-8"))["tables"]
    assert {*found} == {"handshake", "resumption", "request", "download", "start"}
    for table in found.values():
        assert tuple(table) == servers
        assert all(row["cpu"]["median"] > 0 for row in table.values())
        ratios = [name for name, row in table.items() if row["cpu"]["ratio"] is not None]
        assert ratios == ["asgi-tls uvicorn, uvloop"]
