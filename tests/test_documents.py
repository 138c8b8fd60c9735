"""The documentation's own consistency. What it tells people to type is run by tests/system/test_documents.py."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, REPOSITORY, Block, blocks, commands, name_of, outside_of_fences
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LANGUAGES = {"console", "python", "text", "json", "yaml", "html", "ini", "nginx", "mermaid", "toml", "dockerfile"}
FORGE = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["urls"]["Homepage"] + "/blob/main/"
RAW = FORGE.replace("github.com", "raw.githubusercontent.com").replace("/blob/", "/")
PYTHON = [
    pytest.param(page, block, id=f"{name_of(page)}:{block.line}")
    for page in PAGES
    for block in blocks(page)
    if block.info[:1] == ("python",)
]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_keeps_the_convention(page: Path) -> None:
    for block in blocks(page):
        assert block.info, f"line {block.line}: a fence without a language"
        assert block.info[0] in LANGUAGES, f"line {block.line}: {block.info[0]}"
        if block.info[0] == "console":
            assert block.info[1:] in {(), ("elsewhere",)}
            assert commands(block)
    text = outside_of_fences(page)
    assert "```" not in text, "a fence is not closed"
    indented = re.findall(r"(?:^|\n)\n {4}(?! *[-*\d])(.*)", text)
    assert not indented, f"use a fence: {indented}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_public_examples_name_an_address(page: Path) -> None:
    """Without one, a server listens on this machine only, and whoever pastes the command wonders."""
    for block in blocks(page):
        for command in commands(block) if block.info[0] == "console" else []:
            if re.search(r"\b(?:uvicorn|hypercorn|gunicorn) .*(?:--port 443\b|:443\b|-port 80\b)", command.text):
                assert re.search(r"--host 0\.0\.0\.0|--bind 0\.0\.0\.0:443", command.text), command.text
        if block.info[0] == "python":
            assert "host=" in block.text or "port=443" not in block.text, f"line {block.line}"


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_compiles_and_uses_what_is_there(page: Path, block: Block) -> None:
    tree = compile(block.text, f"{page}:{block.line}", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    known: dict[str, Any] = {}
    # Modules that are blocks of the page themselves, and the application that most pages take for granted.
    own = {"app"} | {found[1] for each in blocks(page) if (found := re.match(r"# (\w+)\.py\n", each.text))}
    for earlier in blocks(page):  # names that an earlier block of the page has imported
        if earlier.info[:1] == ("python",) and earlier.line <= block.line:
            known |= imports(ast.parse(earlier.text), own)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            check_arguments(known[node.func.id], node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            check_method(known, node)


def imports(tree: ast.AST, own: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a page imports may have news for its readers
        _import(tree, own, found)
    return found


def _import(tree: ast.AST, own: set[str], found: dict[str, Any]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                found[alias.asname or alias.name.partition(".")[0]] = module
        elif isinstance(node, ast.ImportFrom) and node.module not in own:
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                found[alias.asname or alias.name] = getattr(module, alias.name)


def check_arguments(function: Any, call: ast.Call) -> None:
    """The arguments of a call fit the signature, if it has one. A `…` or a starred argument may stand for anything."""
    starred = any(isinstance(each, ast.Starred) for each in call.args) or any(
        each.arg is None for each in call.keywords
    )
    shortened = any(isinstance(each, ast.Constant) and each.value is Ellipsis for each in call.args)
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return
    keywords = {str(each.arg): None for each in call.keywords if each.arg is not None}
    (signature.bind_partial if starred or shortened else signature.bind)(*call.args, **keywords)


def check_method(known: dict[str, Any], call: ast.Call) -> None:
    """The two shapes that the pages use: a method of an imported class or module, and add_middleware(Class, …)."""
    assert isinstance(call.func, ast.Attribute)
    owner = call.func.value
    if call.func.attr == "add_middleware" and isinstance(call.args[0], ast.Name) and call.args[0].id in known:
        keywords = {str(each.arg): None for each in call.keywords if each.arg is not None}
        inspect.signature(known[call.args[0].id]).bind(None, **keywords)
    elif isinstance(owner, ast.Name) and owner.id in known:
        getattr(known[owner.id], call.func.attr)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = outside_of_fences(page)
    defined = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, re.MULTILINE))
    used = {each[1] or each[0] for each in re.findall(r"\[([a-z]+)\](?:\[([a-z]+)\])?(?![(:])", text)}
    used |= {*re.findall(r"\]\[([a-z]+)\]", text)}
    assert used >= defined.keys(), "a link is defined and not used"
    shown = re.findall(r'<img src="([^"]+)"', text)
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *defined.values(), *shown]:
        if target.startswith((FORGE, RAW)):  # in README.md, which the package index shows as well
            assert (REPOSITORY / target.removeprefix(FORGE).removeprefix(RAW)).exists(), target
            continue
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(each) for each in headings}, target


def slug(heading: str) -> str:
    """As the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_index_names_every_page() -> None:
    index = (REPOSITORY / "docs/README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert {*re.findall(r"\(([\w-]+\.md)\)", index)} == pages


@pytest.mark.parametrize(
    ("maker", "page"),
    [("make_api.py", "api.md"), ("make_settings.py", "settings.md"), ("make_commands.py", "commands.md")],
)
def test_the_reference_is_that_of_the_sources(maker: str, page: str) -> None:
    command = [sys.executable, "-P", str(REPOSITORY / "docs" / maker)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (REPOSITORY / "docs" / page).read_text(encoding="utf-8") == done.stdout, "run `make docs`"


@pytest.mark.parametrize("page", ["architecture.md", "changing.md", "internals.md"])
def test_the_files_that_the_architecture_names_are_there(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    named = {
        found for found in re.findall(r"[\w/]+(?:\.py|/)(?=[`\"<])", text) if "/" in found or found.endswith(".py")
    }
    package = REPOSITORY / "asgi_tls"
    missing = {
        name
        for name in named
        if not (REPOSITORY / name).exists() and not (package / name).exists() and not list(package.rglob(name))
    }
    assert len(named) > 10
    assert not missing


def jobs() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return dict(found["jobs"])


def test_the_workflow_for_a_forge_runs_what_the_readme_says_on_each_system() -> None:
    assert {job["runs-on"].partition("-")[0] for job in jobs().values()} == {"ubuntu", "macos", "windows"}
    commands = {step["run"] for job in jobs().values() for step in job["steps"] if "run" in step}
    assert {"make check", "make test", "make test-system"} <= commands
    floor = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"].strip(">=")
    assert jobs()["linux"]["strategy"]["matrix"]["python"][0] == floor


def test_the_windows_job_installs_what_its_tests_import() -> None:
    lines = [step["run"].replace('"', "").split() for step in jobs()["windows"]["steps"] if "run" in step]
    (packages,) = (line[4:] for line in lines if line[1:4] == ["-m", "pip", "install"])
    (tests,) = (line for line in lines if line[1:3] == ["-m", "pytest"])
    paths = [REPOSITORY / word for word in tests if word.startswith("tests/")]
    assert all(path.exists() for path in paths)
    assert "--ignore-glob=*/system" in tests
    files = [REPOSITORY / "tests/conftest.py", *(path for path in paths if path.is_file())]
    files += [file for path in paths for file in path.rglob("*.py") if file.parent.name != "system"]
    installed: set[str] = set()
    for each in packages:
        install(Requirement(each.replace(".[", "asgi-tls[")), installed)
    providers = packages_distributions()
    imported = sorted(imported_by(files) - sys.stdlib_module_names)
    assert [
        name for name in imported if not installed & {canonicalize_name(each) for each in providers.get(name, [])}
    ] == []


def install(wanted: Requirement, installed: set[str]) -> None:
    """What pip would install with it on Windows, by the metadata of what is installed here."""
    windows = {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}
    installed.add(canonicalize_name(wanted.name))
    try:
        needed = requires(wanted.name) or []
    except PackageNotFoundError:  # for Windows only
        return
    for each in map(Requirement, needed):
        if not each.marker or any(each.marker.evaluate({**windows, "extra": it}) for it in (wanted.extras or {""})):
            install(each, installed)


def imported_by(files: list[Path]) -> set[str]:
    """The packages that test files import, through the modules of tests/support as well."""
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in {each.partition(".")[0] for each in names}:
                support = REPOSITORY / f"tests/support/{name}.py"
                if not support.exists():
                    found.add(name)
                elif support not in files:
                    files.append(support)
    return found
