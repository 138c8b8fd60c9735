"""The middleware needs no TLS library, and loads no framework and no header library before somebody asks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import asgi_tls.middleware

FILES = sorted(Path(asgi_tls.middleware.__file__).parent.glob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_no_file_imports_ssl_or_anything_above_it() -> None:
    assert len(FILES) > 10
    for file in FILES:
        names = imported(ast.parse(file.read_text()))
        assert "ssl" not in names, file
        own = {name for name in names if name.startswith("asgi_tls")}
        assert all(name == "asgi_tls.errors" or name.startswith("asgi_tls.middleware") for name in own), file


def test_secure_and_starlette_are_loaded_by_those_who_use_them() -> None:
    names = "{'secure', 'starlette', 'anyio', 'idna'}"
    program = f"import sys, asgi_tls.middleware; print(*sorted({names} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_are_short() -> None:
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 300, file
