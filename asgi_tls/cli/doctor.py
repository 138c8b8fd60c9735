"""`asgi-tls doctor`: what this platform supports, and what a profile loses on it."""

from __future__ import annotations

import json
import sys

import click

from asgi_tls.cli.capabilities import Loss, Report, report

_LABELS = {
    "groups": "choose groups",
    "ciphersuites": "choose TLS 1.3 suites",
    "group_order": "keep the server's order of groups",
    "negotiated_group": "read the group in use",
    "stapling": "staple OCSP responses",
    "ticket_keys": "share and rotate ticket keys",
}

_MEANS = {"native": "Python's ssl"}
_SHARED = (
    "A Python with a shared libssl has all of it: that of Debian, Ubuntu and Fedora, of Docker's python images, of "
    "pyenv, conda and python.org. With uv: uv venv --no-managed-python."
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Report what this Python and OpenSSL support.

    Lists what each profile would lose here. The exit status is 1 if a server with one of the profiles would not start.
    """
    found = report()
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    sys.exit(0 if found.ready else 1)


def _print(found: Report) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    rows = {
        "asgi-tls": found.asgi_tls,
        "Python": escape(found.python),
        "OpenSSL": found.openssl,
        "cryptography": found.cryptography,
        "system": escape(found.system),
    }
    for name, label in _LABELS.items():
        how = found.capabilities[name]
        rows[label] = f"[green]yes[/], by {_MEANS.get(how, how)}" if how else "[red]no[/]"
    reason = found.capabilities["reason"]
    if reason:
        rows["libssl"] = f"[red]{escape(reason)}[/]"
    rows["groups"] = ", ".join(found.groups)
    for name, version in found.servers.items():
        rows[name] = escape(version or f"not installed: pip install 'asgi-tls[{name}]'")
    rows |= {name: escape(words) for name, words in found.acme.items()}
    # No table of rich's: it cuts long values, such as paths, at the width of the terminal, which a pipe has not.
    width = max(map(len, rows))
    for label, text in rows.items():
        console.print(f"{label:{width}}  {text}")
    profiles: dict[Loss, list[str]] = {}
    for name, losses in found.profiles.items():
        if not losses:
            console.print(f"[green]\u2713[/] profile {name}: everything is supported")
        for loss in losses:
            profiles.setdefault(loss, []).append(name)
    for loss, names in profiles.items():
        who = f"profile{'s' * (len(names) > 1)} {' and '.join(names)}"
        mark = f"[red]\u2717[/] {who}: a server does not start:" if loss.fatal else f"[yellow]![/] {who}:"
        console.print(mark, loss.what if loss.why == reason else f"{loss.what} ({loss.why})")
    if reason:
        console.print(_SHARED)
