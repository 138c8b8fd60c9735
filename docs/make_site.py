"""What `make site` adds to the Markdown of docs/, which reads well on a forge as it stands. A hook of mkdocs.

- The navigation is the index in docs/README.md: its headings are the sections, its links the pages.
- README.md's neighbours (CONTRIBUTING.md, SECURITY.md, CHANGELOG.md) are pages too.
- Diagrams are shown as docs/assets/*.svg, and the API reference is made by mkdocstrings, with links between its names.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import griffe
import make_api
import make_diagrams
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

DOCS = make_diagrams.DOCS
BESIDE = {name: name.lower() for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
BAR = r"\|"
FORGE = "https://github.com/asgi-tls/asgi-tls/blob/main/"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the index."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"^## (.*)\n", index, flags=re.MULTILINE)[1:]
    config.nav = [{"Home": "README.md"}]
    for heading, text in zip(sections[::2], sections[1::2], strict=True):
        links = re.findall(r"\[([^\]]+)\]\(([\w./-]+\.md)\)", text)
        config.nav.append({heading: [{title: _target(path)} for title, path in links]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for name, path in BESIDE.items():
        text = (DOCS.parent / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page as the site shows it."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri == "api.md":
        return "\n".join(_api())
    if page.file.src_uri == "architecture.md":
        drawings = (_drawing(name) for name in make_diagrams.DIAGRAMS)
        markdown = make_diagrams.FENCE.sub(lambda _: next(drawings), markdown)
    markdown = re.sub(r"^\|.*\|$", _row, markdown, flags=re.MULTILINE)
    markdown = re.sub(r"^```console elsewhere$", "```console", markdown, flags=re.MULTILINE)
    return re.sub(r"\]\((?:\.\./)?([\w./-]+\.md)(?=[)#])", lambda link: f"]({_target(link[1])}", markdown)


def _row(line: re.Match[str]) -> str:
    """A row of a table without the backslash of an escaped bar within code, which Python-Markdown would show."""
    return re.sub(
        r"`([^`]+)`",
        lambda code: f"<code>{html.escape(code[1]).replace(BAR, '&#124;')}</code>" if BAR in code[1] else code[0],
        line[0],
    )


def _target(path: str) -> str:
    """Where a link of docs/ leads to on the site."""
    name = path.removeprefix("../")
    if name in BESIDE or (DOCS / name).exists():
        return BESIDE.get(name, name)
    return FORGE + name


def _drawing(name: str) -> str:
    svg = (DOCS / "assets" / f"{name}.svg").read_text(encoding="utf-8")
    return f'<div class="diagram" markdown="0">\n{svg}</div>'


def _api() -> Iterator[str]:
    yield "# API reference\n\nDurations are in seconds everywhere.\n"
    for module, homes in make_api.CONTENTS.items():
        yield f"## {module}\n"
        for home, names in homes.items():
            tree = ast.parse(make_api.source(home).read_text(encoding="utf-8"))
            yield from (f"::: asgi_tls.{home}.{name}\n" for name in make_api.listed(make_api.public(tree), names))


class Docstrings(griffe.Extension):
    """Docstrings as `make docs` writes them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = make_api.markdown(obj.docstring.value)
