"""`make soak MINUTES=10`: the soak of `tests/support/soak.py`, on one server after the other, for so long in all."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def main() -> int:
    """The exit status: 1 if there was a problem."""
    sys.path.insert(0, str(REPOSITORY / "tests/support"))
    from soak import LAUNCHES, Pace, Soak

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for all servers together")
    parser.add_argument("--only", help="one server: " + ", ".join(map(str, LAUNCHES)))
    arguments = parser.parse_args()
    chosen = [launch for launch in LAUNCHES if arguments.only in {None, str(launch)}]
    if not chosen:
        parser.error(f"--only is one of {', '.join(map(str, LAUNCHES))}")
    problems = 0
    for launch in chosen:
        with tempfile.TemporaryDirectory() as directory:
            report = Soak(launch, Path(directory), Pace()).run(60 * arguments.minutes / len(chosen))
        print(report, flush=True)
        problems += len(report.problems)
    return min(problems, 1)


if __name__ == "__main__":
    sys.exit(main())
