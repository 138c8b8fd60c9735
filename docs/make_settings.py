"""Print docs/settings.md, made of the table of settings: `make docs`."""

from __future__ import annotations

import sys

from asgi_tls.events import NOTICES
from asgi_tls.servers.settings import FLAG, GROUPS, Setting

HEAD = """# Settings

Made of the table of settings by `make docs`. `asgi-tls uvicorn`, `hypercorn` and `gunicorn` take the same settings from
three places. What the command line sets comes before what the environment sets, and that before a file.

| place | how `reload-interval` is spelled |
|---|---|
| the command line | `--tls-reload-interval 2` |
| the environment | `ASGI_TLS_RELOAD_INTERVAL=2` |
| a file | `reload-interval = 2` |

A name that is not a setting is an error in each place: exit status 3, and one sentence that suggests the right name. An
empty variable counts as not set; an empty option is an error.

## A file

`asgi-tls.toml` in the current directory, or else the table `[tool.asgi-tls]` in `pyproject.toml` there. `--tls-config`
or `ASGI_TLS_CONFIG` names another one, and then no other is read. Relative paths begin in the directory of the file.

```toml
# asgi-tls.toml
profile = "modern"
certfile = "fullchain.pem"
keyfile = "privkey.pem"
guard = true
guard-allow = ["10.0.0.0/8", "192.0.2.7"]
```

```console
$ asgi-tls uvicorn app:app --host 0.0.0.0 --port 443
$ curl --silent --output /dev/null --write-out '%{http_code}' --tls-max 1.2 https://example.com/  # exit status 35
$ curl https://example.com/tls
{"protocol":"TLSv1.3"…}
$ asgi-tls hypercorn app:app --bind 0.0.0.0:443 --tls-profile intermediate
$ curl --silent --output /dev/null --write-out '%{http_code}' --tls-max 1.2 https://example.com/
200
```

`hypercorn -c python:asgi_tls.servers.hypercorn` and `gunicorn -c python:asgi_tls.servers.gunicorn` read the environment
and the file, but for the settings of the plain port. In Python code, `ServerTLS` reads neither.

uvicorn's `--env-file` counts as the environment: what is set in the environment itself comes first.

"""

OWN = """## The certificate

The servers' own options name the default certificate and its key:

| | uvicorn | hypercorn | gunicorn |
|---|---|---|---|
| the certificate with its chain | `--ssl-certfile` | `--certfile` | `--certfile` |
| its private key | `--ssl-keyfile` | `--keyfile` | `--keyfile` |
| the password of an encrypted key | `--ssl-keyfile-password` | `--keyfile-password` | |

A certificate overrides another one together with what belongs to it, its key and password or its `acme-…` settings:
`--ssl-certfile combined.pem` reads the key from `combined.pem`, although the environment names another pair. Where no
other certificate is set further down, each of the three may be set in a place of its own: the certificate on the
command line, its key in the environment. A CRL stays although another `client-ca` is set: without it, revoked clients
would be accepted.

Use `--tls-keyfile-password-file` for the password instead: other users of the machine can read a command line. Without
any certificate, a development certificate for localhost is served. The servers' other TLS options (`--ssl-ciphers`,
`--ca-certs` and the like) are refused, with the name of the setting to use.

"""

TAIL = """
Other variables: `ASGI_TLS_HOME` is where the local CA is kept ([development](development.md)), and
`ASGI_TLS_PKCS12_PASSWORD` encrypts what `asgi-tls cert --pkcs12` writes.
"""


def main() -> None:
    """Print the page."""
    sys.stdout.write(HEAD)
    sys.stdout.write(OWN)
    for heading, settings in GROUPS.items():
        sys.stdout.write(f"## {heading}\n\n| option | what it does | key in a file | default |\n|---|---|---|---|\n")
        sys.stdout.writelines(map(_row, settings))
        sys.stdout.write("\n")
    sys.stdout.write(
        "## Start-up warnings\n\nEach ends with its code, which `--tls-quiet` takes.\n\n"
        "| code | what it is about |\n|---|---|\n"
    )
    sys.stdout.writelines(f"| `{code}` | {text} |\n" for code, text in NOTICES.items())
    sys.stdout.write(TAIL)


def _row(setting: Setting) -> str:
    metavar = "" if setting.kind is FLAG else f" {setting.kind.metavar}".replace("|", r"\|")
    places = [f"`{setting.option}{metavar}`"] if setting.on_command_line else []
    if setting.kind is FLAG:
        places.append(f"`--tls-no-{setting.key}`")
    cells = [
        ", ".join([*places, f"`{setting.variable}`"]),
        setting.help.replace("|", r"\|"),
        f"`{setting.key}`" if setting.in_file else "",
        "" if setting.default is None else f"{setting.default}",
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
