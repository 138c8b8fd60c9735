"""ACME's http-01 challenge (RFC 8555 section 8.3): by the account of this server, and by the files in the webroot that
certbot and others write to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.certificate.access import refusal
from asgi_tls.certificate.challenges import TOKEN, challenges
from asgi_tls.errors import ConfigurationError, check_type
from asgi_tls.files import read_regular
from asgi_tls.middleware.answer import Answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CHALLENGE_PATH = "/.well-known/acme-challenge/"
# A key authorization is the token, a dot and 43 characters. Anything much longer is not a challenge.
_LARGEST_FILE = 4096
_CAN_DESCEND = all(hasattr(os, name) for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
_NOT_FOUND = Answer.text(404, "Not Found")
_HEADERS = ((b"content-type", b"application/octet-stream"), (b"x-content-type-options", b"nosniff"))


def wrong_with(webroot: Path) -> tuple[str, str] | None:
    """Why this is no webroot, to end a sentence with, and the fix; None for a directory."""
    try:
        if stat.S_ISDIR(webroot.stat().st_mode):
            return None
    except PermissionError:
        why, do = refusal(webroot)
        return f"cannot be read{why}", f"Let the server's user {do}."
    except (OSError, ValueError):
        pass
    fix = "Create it, and give the same path to the ACME client (certbot certonly --webroot -w PATH)."
    return "is not a directory", fix


def challenge_token(scope: Scope) -> str | None:
    """The token that a validation request asks for; None for every other request."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return None
    before, found, token = scope["path"].rpartition(CHALLENGE_PATH)
    # Before the prefix there may be root_path, and nothing else.
    if not found or before not in ("", (scope.get("root_path") or "").rstrip("/")):
        return None
    return token if TOKEN.fullmatch(token) else None


def own_answer(scope: Scope) -> Answer | None:
    """The answer to a validation request by this server's own ACME account, None where it has none."""
    token = challenge_token(scope)
    content = None if token is None else challenges.http(token)
    return None if content is None else Answer(200, _HEADERS, content.encode("ascii"))


class ChallengeFiles:
    """An ASGI application that serves `WEBROOT/.well-known/acme-challenge/TOKEN`, and what has no file there by this
    server's own ACME account; everything else gets 404.

    The webroot may be a symbolic link; below it none is followed, and only regular files are read. The webroot must
    exist when this is constructed; the directories below it may be created and removed later.
    """

    def __init__(self, webroot: str | os.PathLike[str]) -> None:
        fix = 'Write the path of a directory, as in webroot="/var/www/acme".'
        check_type("webroot", webroot, str | os.PathLike, fix)
        if webroot == "":  # as a path it would be the working directory
            raise ConfigurationError("webroot is ''", fix=fix)
        self.webroot = Path(webroot).absolute()
        if wrong := wrong_with(self.webroot):
            raise ConfigurationError(f"The webroot {self.webroot} {wrong[0]}", fix=wrong[1])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Under trio as well as asyncio: hypercorn runs both.
        from anyio import to_thread

        token = challenge_token(scope)
        content = None if token is None else await to_thread.run_sync(self.read, token)
        answer = own_answer(scope) if content is None else Answer(200, _HEADERS, content)
        await (answer or _NOT_FOUND)(scope, receive, send)

    def read(self, token: str) -> bytes | None:
        """The content of the challenge file; None when there is none that may be served. Blocks on the disk."""
        if not _CAN_DESCEND:
            return _read_by_path(self.webroot, token)
        try:
            directory = os.open(self.webroot, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for name in CHALLENGE_PATH.strip("/").split("/"):
                directory = _descend(directory, name, os.O_DIRECTORY)
            # Without O_NONBLOCK, opening a FIFO would wait for a writer.
            with os.fdopen(_descend(directory, token, os.O_NONBLOCK), "rb") as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_FILE:
                    return None
                return file.read(_LARGEST_FILE)
        except OSError:
            return None


def _read_by_path(webroot: Path, token: str) -> bytes | None:
    """The same on Windows, which opens no file below an open directory. A link leads nowhere here either."""
    directory = webroot.joinpath(*CHALLENGE_PATH.strip("/").split("/"))
    try:
        if (
            directory.resolve() != webroot.resolve() / directory.relative_to(webroot)
            or (directory / token).is_symlink()
        ):
            return None
        data, _ = read_regular(directory / token, _LARGEST_FILE + 1)
    except OSError:
        return None
    return data if len(data) <= _LARGEST_FILE else None


def _descend(directory: int, name: str, flags: int) -> int:
    """Open a name inside an open directory without following a link, and close the directory."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    finally:
        os.close(directory)
