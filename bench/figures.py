"""What was measured, and how much it varied."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Samples = Mapping[str, Mapping[str, Sequence[float]]]
"""For each way (a server, or a variant) and column, a value for each round."""


@dataclass(frozen=True)
class Figure:
    """A median, the quartiles around it, and the median of what each round was compared with the base."""

    median: float
    low: float
    high: float
    ratio: float | None = None


Figures = Mapping[str, Mapping[str, Figure]]
"""For each way and column."""


def turns(ways: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Let the ways take turns (A B C, A B C, …), so that other load on the machine affects all of them."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for column, value in way().items():
                found[name].setdefault(column, []).append(value)
    return found


def compared(
    ways: Mapping[str, Callable[[], Mapping[str, float]]], bases: Mapping[str, str], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Those that have a base take turns with it alone, so that little time and no other program is between what is
    compared. The ways without a comparison come last, with a quarter of the rounds.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for base in dict.fromkeys(bases.values()):
        group = [base, *(name for name in bases if bases[name] == base)]
        if base in ways and len(there := {name: ways[name] for name in group if name in ways}) > 1:
            found |= turns(there, rounds)
    return found | turns({name: way for name, way in ways.items() if name not in found}, -(-rounds // 4))


def joined(runs: Iterable[Samples]) -> dict[str, dict[str, list[float]]]:
    """The rounds of several runs, in their order."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for name, columns in run.items():
            for column, values in columns.items():
                found.setdefault(name, {}).setdefault(column, []).extend(values)
    return found


def summed_up(samples: Samples, bases: Mapping[str, str]) -> dict[str, dict[str, Figure]]:
    """Medians with their spread, and the ratio to the base, round by round."""
    return {
        name: {
            column: _figure(values, samples.get(bases.get(name, ""), {}).get(column)) for column, values in row.items()
        }
        for name, row in samples.items()
    }


def _figure(values: Sequence[float], base: Sequence[float] | None) -> Figure:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [*values]
    ratio = None
    if base and all(base):
        ratio = statistics.median(mine / its for mine, its in zip(values, base, strict=True))
    return Figure(median, low, high, ratio)


def read(path: Path) -> dict[str, Any]:
    """The file of figures: `machine`, and for each measurement the figures of its last run."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, text: Mapping[str, Any]) -> None:
    """Keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def to_json(figures: Figures) -> dict[str, Any]:
    """Rounded to what is read."""
    return {
        name: {
            column: {key: value if value is None else float(f"{value:.5g}") for key, value in asdict(figure).items()}
            for column, figure in columns.items()
        }
        for name, columns in figures.items()
    }


def from_json(figures: Mapping[str, Any]) -> dict[str, dict[str, Figure]]:
    return {name: {column: Figure(**figure) for column, figure in columns.items()} for name, columns in figures.items()}
