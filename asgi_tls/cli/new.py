"""`asgi-tls new DIR`: a copy of one of the applications to start from, and the commands to run next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from asgi_tls.errors import ConfigurationError

# Where the wheel has it, and where a checkout has it.
_PLACES: Final = (
    Path(__file__).parents[1] / "_demo_app",
    Path(__file__).parents[2] / "demo_app",
)


EXAMPLES: Final = ("starter", "live")


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--example",
    type=click.Choice(EXAMPLES),
    default=EXAMPLES[0],
    show_default=True,
    help="starter: a small application to keep. live: the demo, with a live feed of handshakes and a renewal button.",
)
def new(directory: Path, example: str) -> None:
    """Copy an application into DIR, which must be new or empty, and print the commands that run it."""
    source = next((place for place in _PLACES if (place / example / "app.py").is_file()), None)
    if source is None:
        raise ConfigurationError("this installation lacks the applications to copy", fix="Install asgi-tls again.")
    copy_into((source / "common", source / example), directory)
    click.echo(f"Copied the application into {directory}. Run it:\n")
    for command in commands(directory):
        click.echo(f"    {command}")
    click.echo("\nand, in the same directory of another terminal, call it:\n")
    click.echo("    " + 'curl --cacert "$(.venv/bin/asgi-tls ca path)" https://localhost:8443/tls')
    click.echo("\nREADME.md there says the rest: other servers, Docker, systemd, Kubernetes.")


def copy_into(sources: Iterable[Path], directory: Path) -> None:
    """Copy what is in each of `sources`. Nothing that is there is ever overwritten.

    Raises ConfigurationError.
    """
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigurationError(f"{directory} is not empty", fix="Name a directory that is new or empty.")
        for source in sources:
            shutil.copytree(source, directory, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    except NotADirectoryError:
        raise ConfigurationError(f"{directory} is not a directory", fix="Name one that is new or empty.") from None
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"cannot write {directory}: {reason}", fix="Name a place that you own.") from None


def commands(directory: Path) -> list[str]:
    """What to type, with the Python that runs now: an older one might not do."""
    found = shutil.which("python3")
    same = found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)
    python = "python3" if same else shlex.quote(sys.executable)
    return [
        f"cd {shlex.quote(str(directory))}",
        f"{python} -m venv .venv",
        ".venv/bin/pip install -r requirements.txt",
        ".venv/bin/asgi-tls uvicorn app:app --port 8443",
    ]
