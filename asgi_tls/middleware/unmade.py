"""Middleware that could not be made because a setting is wrong.

Starlette and FastAPI make their middleware in the first call of the application, which is that of the lifespan. A
server takes what it raises for an application without a lifespan, goes on, and answers every request with 500. So the
failure is remembered here, and a server that has our context looks before it listens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

P = ParamSpec("P")
S = TypeVar("S")

_failures: list[tuple[asyncio.Task[Any], str, Exception]] = []


def remembered(init: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """For an `__init__`: what it raises in a task is remembered."""

    @functools.wraps(init)
    def remembering(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            init(self, *args, **kwargs)
        except Exception as error:
            _remember(type(self).__name__, error)
            raise

    return remembering


def _remember(name: str, error: Exception) -> None:
    import asyncio  # it imports ssl

    try:
        task = asyncio.current_task()
    except RuntimeError:  # made outside an event loop, where nothing hides the exception
        return
    if task is not None:
        _failures.append((task, name, error))


def failure() -> tuple[str, Exception] | None:
    """What kept a middleware from being made, after its name, where the task that tried has ended in this event loop.

    That of the lifespan has. What loads the application, and may try again, is the server's own task.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    for task, name, error in reversed(_failures):  # the outermost is the one that the user has named
        if task.done() and task.get_loop() is loop:
            return name, error
    return None
