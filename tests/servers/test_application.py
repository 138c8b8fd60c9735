"""An application that cannot serve: the server does not start."""

from __future__ import annotations

from pathlib import Path

import pytest
from files import Files
from launch import Launch
from servers import run

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio", 0),
    Launch("hypercorn", "uvloop", 2),
    Launch("gunicorn", "asgi"),
]

LAZY = """
from starlette.applications import Starlette
from asgi_tls import TLSMiddleware

app = Starlette()
app.add_middleware(TLSMiddleware, {settings})
"""


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
@pytest.mark.parametrize(
    ("settings", "says", "traceback"),
    [
        ("hosts=['https://example.com']", "TLSMiddleware cannot start: 'https://example.com' is not", False),
        ("host=['example.com']", "unexpected keyword argument 'host'", True),
    ],
    ids=["value", "name"],
)
def test_a_middleware_that_starlette_makes_with_the_first_call(
    files: Files, tmp_path: Path, launch: Launch, settings: str, says: str, traceback: bool
) -> None:
    """What it raises then is taken for an application without a lifespan."""
    (tmp_path / "lazy.py").write_text(LAZY.format(settings=settings), encoding="utf-8")
    command = ["lazy:app" if each == "facts_app:app" else each for each in launch.command(files.ecdsa, {})]
    status, printed = run(command, cwd=tmp_path)
    # uvicorn's parent ends with 0 when a worker could not boot
    assert status == (0 if launch.server == "uvicorn" and launch.workers > 1 else 3), printed
    assert says in printed
    assert ("Traceback" in printed) == traceback, printed
