"""Print docs/api.md, made of the docstrings: `make docs`. Reads the sources, and imports none of them."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "asgi_tls"

# Where each public name is imported from, and the file that defines it; () is all that are there.
CONTENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "asgi_tls": {
        "server": ("ServerTLS",),
        "profile": ("TLSProfile", "MODERN", "INTERMEDIATE"),
        "certificate.sources": ("PEMFiles", "LetsEncrypt", "KubernetesSecret"),
        "middleware.tls": ("TLSMiddleware",),
        "middleware.headers": ("SecurityHeadersMiddleware",),
        "middleware.redirect": ("HTTPSRedirectMiddleware",),
        "middleware.early_data": ("EarlyDataMiddleware",),
        "middleware.hsts": ("HSTS",),
        "middleware.connection": ("tls_connection",),
        "context.client_context": ("create_client_context",),
    },
    "asgi_tls.certificate": {
        "certificate.sources": ("PEMData",),
        "certificate.password": ("PasswordFile",),
        "certificate.directory": ("PEMDirectory",),
        "certificate.loaded": ("Certificate", "CertificateSource"),
    },
    "asgi_tls.middleware": {
        "middleware.redirect_app": ("redirect_app",),
    },
    "asgi_tls.middleware.connection": {
        "middleware.connection": ("ConnectionMiddleware",),
        "connection": ("TLSConnection",),
    },
    "asgi_tls.middleware.identity": {
        "connection": ("ClientIdentity",),
        "middleware.identity": ("client_identity", "require_client"),
    },
    "asgi_tls.events": {"events": ()},
    "asgi_tls.listeners.log": {"listeners.log": ("log_events", "JSONFormatter", "JSONLog")},
    "asgi_tls.listeners.prometheus": {"listeners.prometheus": ("PrometheusMetrics",)},
    "asgi_tls.listeners.guard": {"listeners.guard": ("HandshakeGuard",)},
    "asgi_tls.dev.ca": {"dev.ca": ("LocalCA", "IssuedCertificate")},
    "asgi_tls.dev.renewal": {"dev.renewal": ("is_development", "renew")},
    "asgi_tls.errors": {"errors": ("*Error",)},
}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the page."""
    sys.stdout.write("# API reference\n\nMade of the docstrings by `make docs`. Durations are in seconds everywhere.\n")
    for module, homes in CONTENTS.items():
        sys.stdout.write(f"\n## {module}\n")
        for home, names in homes.items():
            tree = ast.parse(source(home).read_text(encoding="utf-8"))
            found = public(tree)
            for name in listed(found, names):
                sys.stdout.write(entry(found[name]) if name in found else constant(tree, name))


def listed(found: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
    """The names that `patterns` ask for, all of those found without any. One that is not found is a constant's."""
    return [name for pattern in patterns or ("*",) for name in fnmatch.filter(found, pattern) or [pattern]]


def source(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public(tree: ast.Module) -> dict[str, Definition]:
    """The classes and functions of a module that have a docstring and no underscore."""
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, Definition) and node.name[0] != "_" and ast.get_docstring(node)
    }


def entry(node: Definition) -> str:
    """A class with its fields and methods, or a function."""
    text = f"\n### {node.name}\n\n{fence(head(node))}\n\n{prose(node)}\n"
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name[0] != "_":
                said = prose(method)
                text += (
                    f"\n- `{member(method)}`" + (f": {said.replace(chr(10), chr(10) + '  ')}" if said else "") + "\n"
                )
    return text.replace("\n  \n", "\n\n")


def head(node: Definition) -> str:
    """How it is called: the signature of a function, of __init__, or the fields of a dataclass."""
    if not isinstance(node, ast.ClassDef):
        return call(node, node.name, drop=0)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            return call(method, node.name, drop=1)
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    if fields and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        shown = [field(each) for each in fields if "ClassVar" not in ast.unparse(each.annotation)]
        named = [
            f"{ast.unparse(each.target)} = {ast.unparse(each.value)}"
            for each in fields
            if each.value is not None and "ClassVar" in ast.unparse(each.annotation)
        ]
        return "\n".join((f"class {node.name}:", *(f"    {each}" for each in (*named, *shown))))
    bases = ", ".join(ast.unparse(each) for each in node.bases)
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def field(node: ast.AnnAssign) -> str:
    if "KW_ONLY" in ast.unparse(node.annotation):
        return "*"
    hidden = node.value is not None and ast.unparse(node.value).startswith("field(")
    value = "" if node.value is None else " = …" if hidden else f" = {ast.unparse(node.value)}"
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{value}"


def call(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, *, drop: int) -> str:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    parts = [argument(each, default) for each, default in zip(positional, defaults, strict=True)][drop:]
    if given.posonlyargs and len(given.posonlyargs) > drop:
        parts.insert(len(given.posonlyargs) - drop, "/")
    if given.vararg:
        parts.append(f"*{argument(given.vararg, None)}")
    elif given.kwonlyargs:
        parts.append("*")
    parts += [argument(each, default) for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(f"**{argument(given.kwarg, None)}")
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    line = f"{name}({', '.join(parts)}){result}"
    return line if len(line) < 100 else "\n".join((f"{name}(", *(f"    {part}," for part in parts), f"){result}"))


def argument(node: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(node.annotation)}" if node.annotation else ""
    value = "" if default is None else ast.unparse(default)
    return f"{node.arg}{annotation}" + (f" = {'…' if value.startswith('_') else value}" if value else "")


def member(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if decorators & {"property", "functools.cached_property", "cached_property"}:
        return f"{node.name}: {ast.unparse(node.returns) if node.returns else 'object'}"
    line = " ".join(call(node, node.name, drop=0 if "staticmethod" in decorators else 1).split())
    return line.replace("( ", "(").replace(", )", ")")


def constant(tree: ast.Module, name: str) -> str:
    """A value, with the string below it as its docstring."""
    for node, after in pairwise(tree.body):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if [ast.unparse(each) for each in targets] == [name] and isinstance(after, ast.Expr):
            return f"\n### {name}\n\n{inspect.cleandoc(ast.literal_eval(after.value))}\n"
    raise SystemExit(f"{name} is not defined, or not described, where it is looked for")


def prose(node: ast.AST) -> str:
    """The docstring as Markdown."""
    return markdown(ast.get_docstring(node) or "")  # type: ignore[arg-type]  # only definitions come here


def markdown(text: str) -> str:
    """A docstring's text: lists of parameters as lists, examples in fences."""
    text = re.sub(r"(?m)^([a-z_]+(?:, [a-z_]+)*): (.*(?:\n {4}.*)*)", parameters, text)
    return re.sub(r"(?m)(?<=\n\n)(?:^ {4}.*\n?)+", lambda found: fence(inspect.cleandoc(found[0])) + "\n", text)


def parameters(found: re.Match[str]) -> str:
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    return f"- {names}: {' '.join(found[2].split())}"


def fence(text: str) -> str:
    return f"```text\n{text}\n```"


if __name__ == "__main__":
    main()
