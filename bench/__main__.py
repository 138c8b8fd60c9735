"""python -m bench [NAME…] [--short] [--count]: measure, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import figures, page
from bench.connections import CONNECTIONS
from bench.figures import Samples
from bench.machine import machine, moment
from bench.manners import MANNERS
from bench.middleware import MIDDLEWARE
from bench.options import OPTIONS
from bench.programs import PROGRAMS
from bench.renewal import CERTIFICATES, RENEWAL
from bench.servers import CONTESTANTS, HEAP
from bench.tables import FULL, SHORT, Table
from bench.tickets import TICKETS
from bench.traffic import TRAFFIC, WORKERS, instructions

MEASUREMENTS = (TRAFFIC, WORKERS, TICKETS, CONNECTIONS, PROGRAMS, OPTIONS, RENEWAL, CERTIFICATES, MANNERS, MIDDLEWARE)
IN_SHORT = ("traffic", "middleware")
DOCS = Path(__file__).parents[1] / "docs"
FIGURES = Path(page.PLACE) / "figures.json"
_MOVED = 0.05


def main() -> None:
    """Measure what is named, or everything. What was measured before on the same machine stays on the page."""
    names, servers = [each.name for each in MEASUREMENTS], [each.name for each in CONTESTANTS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--short", action="store_true", help=f"in a minute: {', '.join(IN_SHORT)}, with a few rounds")
    parser.add_argument("--count", action="store_true", help="count the instructions of the traffic with callgrind")
    parser.add_argument("--page", action="store_true", help="write the page from the last figures, and measure nothing")
    parser.add_argument(
        "--server", action="append", metavar="NAME", default=[], choices=servers, help="; ".join(servers)
    )
    parser.add_argument("--output", type=Path, help="write below this directory (docs; build with --short)")
    options = parser.parse_args()
    if unknown := {*options.names} - {*names}:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    output = options.output or (DOCS.parent / "build" if options.short else DOCS)
    if options.page:
        page.write(output, figures.read(output / FIGURES), MEASUREMENTS)
        return
    os.environ.update(HEAP)
    report = Report(output)
    pace = replace(SHORT if options.short else FULL, only=frozenset(options.server))
    chosen = options.names or (IN_SHORT if options.short else names)
    for measurement in MEASUREMENTS:
        if options.count and measurement is TRAFFIC:
            report.add(measurement.tables, instructions(pace))
        elif measurement.name in chosen and not options.count:
            started = time.monotonic()
            report.add(measurement.tables, measurement.run(pace))
            print(f"({measurement.name}: {time.monotonic() - started:.0f} s)\n", flush=True)


class Report:
    """The figures so far, kept beside the page."""

    def __init__(self, output: Path) -> None:
        self._output, self._path = output, output / FIGURES
        here, before = machine(), figures.read(self._path)
        known = {name: value for name, value in before.get("machine", {}).items() if name in here}
        self._tables: dict[str, Any] = before.get("tables", {}) if known == here else {}
        self._machine = {**here, **moment()}

    def add(self, tables: Sequence[Table], samples: Mapping[str, Samples]) -> None:
        """Print them, and write the page again."""
        for table in tables:
            if table.name in samples:
                self._add(table, samples[table.name])
        results = {"machine": self._machine, "tables": self._tables}
        figures.write(self._path, results)
        page.write(self._output, results, MEASUREMENTS)

    def _add(self, table: Table, samples: Samples) -> None:
        new = figures.summed_up(samples, table.bases)
        old = figures.from_json(self._tables.get(table.name, {}))
        print(f"== {table.title}\n{page.lines(table, new)}")
        for name, row in new.items():
            for key, figure in row.items():
                before = old.get(name, {}).get(key)
                if figure.ratio and before and before.ratio and abs(figure.ratio / before.ratio - 1) > _MOVED:
                    print(f"  {name}, {key}: the ratio is {figure.ratio:.2f}, and was {before.ratio:.2f}")
        merged = {name: {**old.get(name, {}), **new.get(name, {})} for name in {**old, **new}}
        self._tables[table.name] = figures.to_json(merged)


if __name__ == "__main__":
    main()
