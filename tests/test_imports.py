"""The arrows of the architecture, the public names, and what an import costs."""

from __future__ import annotations

import ast
import functools
import html
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import make_diagrams
import pytest
from files import Files

import asgi_tls

PACKAGE = Path(asgi_tls.__file__).parent

# The rooms, from those that everything rests on to the command line. A room may import itself and those above it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "events", "files", "hostnames"),
    ("profile", "certificate", "listeners"),
    ("connection", "tickets"),
    ("_openssl",),
    ("handshake",),
    ("context",),
    ("renewal", "stapling"),
    ("server",),
    ("servers",),
    ("cli",),
)
# These stand beside the layers: they may import only what is named.
BESIDE: dict[str, set[str]] = {
    "middleware": {"errors", "files", "hostnames", "profile", "certificate", "connection"},
    "listeners": {"errors", "events", "files", "hostnames"},
    "dev": {"errors", "files", "hostnames", "profile", "certificate"},
    "explain": {"errors", "handshake"},
    "export": {"errors", "hostnames", "profile", "middleware"},
    # It judges by the rules that the rest keeps: when a certificate is due, what HSTS says, which CAs a file holds.
    "audit": {
        "errors",
        "hostnames",
        "handshake",
        "profile",
        "certificate",
        "renewal",
        "middleware",
        "_openssl",
        "explain",
    },
}
# And these layers may use them.
USERS: dict[str, set[str]] = {
    "servers": {"dev", "middleware"},
    "cli": {"dev", "explain", "export", "audit", "middleware"},
}


def modules(package: Path = PACKAGE) -> Iterator[Path]:
    return (path for path in package.rglob("*.py") if "_demo_app" not in path.parts)


def module_name(path: Path, package: Path = PACKAGE) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nodes_of(path: Path) -> list[ast.AST]:
    return _nodes(path.read_text(encoding="utf-8"))


@functools.cache  # by the text: each test reads the whole package
def _nodes(text: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(text))]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, of whatever package."""
    nodes = nodes_of(path)
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def imports(package: Path = PACKAGE) -> dict[str, set[str]]:
    """For each module, the modules of the package that it imports: at its top, inside functions and for types."""
    names = {module_name(path, package) for path in modules(package)}
    found: dict[str, set[str]] = {}
    for path in modules(package):
        found[module_name(path, package)] = targets = set()
        for node in nodes_of(path):
            if isinstance(node, ast.Import):
                targets |= names & {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                each = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= names & each or names & {str(node.module)}
    return found


def reached(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    """The names to which arrows lead from `start`."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in arrows.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def cycles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """The groups of names that reach each other."""
    reach = {name: reached(arrows, name) for name in arrows}
    groups = {frozenset({name, *(other for other in reach[name] if name in reach[other])}) for name in arrows}
    return [set(group) for group in groups if len(group) > 1 or group <= reach[next(iter(group))]]


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def rooms(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows between rooms."""
    found: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        found.setdefault(room(module), set()).update(room(target) for target in targets)
    return {name: targets - {name} for name, targets in found.items()}


def allowed(name: str) -> set[str]:
    if name in BESIDE:
        return BESIDE[name] | {name}
    names: set[str] = set(USERS.get(name, set()))
    for layer in LAYERS:
        names |= set(layer)
        if name in layer:
            return names
    raise AssertionError(f"{name} has no place in the layers: give it one")


def test_imports_flow_one_way() -> None:
    surplus = {
        f"{name} -> {target}"
        for name, targets in rooms(imports()).items()
        if name not in {"__init__", "__main__"}
        for target in targets - allowed(name)
    }
    assert not surplus


def test_the_audit_flows_from_probes_to_judges_to_reports() -> None:
    order = ["probes", "judges", "report"]
    arrows = {
        (name.split(".")[2], target.split(".")[2])
        for name, targets in imports().items()
        for target in targets
        if name.startswith("asgi_tls.audit.") and target.startswith("asgi_tls.audit.")
    }
    assert not [(one, other) for one, other in arrows if order.index(one) < order.index(other)]
    network = {"socket", "ssl", "http.client", "urllib.request"}
    assert not [path for path in modules(PACKAGE / "audit") if "probes" not in path.parts and imported(path) & network]


def test_there_is_no_cycle_of_modules_or_of_rooms() -> None:
    arrows = imports()
    assert not cycles(arrows)
    assert not cycles(rooms(arrows))


@pytest.mark.parametrize(
    "kind", ["{}", "def f():\n    {}", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}"]
)
def test_a_cycle_is_found_wherever_the_import_stands(tmp_path: Path, kind: str) -> None:
    package = tmp_path / "house"
    for name, text in {"a/x": kind.format("from house.b import y"), "b/y": "import house.c", "c": ""}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert not cycles(imports(package))
    (package / "c.py").write_text("from house.a.x import anything", encoding="utf-8")
    assert cycles(imports(package)) == [{"house.a.x", "house.b.y", "house.c"}]
    assert cycles(rooms(imports(package))) == [{"a", "b", "c"}]


# Every room may import these; an arrow to each would hide the others.
FOUNDATIONS = {"__init__", "__main__", "errors", "events", "files", "hostnames", "profile"}


def test_the_diagram_of_the_architecture_is_that_of_the_imports() -> None:
    page = (Path(__file__).parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    diagram = page.split("```mermaid")[1].partition("```")[0]
    drawn = {*re.findall(r"^    (\w+)(?:\[.*?\])? --> (\w+)", diagram, re.MULTILINE)}
    arrows = {name: targets - FOUNDATIONS for name, targets in rooms(imports()).items() if name not in FOUNDATIONS}
    assert drawn == {
        (name, target)
        for name, targets in arrows.items()
        for target in targets
        if not any(target in reached(arrows, other) for other in targets)
    }


def test_the_drawings_are_those_of_the_diagrams() -> None:
    page = (make_diagrams.DOCS / "architecture.md").read_text(encoding="utf-8")
    for (name, title), mermaid in zip(make_diagrams.DIAGRAMS.items(), make_diagrams.FENCE.findall(page), strict=True):
        source = make_diagrams.dot(mermaid, title)
        drawn = html.unescape((make_diagrams.DOCS / f"assets/{name}.svg").read_text(encoding="utf-8"))
        arrows = {f"{one}->{other}" for one, other in re.findall(r"^(\w+) -> (\w+)", source, re.MULTILINE)}
        assert {*re.findall(r"<title>(\w+->\w+)</title>", drawn)} == arrows, "run `make diagrams`"
        words = {word for label in re.findall(r'label="(\w.*?)", shape', source) for word in label.split(r"\n")}
        assert words <= {*re.findall(r">([^<>]+)</text>", drawn)}, "run `make diagrams`"


def test_the_top_holds_what_users_import_and_what_everything_rests_on() -> None:
    files = [path.stem for path in PACKAGE.glob("*.py")]
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert len(files) <= 10
    assert len(folders) <= 14


def test_a_file_is_one_concept() -> None:
    long = {str(path): size for path in modules() if (size := len(path.read_text("utf-8").splitlines())) > 400}
    assert not long


def test_only_one_room_touches_ctypes_and_no_middleware_ssl() -> None:
    assert {room(module_name(path)) for path in modules() if "ctypes" in imported(path)} == {"_openssl"}
    assert not [path.name for path in modules() if room(module_name(path)) == "middleware" and "ssl" in imported(path)]


def test_the_public_names_are_these() -> None:
    assert sorted(asgi_tls.__all__) == [
        "ACME",
        "EarlyDataMiddleware",
        "HSTS",
        "HTTPSRedirectMiddleware",
        "INTERMEDIATE",
        "KubernetesSecret",
        "LetsEncrypt",
        "MODERN",
        "PEMFiles",
        "SecurityHeadersMiddleware",
        "ServerTLS",
        "TLSMiddleware",
        "TLSProfile",
        "create_client_context",
        "tls_connection",
    ]
    assert all(getattr(asgi_tls, name).__module__.startswith("asgi_tls.") for name in asgi_tls.__all__)


def test_the_tests_run_against_the_installed_package() -> None:
    assert "site-packages" in str(PACKAGE)
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_demo_app" / "live" / "app.py").exists()


def test_importing_the_middleware_loads_no_tls_library() -> None:
    script = "import sys; from asgi_tls import HSTS, TLSMiddleware, tls_connection; "
    script += "print({'ssl', '_ssl', 'ctypes'} & {*sys.modules})"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


def test_a_name_that_is_not_public() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Config'"):
        asgi_tls.Config  # noqa: B018 -- the access is the test
    assert {*asgi_tls.__all__} <= {*dir(asgi_tls)}


def test_importing_brings_no_server_and_no_cryptography() -> None:
    script = "from asgi_tls import *; import sys; print(*sorted(name for name in sys.modules if '.' not in name))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    unwanted = {"uvicorn", "hypercorn", "gunicorn", "cryptography", "click", "rich", "secure", "fastapi", "httpx"}
    assert not unwanted & {*found}


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn"])
def test_who_orders_nothing_imports_no_acme(files: Files, server: str) -> None:
    environ = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    script = f"""
import sys
from asgi_tls.servers import {server}
from asgi_tls.servers.build import server_tls
from asgi_tls.servers.given import read
server_tls(read(environ={environ})).check()
print(*(name for name in sys.modules if name.startswith("asgi_tls.renewal.acme.")))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "asgi_tls.renewal.acme.ca\n"


def test_each_error_has_a_code_of_its_own() -> None:
    from asgi_tls import errors

    kinds = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert all(issubclass(kind, errors.ASGITLSError) for kind in kinds)
    assert len({vars(kind)["code"] for kind in kinds}) == len(kinds)


def test_the_version_is_that_of_the_changelog() -> None:
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## [{metadata.version('asgi-tls')}]" in changelog.read_text(encoding="utf-8")
