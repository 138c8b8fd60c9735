"""Settings that hold for some paths: `/docs` is that path alone, `/static/*` is everything below /static/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from asgi_tls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

T = TypeVar("T")


class PathTable(Generic[T]):
    """Looks up a request's path: the exact rule first, then the longest prefix, then the default.

    Paths are those of the application, after root_path. A prefix never matches a path with dot segments or
    backslashes, which something behind us might resolve to another path.
    """

    def __init__(self, rules: Mapping[str, T], default: T) -> None:
        for path in rules:
            _check(path)
        self.default = default
        self.exact = {path: value for path, value in rules.items() if not path.endswith("/*")}
        prefixes = [(path[:-1], value) for path, value in rules.items() if path.endswith("/*")]
        self._prefixes = sorted(prefixes, key=lambda each: len(each[0]), reverse=True)
        self.is_single = not rules

    def find(self, scope: Scope) -> T:
        path = route_path(scope["path"], scope.get("root_path") or "")
        if path in self.exact:
            return self.exact[path]
        if self._prefixes and _is_plain(path):
            for prefix, value in self._prefixes:
                if path.startswith(prefix):
                    return value
        return self.default


def route_path(path: str, root_path: str) -> str:
    """The path below root_path. uvicorn has root_path at its front, as ASGI asks; hypercorn leaves it out."""
    root = root_path.rstrip("/")
    below = path.removeprefix(root)
    return below if below.startswith("/") else path


def _is_plain(path: str) -> bool:
    return "\\" not in path and not {".", ".."}.intersection(path.split("/"))


def _check(path: str) -> None:
    if not path.startswith("/") or "*" in path.removesuffix("/*"):
        raise ConfigurationError(
            f"{path!r} is not a path rule",
            fix="Write '/health' for that path alone, or '/health/*' for everything below it.",
        )
