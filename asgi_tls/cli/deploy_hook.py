"""`asgi-tls deploy-hook`: a script that certbot runs after a renewal. It sends SIGHUP to the server.

certbot runs it as root, so it trusts a pid file only as far as its owner could send the signal, and it needs no Python:
root must not run what the server's user may have written to a virtual environment.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from asgi_tls.cli.common import writing
from asgi_tls.errors import ConfigurationError

_HEAD: Final = """\
#!/bin/sh
# Written by `asgi-tls deploy-hook` for certbot (deploy hook) and acme.sh (--reloadcmd).
# The server loads new files by itself within seconds; SIGHUP makes it load them at once. A failure here is reported on
# standard error, and never makes the renewal fail, which has succeeded.
"""

_PID_FILE: Final = """\
LC_ALL=C
set -f
pid_file={pid_file}
skip() {{
    echo "asgi-tls: $pid_file $1. No signal was sent; the server loads the new files by itself within seconds." >&2
    exit 0
}}
[ ! -h "$pid_file" ] || skip "is a symbolic link"
[ -e "$pid_file" ] || skip "does not exist: the server is not running"
[ -f "$pid_file" ] || skip "is not a regular file"
[ -r "$pid_file" ] || skip "cannot be read by this user"
command -v timeout > /dev/null || timeout() {{ shift; "$@"; }}
pid=$(timeout 5 head -c 20 "$pid_file" | tr '\\000' x)
case $pid in
    '' | 0* | 1 | *[!0-9]* | ???????????*) skip "does not contain the process ID of a server" ;;
esac
ancestor=$$
while [ "${{ancestor:-1}}" -gt 1 ]; do
    [ "$ancestor" != "$pid" ] || skip "contains the ID of process $pid, which runs this hook"
    ancestor=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$ancestor/status" 2> /dev/null)
done
[ -r "/proc/$pid/status" ] || skip "contains the ID of process $pid, which is not running"
process= user= catches=
while read -r name value _; do
    case $name in
        Tgid:) process=$value ;;
        Uid:) user=$value ;;
        SigBlk: | SigCgt:) case $value in *[13579bdf]) catches=yes ;; esac ;;
    esac
done < "/proc/$pid/status"
set -- $(ls -dn "$pid_file")
case $1 in
    ????????w*) skip "can be written by every user (chmod o-w)" ;;
    ?????w*) [ "$3" != 0 ] || skip "belongs to root and can be written by its group (chmod g-w)" ;;
esac
[ "$3" = 0 ] || [ "$3" = "$user" ] || skip "belongs to user ID $3, but process $pid to user ID $user"
case $(timeout 5 head -c 4096 "/proc/$pid/cmdline" | tr '\\000' ' ') in
    *python* | *pypy* | *asgi-tls* | *uvicorn* | *hypercorn* | *gunicorn*) ;;
    *) skip "contains the ID of process $pid, which is not a Python server" ;;
esac
[ "$process" = "$pid" ] && [ -n "$catches" ] || skip "contains the ID of process $pid, which SIGHUP would end"
kill -s HUP "$pid" || skip "contains the ID of process $pid, which this user may not signal"
exit 0
"""

_UNIT: Final = """\
systemctl kill --kill-who=main --signal=HUP -- {unit} || echo "asgi-tls: systemd could not signal "{unit} >&2
exit 0
"""


@click.command("deploy-hook")
@click.option("--pid-file", metavar="FILE", type=click.Path(path_type=Path), help="The server's pid file, on Linux.")
@click.option("--unit", metavar="NAME", help="The server's systemd unit, instead of a pid file.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the hook to this file, as in /etc/letsencrypt/renewal-hooks/deploy/asgi-tls.sh.",
    show_default="standard output",
)
def deploy_hook(pid_file: Path | None, unit: str | None, output: Path | None) -> None:
    """Write a deploy hook for certbot: a renewal is loaded at once."""
    if (pid_file is None) == (not unit):
        raise ConfigurationError(
            "a hook signals one server, by its pid file or by its systemd unit",
            fix="Give either --pid-file /run/app.pid or --unit app.service.",
        )
    if pid_file is not None:
        script = _HEAD + _PID_FILE.format(pid_file=shlex.quote(str(pid_file.absolute())))
    else:
        script = _HEAD + _UNIT.format(unit=shlex.quote(unit or ""))
    if output is None:
        click.echo(script, nl=False)
        return
    with writing("--output", output):
        output.write_text(script, encoding="utf-8")
        output.chmod(0o755)
    click.echo(f"Wrote {output}")
