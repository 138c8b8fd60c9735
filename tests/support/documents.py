"""What the documentation tells people to type, taken out of README.md and docs/.

The convention, which tests/test_documents.py holds:

    ```console             commands begin with `$ `, and go on after a backslash; other lines are what they print, and …
                           in them is anything. `# exit status N` at a command's end says that it fails, and how.
    ```console elsewhere   commands for another machine; tests/system/test_documents.py says why, and what tests them
    ```python              compiled, its imports and arguments checked; `# name.py` in the first line names the file
    ```text, ```json, …    shown, not run
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "demo_app").rglob("*.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r"\s+# exit status (\d+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and attributes, its text, and the line of the page that it begins in."""

    info: tuple[str, ...]
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command, the exit status that it ends with, and the lines that the page shows after it."""

    text: str
    status: int
    output: tuple[str, ...]
    line: int


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(tuple(found["info"].split()), found["text"], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    lines = iter(enumerate(block.text.splitlines(), block.line + 1))
    for number, line in lines:
        if not line.startswith("$ "):
            assert found, f"line {number}: output before any command"
            last = found[-1]
            found[-1] = Command(last.text, last.status, (*last.output, line), last.line)
            continue
        text = line[2:]
        while text.endswith("\\"):
            text = text[:-1].rstrip() + " " + next(lines)[1].removeprefix("> ").strip()
        status = _STATUS.search(text)
        text = text[: status.start()] if status else text
        found.append(Command(text, int(status[1]) if status else 0, (), number))
    return found


def outside_of_fences(page: Path) -> str:
    """The page without its fenced blocks, their lines left empty."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text(encoding="utf-8"))
