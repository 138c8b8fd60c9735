"""`asgi-tls deploy-hook`: what certbot runs after a renewal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from asgi_tls.errors import ConfigurationError

_HEAD: Final = """\
#!/bin/sh
# Made by `asgi-tls deploy-hook`. certbot runs it after each renewal; so does acme.sh with --reloadcmd.
# The server takes new files by itself within seconds; SIGHUP makes it look at once.
# Whatever goes wrong here is told, and never makes a renewal fail that has succeeded.
"""

_PID_FILE: Final = """\
pid_file={pid_file}
if ! [ -r "$pid_file" ]; then
    echo "asgi-tls: $pid_file is not there: the server does not run, or takes the new files by itself" >&2
    exit 0
fi
pid=
read -r pid < "$pid_file" || :
case $pid in
    '' | 0 | 1 | *[!0-9]*) echo "asgi-tls: $pid_file holds no process number" >&2 ;;
    *) kill -s HUP "$pid" || echo "asgi-tls: process $pid of $pid_file takes no signal" >&2 ;;
esac
exit 0
"""

_UNIT: Final = """\
systemctl kill --kill-who=main --signal=HUP {unit} || echo "asgi-tls: systemd cannot signal "{unit} >&2
exit 0
"""


@click.command("deploy-hook")
@click.option("--pid-file", type=click.Path(path_type=Path), help="The file with the server's process number.")
@click.option("--unit", metavar="NAME", help="The systemd service that the server runs as, instead of a pid file.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the hook goes, by default to standard output: /etc/letsencrypt/renewal-hooks/deploy/asgi-tls.sh.",
)
def deploy_hook(pid_file: Path | None, unit: str | None, output: Path | None) -> None:
    """Write a deploy hook for certbot, which has the server take the renewed certificate at once."""
    if (pid_file is None) == (unit is None):
        raise ConfigurationError(
            "a hook signals one server, by its pid file or by its systemd unit",
            fix="Give --pid-file=/run/app.pid or --unit=app.service.",
        )
    if pid_file is not None:
        script = _HEAD + _PID_FILE.format(pid_file=shlex.quote(str(pid_file.absolute())))
    else:
        script = _HEAD + _UNIT.format(unit=shlex.quote(unit or ""))
    if output is None:
        click.echo(script, nl=False)
        return
    try:
        output.write_text(script, encoding="utf-8")
        output.chmod(0o755)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}", fix="Choose another file.") from None
    click.echo(f"Wrote {output}")
