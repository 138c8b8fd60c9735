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
from asgi_tls.files import is_full

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
    """Copy the contents of each of `sources`, or nothing. No existing file is overwritten.

    Raises ConfigurationError.
    """
    try:
        existed = directory.exists()
        if existed and any(directory.iterdir()):
            raise ConfigurationError(f"{directory} is not empty", fix="Give a directory that is new or empty.")
        try:
            _copy(sources, directory)
        except BaseException:
            _remove(directory, existed)
            raise
    except NotADirectoryError:
        raise ConfigurationError(
            f"{directory} is not a directory", fix="Give a directory that is new or empty."
        ) from None
    except OSError as error:
        fix = "Free space on its disk." if is_full(error) else "Give a directory that you may write to."
        raise ConfigurationError(f"cannot write {directory}: {error.strerror}", fix=fix) from None


def _copy(sources: Iterable[Path], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for source in sources:
        for path in sorted(source.rglob("*")):  # each directory before what is in it
            if "__pycache__" in path.parts:
                continue
            target = directory / path.relative_to(source)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                shutil.copy2(path, target)


def _remove(directory: Path, existed: bool) -> None:
    if not existed:
        shutil.rmtree(directory, ignore_errors=True)
        return
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


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
