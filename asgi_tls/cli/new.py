"""`asgi-tls new DIR`: a copy of an application to start from, and the commands that run it."""

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

# In an installed wheel, and in a checkout.
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
    help="starter: a small application to keep. live: the demo, with a live feed of handshakes and a renewal button.",
)
def new(directory: Path, example: str) -> None:
    """Copy an application into DIR to start from.

    DIR must be new or empty. Prints the commands that run the application.
    """
    source = next((place for place in _PLACES if (place / example / "app.py").is_file()), None)
    if source is None:
        raise ConfigurationError(
            "this installation does not contain the applications to copy", fix="Reinstall asgi-tls."
        )
    copy_into((source / "common", source / example), directory)
    click.echo(f"Copied the application into {directory}. Run it:\n")
    for command in commands(directory):
        click.echo(f"    {command}")
    click.echo("\nThen, in another terminal in the same directory:\n")
    click.echo("    " + 'curl --cacert "$(.venv/bin/asgi-tls ca path)" https://localhost:8443/tls')
    click.echo(f"\n{directory / 'README.md'} describes other servers, Docker, systemd and Kubernetes.")


def copy_into(sources: Iterable[Path], directory: Path) -> None:
    """Copy the contents of each of `sources`. No existing file is overwritten.

    Raises ConfigurationError.
    """
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigurationError(f"{directory} is not empty", fix="Give a directory that is new or empty.")
        for source in sources:
            shutil.copytree(source, directory, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    except NotADirectoryError:
        raise ConfigurationError(
            f"{directory} is not a directory", fix="Give a directory that is new or empty."
        ) from None
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot write {directory}: {reason}", fix="Give a directory that you may write to."
        ) from None


def commands(directory: Path) -> list[str]:
    """What to type, with the Python that runs now: another one may be too old."""
    found = shutil.which("python3")
    same = found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)
    python = "python3" if same else shlex.quote(sys.executable)
    return [
        f"cd {shlex.quote(str(directory))}",
        f"{python} -m venv .venv",
        ".venv/bin/pip install -r requirements.txt",
        ".venv/bin/asgi-tls uvicorn app:app --port 8443",
    ]
