"""The target of a request, as bytes that may appear in a Location field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from starlette.types import Scope

# RFC 3986 allows visible ASCII only. The rest is escaped: its bytes stay the same, and no CR or LF can end the field.
# So are `\` and `#`, which a client would read as a slash and as the start of a fragment.
_NOT_URI = re.compile(rb"[^\x21-\x7e]|[\\#]")
_ABSOLUTE_FORM = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
# RFC 3986 section 3.3: what a path holds without escapes, slashes included.
_PATH_CHARACTERS = "/-._~!$&'()*+,;=:@"


class Target(NamedTuple):
    """`authority` is set when the client sent the absolute form: it overrides the Host field (RFC 9112, 3.2.2).

    `path` begins with a slash, `query` with a question mark or it is empty.
    """

    authority: bytes | None
    path: bytes
    query: bytes


def request_target(scope: Scope) -> Target | None:
    """What the client asked for, byte for byte; None for the forms that name no path (`*`, and CONNECT's)."""
    path = _raw_path(scope)
    authority = None
    absolute = _ABSOLUTE_FORM.fullmatch(path)
    if absolute is not None:
        authority, path = absolute[1], absolute[2] or b"/"
    if not path.startswith(b"/"):
        return None
    path = _with_root(path, scope.get("root_path") or "")
    query = scope.get("query_string") or b""
    return Target(authority, _escape(path), b"?" + _escape(query) if query else b"")


def _raw_path(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    if raw:
        return raw.partition(b"?")[0]
    # raw_path is optional in ASGI: escape the decoded path again, as far as possible.
    return quote(scope["path"], safe=_PATH_CHARACTERS, errors="surrogatepass").encode("ascii") or b"/"


def _with_root(path: bytes, root_path: str) -> bytes:
    # uvicorn has already put root_path at the front of raw_path, hypercorn has not.
    root = quote(root_path.rstrip("/"), safe=_PATH_CHARACTERS + "%", errors="surrogatepass").encode("ascii")
    if not root or path == root or path.startswith(root + b"/"):
        return path
    return b"/" + root.lstrip(b"/") + path


def _escape(value: bytes) -> bytes:
    return _NOT_URI.sub(lambda match: b"%%%02X" % match[0][0], value)
