"""`make fuzz SECONDS=600`: feed what parses bytes from outside with what a coverage-guided fuzzer makes of its seeds.

Each target of `tests/support/fuzz_targets.py` gets its share of the time, in a process of its own. What it learned is
kept in `.fuzz/`, so that the next run goes on from there. An input that makes one fail is kept there too, and named.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
KEPT: Final = REPOSITORY / ".fuzz"
_SLOWEST: Final = 10  # seconds that one input may take
_LARGEST: Final = 16384


def main() -> int:
    """The exit status: 1 if a target failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together")
    parser.add_argument("--only", help="one target")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        fuzz(arguments.inside, arguments.seconds)
        return 0
    from fuzz_targets import TARGETS

    chosen = [target.name for target in TARGETS if arguments.only in {None, target.name}]
    if not chosen:
        parser.error(f"--only is one of {', '.join(target.name for target in TARGETS)}")
    share = max(1, arguments.seconds // len(chosen))
    return max(watch(name, share) for name in chosen)


def watch(name: str, seconds: int) -> int:
    """Fuzz one target in a process of its own, and print a line about it."""
    command = [sys.executable, "-P", __file__, "--inside", name, "--seconds", str(seconds)]
    with tempfile.TemporaryDirectory() as scratch:  # an input that ends the process leaves its file there
        environment = {**os.environ, "TMPDIR": scratch}
        said = Path(scratch, "said")
        # Not through a pipe: what this process holds counts, for libFuzzer, as the memory of those that it starts.
        with said.open("wb") as output:
            done = subprocess.run(command, stdout=output, stderr=output, check=False, env=environment)
        with said.open("rb") as output:
            output.seek(max(0, said.stat().st_size - 3000))
            end = output.read().decode(errors="replace")
    if done.returncode == 0:
        runs = next((line.split()[1] for line in end.splitlines() if line.startswith("Done ")), "?")
        print(f"{name:20} {runs:>10} inputs in {seconds} s", flush=True)
        return 0
    print(f"{name:20} FAILED\n{end}", flush=True)
    return 1


def fuzz(name: str, seconds: int) -> None:
    """Run atheris, which ends the process: with status 0 when the time is over."""
    import atheris

    with atheris.instrument_imports(include=["asgi_tls"]):
        from fuzz_targets import TARGETS

    target = next(each for each in TARGETS if each.name == name)
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={_SLOWEST}",
        f"-max_len={_LARGEST}",
        f"-artifact_prefix={KEPT}/{name}-",
        "-rss_limit_mb=1024",
    ]
    atheris.Setup([importlib.metadata.version("atheris"), *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY / "tests/support"))
    sys.exit(main())
