"""Draw the diagrams of docs/architecture.md as docs/assets/*.svg: `make diagrams`. It needs graphviz.

The page holds them as Mermaid, which forges show. The site shows these files, since it loads no scripts from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).parent
DIAGRAMS = {"rooms": "The rooms of the package", "certificate": "A certificate's way from disk to handshake"}
"""The file and the description of each diagram, in the order of the page."""

FENCE = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
_NODE = re.compile(r"(\w+)(?:(\[\(|\(\[|\[)\"(.*?)\"[\])]+)?")
_ARROW = re.compile(r"^ *(.+?) --(?: (.+?) --)?> (.+)$", re.MULTILINE)
_SHAPES = {"[": "box", "[(": "cylinder", "([": "box"}


def main() -> None:
    """Write the files."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for (name, title), mermaid in zip(DIAGRAMS.items(), FENCE.findall(page), strict=True):
        source = dot(mermaid, title)
        drawn = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, text=True, check=True).stdout
        (DOCS / "assets" / f"{name}.svg").write_text(themed(drawn), encoding="utf-8")


def dot(mermaid: str, title: str) -> str:
    """The part of Mermaid's flowchart that the page uses, in the language of graphviz."""
    nodes: dict[str, str] = {}
    edges = []
    for start, label, end in _ARROW.findall(mermaid):
        names = []
        for side in (start, end):
            found = _NODE.fullmatch(side)
            assert found, side
            name, bracket, text = found.groups()
            if text:
                style = ", style=rounded" if bracket == "([" else ""
                lines = re.sub(r"</?b>", "", text).replace("<br>", r"\n")
                nodes[name] = f'{name} [label="{lines}", shape={_SHAPES[bracket]}{style}]'
            names.append(name)
        edges.append(f'{names[0]} -> {names[1]} [label=" {label} "]' if label else f"{names[0]} -> {names[1]}")
    look = 'node [fontname=Helvetica, fontsize=13, margin="0.2,0.1"]; edge [fontname=Helvetica, fontsize=12]'
    head = f'digraph "{title}" {{ bgcolor=transparent; ranksep=0.4; {look}'
    return "\n".join([head, *nodes.values(), *edges, "}"])


def themed(svg: str) -> str:
    """In the colours of the page around it, and no wider than it."""
    svg = svg[svg.index("<svg") :]
    width = re.search(r' width="(\d+)pt" height="\d+pt"', svg)
    assert width
    svg = svg.replace(width[0], f' role="img" fill="currentColor" style="max-width: {int(width[1]) * 4 // 3}px"')
    return svg.replace("Helvetica,sans-Serif", "Helvetica,Arial,sans-serif").replace('="black"', '="currentColor"')


if __name__ == "__main__":
    main()
