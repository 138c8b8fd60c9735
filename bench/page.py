"""docs/benchmarks.md and its plots, from the figures of the last runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plot
from bench.figures import Figure, Figures, from_json
from bench.tables import Column, Measurement, Table

PLACE = "benchmarks"
"""The directory of the plots and the figures, beside the page."""

_HEAD = """# Benchmarks

What a server costs with asgi_tls, beside the plain server, other servers and proxies. `make bench` makes this page.

- Compare the ratios: times depend on the machine. The ratio of a server with asgi_tls is to its plain server.
- CPU is that of the operating system for all processes and threads of a server, in user and kernel mode, and with a
  proxy also that of the application behind it. The client is not counted.
- Each server is started alone and warmed up. Then it takes turns with the one that it is compared with, so that other
  load on the machine affects both; those that do not have their turn are idle. Figures are medians of the rounds, with
  the quartiles behind them; a ratio is the median of the ratios within each round.
- Instructions are those of the server in user mode for the same work (`make bench COUNT=1`, callgrind), less those of
  the same server while it is idle. They do not depend on the load of the machine, and leave out the kernel, caches and
  waits. glibc is set to copy without `rep movsb`, whose instructions callgrind counts for each byte.
- All use one certificate (ECDSA P-256, with its intermediate) and the same smallest application. The plain servers have
  their default TLS settings, asgi_tls its default profile, the proxies what `asgi-tls export` writes. hypercorn and
  granian run on uvloop, gunicorn with its ASGI worker, the proxies in front of uvicorn on uvloop. All keep an idle
  connection open. gunicorn's workers [share memory](internals.md#an-idle-connection) with their parent (`gc.freeze`).
- asgi_tls sends one session ticket for a new connection, where OpenSSL would send two.
- asyncio has a buffer of 256 KiB for each connection. Where it lies at the end of the heap, which chance decides for
  each process, glibc gives it back and takes it again each time. `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_`
  are set so that no server does.

"""


def page(results: Mapping[str, Any], measurements: Sequence[Measurement]) -> str:
    """The whole page."""
    return _HEAD + "".join(f"{part}\n" for part in _parts(results, measurements)).rstrip() + "\n"


def _parts(results: Mapping[str, Any], measurements: Sequence[Measurement]) -> Iterator[str]:
    yield from ["## The machine", "", "| | |", "|---|---|"]
    yield from (f"| {name} | {value} |" for name, value in results.get("machine", {}).items())
    yield ""
    for table in (table for measurement in measurements for table in measurement.tables):
        if table.name in results.get("tables", {}):
            yield from [f"## {table.title}", "", table.text, ""]
            for key, column in table.columns.items():
                if column.plot:
                    yield from [f"![{column.plot}]({PLACE}/{table.name}-{key}.svg)", ""]
            yield from _lines(table, from_json(results["tables"][table.name]))
            yield ""


def plots(results: Mapping[str, Any], measurements: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """The name and text of each file."""
    for table in (table for measurement in measurements for table in measurement.tables):
        figures = from_json(results.get("tables", {}).get(table.name, {}))
        for key, column in table.columns.items():
            rows = {name: row[key] for name, row in figures.items() if key in row}
            if column.plot and rows:
                bars = [
                    plot.Bar(
                        label=name.replace("`", ""), text=_number(it.median, column), ours=_is_ours(name),
                        value=column.factor * it.median, low=column.factor * it.low, high=column.factor * it.high,
                    )
                    for name, it in rows.items()
                ]  # fmt: skip
                yield f"{table.name}-{key}.svg", plot.draw(column.plot, bars, more=column.more)


def write(directory: Path, results: Mapping[str, Any], measurements: Sequence[Measurement]) -> None:
    """The page and its plots, below `directory`."""
    (directory / PLACE).mkdir(parents=True, exist_ok=True)
    for name, text in plots(results, measurements):
        (directory / PLACE / name).write_text(text, encoding="utf-8")
    (directory / f"{PLACE}.md").write_text(page(results, measurements), encoding="utf-8")


def lines(table: Table, figures: Figures) -> str:
    """A table for the terminal."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _lines(table, figures)]
    del rows[1]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)


def _is_ours(name: str) -> bool:
    return name.startswith(("asgi-tls", "TLSMiddleware", "SecurityHeadersMiddleware"))


def _lines(table: Table, figures: Figures) -> Iterator[str]:
    """In Markdown. A table with more columns than rows is turned."""
    used = [key for key in (*table.columns, *table.counted) if any(key in row for row in figures.values())]
    columns = {**table.columns, **table.counted}
    cells = [[table.first, *(title for key in used for title in _titles(columns[key], figures, key))]]
    for name, row in figures.items():
        cells.append([name, *(cell for key in used for cell in _cells(columns[key], figures, key, row.get(key)))])
    if len(figures) < len(used):
        cells = [list(each) for each in zip(*cells, strict=True)]
    yield f"| {' | '.join(cells[0])} |"
    yield "|---" + "|---:" * (len(cells[0]) - 1) + "|"
    yield from (f"| {' | '.join(row)} |" for row in cells[1:])


def _titles(column: Column, figures: Figures, key: str) -> list[str]:
    return [column.title, *(["quartiles"] if _varies(figures, key) else []), *(["ratio"] if column.compared else [])]


def _cells(column: Column, figures: Figures, key: str, figure: Figure | None) -> list[str]:
    if figure is None:
        return [""] * len(_titles(column, figures, key))
    cells = [_number(figure.median, column)]
    if _varies(figures, key):
        cells.append(f"{_number(figure.low, column)} to {_number(figure.high, column)}")
    if column.compared:
        cells.append("" if figure.ratio is None else f"{figure.ratio:.2f}")
    return cells


def _varies(figures: Figures, key: str) -> bool:
    """Whether there is a spread to show."""
    return len(figures) > 2 and any(row[key].low != row[key].high for row in figures.values() if key in row)


def _number(value: float, column: Column) -> str:
    return f"{value * column.factor:,.{column.digits}f}"
