"""The shape of a table and its plot: what the page says, whatever the figures are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import Samples
from bench.servers import Contestant


@dataclass(frozen=True)
class Pace:
    """How often everything is repeated. `starts` is how often each server is started again; `only` names the servers
    to measure, if not all."""

    starts: int
    rounds: int
    count: int
    certificates: int
    idle_s: float
    only: frozenset[str] = frozenset()

    def chosen(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Those that are to be measured."""
        return [each for each in contestants if not self.only or each.name in self.only]


# Rather many starts than long ones: the same server differs between two processes by several percent.
FULL = Pace(starts=6, rounds=4, count=60, certificates=2_000, idle_s=15.0)
SHORT = Pace(starts=1, rounds=3, count=10, certificates=100, idle_s=5.0)


@dataclass(frozen=True)
class Column:
    """A quantity, with its unit and the number of decimals. `plot` is the title of its plot, if it has one.

    `compared` columns have a ratio beside them where a way has a base. Less is better, unless `more` is.
    """

    title: str
    digits: int = 0
    factor: float = 1.0
    plot: str = ""
    compared: bool = True
    more: bool = False


@dataclass(frozen=True)
class Table:
    """One section of the page. `bases` has what a way is compared with, `counted` the columns that callgrind fills."""

    name: str
    title: str
    text: str
    columns: Mapping[str, Column]
    first: str = "server"
    bases: Mapping[str, str] = field(default_factory=dict)
    counted: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Some tables that are measured together. `run` gives the samples of each table by its name."""

    name: str
    tables: tuple[Table, ...]
    run: Callable[[Pace], Mapping[str, Samples]]
