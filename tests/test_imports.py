"""The arrows of the architecture, the public names, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import asgi_tls

PACKAGE = Path(asgi_tls.__file__).parent

# Each layer may import itself and those above it. A package's name stands for all of its modules.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "events", "dispatch", "addresses", "alerts", "parting", "peer", "plain_http"),
    ("profile", "certificate"),
    ("connection", "trust", "tickets"),
    ("_hello",),
    ("_openssl", "_keyfile"),
    ("facts", "handshake", "blocking", "binding", "parking", "accept", "ground", "policy"),
    ("behind", "resumption"),
    ("context",),
    ("expiry", "inventory", "named_sources"),
    ("client", "reception", "reload", "stapling"),
    ("hangup",),
    ("server",),
    ("servers",),
    ("cli",),
)
# These stand beside the layers: they may import only what is named.
BESIDE: dict[str, set[str]] = {
    "middleware": {"errors", "profile", "connection"},
    "listeners": {"errors", "events"},
    "dev": {"errors", "profile", "certificate"},
    "explain": {"errors", "alerts"},
    "export": {"errors", "profile", "certificate", "middleware"},
    # It judges by the rules that the rest keeps: when a certificate is due, what HSTS says, which CAs a file holds.
    "audit": {"errors", "alerts", "profile", "certificate", "expiry", "middleware", "trust", "_openssl", "explain"},
}
# And these layers may use them.
USERS: dict[str, set[str]] = {
    "server": {"listeners"},
    "servers": {"dev", "listeners", "middleware"},
    "cli": {"dev", "explain", "export", "audit", "listeners", "middleware"},
}


def modules() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if "_demo_app" not in path.parts)


def imported(path: Path) -> set[str]:
    """The parts of asgi_tls that a file imports, at run time or for types."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            whole = node.module == "asgi_tls"
            names |= {f"asgi_tls.{alias.name}" if whole else str(node.module) for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("asgi_tls.")}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed(name: str) -> set[str]:
    if name in BESIDE:
        return BESIDE[name] | {name}
    names: set[str] = set(USERS.get(name, set()))
    for layer in LAYERS:
        names |= set(layer)
        if name in layer:
            return names
    raise AssertionError(f"{name} has no place in the layers: give it one")


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    name = part(path)
    if name in {"__init__", "__main__"}:
        return
    # A lower layer may name a higher one for types, inside TYPE_CHECKING, only where an adapter is handed out.
    surplus = imported(path) - allowed(name) - ({"servers"} if name == "server" else set())
    assert not surplus, f"{name} imports {surplus}"


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_only_one_room_touches_ctypes_and_no_middleware_ssl() -> None:
    def imports(path: Path, module: str) -> bool:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        return module in plain | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {part(path) for path in modules() if imports(path, "ctypes")} == {"_openssl"}
    assert not [path.name for path in modules() if part(path) == "middleware" and imports(path, "ssl")]


def test_the_public_names_are_these() -> None:
    assert sorted(asgi_tls.__all__) == [
        "EarlyDataMiddleware",
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
    ]
    assert all(getattr(asgi_tls, name).__module__.startswith("asgi_tls.") for name in asgi_tls.__all__)


def test_the_tests_run_against_the_installed_package() -> None:
    assert "site-packages" in str(PACKAGE)
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_demo_app" / "app.py").exists()


def test_importing_the_middleware_loads_no_tls_library() -> None:
    script = "import sys; from asgi_tls import TLSMiddleware; print({'ssl', '_ssl', 'ctypes'} & {*sys.modules})"
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


def test_the_errors_docstring_draws_the_tree_that_is_there() -> None:
    from asgi_tls import errors

    drawn = [word for word in errors.__doc__.replace("|", " ").split() if word.endswith("Error")]
    defined = [
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert sorted({*drawn} - {"ValueError"}) == sorted(defined)
    codes = [vars(errors)[name].code for name in defined]
    assert len(codes) == len({*codes})


def test_the_version_is_that_of_the_changelog() -> None:
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## [{metadata.version('asgi-tls')}]" in changelog.read_text(encoding="utf-8")
