"""`asgi-tls flags SERVER`: how close a plain server comes to a profile with its own options."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from asgi_tls.cli.common import GroupedCommand, grouped, writing
from asgi_tls.cli.export import for_this_python
from asgi_tls.cli.options import profile_options
from asgi_tls.files import check_directory, data_directory, make_private, replace_file, replace_files
from asgi_tls.profile import TLSProfile, cipher_string

# What the options of uvicorn, hypercorn and gunicorn do not cover; of granian, only the first two.
_LOST: Final = (
    "Certificates are not checked before they are served.",
    "One certificate only: none is chosen by host name.",
    "A bad pair at a renewal breaks every handshake, and no ECDSA certificate is served beside an RSA one.",
    "No OCSP response is stapled.",
)
_OPTIONS: Final = {
    "uvicorn": "--ssl-certfile {certfile} --ssl-keyfile {keyfile} --ssl-ciphers '{ciphers}'",
    "hypercorn": "--certfile {certfile} --keyfile {keyfile} --ciphers '{ciphers}'",
    "gunicorn": "-k asgi --certfile {certfile} --keyfile {keyfile} --ciphers '{ciphers}'",
}

_file = grouped("Files")


@click.command(cls=GroupedCommand)
@click.argument("server", type=click.Choice([*_OPTIONS, "granian"]))
@profile_options
@_file("--certfile", default="fullchain.pem", help="The certificate with its chain.")
@_file("--keyfile", default="privkey.pem", help="Its key.")
@_file(
    "--openssl-conf",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the OpenSSL configuration is written.",
    show_default="a file in the user's data directory",
)
def flags(server: str, profile: TLSProfile, certfile: str, keyfile: str, openssl_conf: Path | None) -> None:
    """Print the options that bring a plain SERVER closest to a profile.

    What they do not cover is listed on standard error.
    """
    files = {"certfile": shlex.quote(certfile), "keyfile": shlex.quote(keyfile)}
    if server == "granian":
        command, lost = _granian(profile, files)
    else:
        path = openssl_conf or data_directory() / f"openssl-{profile.name}.cnf"
        conf = for_this_python(profile)
        with writing("--openssl-conf", path):
            make_private(path.parent)
            if openssl_conf is None:  # a configuration may name libraries to load: nobody else may replace it
                check_directory(path.parent)
                replace_files(path.parent, {path.name: (conf.text.encode(), 0o644)})
            else:
                replace_file(path, conf.text.encode())
        command, lost = _openssl_server(server, profile, files, path)
        lost += conf.lost
    click.echo(command)
    click.echo("\nWhat these flags do not cover:", err=True)
    for sentence in lost:
        click.echo(f"- {sentence}", err=True)


def _openssl_server(server: str, profile: TLSProfile, files: dict[str, str], conf: Path) -> tuple[str, list[str]]:
    options = _OPTIONS[server].format(**files, ciphers=cipher_string(profile))
    lost = [*_LOST]
    if profile.minimum_version == "TLSv1.3" and server == "hypercorn":
        lost.insert(0, "TLS 1.2 stays open: hypercorn replaces OpenSSL's options with its own.")
    return f"OPENSSL_CONF={shlex.quote(str(conf))} {server} APP {options}", lost


def _granian(profile: TLSProfile, files: dict[str, str]) -> tuple[str, list[str]]:
    version = {"TLSv1.2": "tls1.2", "TLSv1.3": "tls1.3"}[profile.minimum_version]
    options = "--ssl-certificate {certfile} --ssl-keyfile {keyfile}".format(**files)
    lost = ["Suites and groups cannot be chosen: granian's rustls has its own.", *_LOST[:2]]
    return f"granian --interface asgi APP {options} --ssl-protocol-min {version}", lost
