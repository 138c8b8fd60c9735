"""`asgi-tls flags SERVER`: the nearest that a plain server's own switches come to a profile."""

from __future__ import annotations

from pathlib import Path

import click

from asgi_tls import _openssl
from asgi_tls.export.openssl import openssl_conf
from asgi_tls.files import data_directory
from asgi_tls.profile import PROFILES, TLSProfile, cipher_string
from asgi_tls.servers import environment

# What no switch of a plain server brings, whichever it is.
_LOST = (
    "certificates are not checked before they are served, and a bad pair at a renewal breaks every handshake",
    "one certificate only: no choice by host name, no ECDSA and RSA side by side",
    "the client's first key share decides the group, not the server's order",
    "no OCSP response is stapled",
)


@click.command()
@click.argument("server", type=click.Choice(["uvicorn", "hypercorn", "gunicorn", "granian"]))
@click.option(
    "--tls-profile", "profile_name", type=click.Choice(list(PROFILES)), default="intermediate", show_default=True
)
@click.option("--tls-groups", default=None, metavar="LIST", help="Groups, the most wanted first.")
@click.option("--tls-ciphersuites", default=None, metavar="LIST", help="TLS 1.3 suites.")
@click.option("--tls-ciphers", default=None, metavar="LIST", help="TLS 1.2 suites.")
@click.option("--certfile", default="fullchain.pem", show_default=True, help="The certificate with its chain.")
@click.option("--keyfile", default="privkey.pem", show_default=True, help="Its key.")
@click.option(
    "--openssl-conf",
    "conf_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the OpenSSL configuration goes; by default a file in the user's data directory.",
)
def flags(
    server: str,
    profile_name: str,
    tls_groups: str | None,
    tls_ciphersuites: str | None,
    tls_ciphers: str | None,
    certfile: str,
    keyfile: str,
    conf_path: Path | None,
) -> None:
    """Print flags that bring a plain SERVER nearest to a profile, and say what they leave open."""
    profile = environment.profile_for(
        {"profile": profile_name, "groups": tls_groups, "ciphersuites": tls_ciphersuites, "ciphers": tls_ciphers}
    )
    if server == "granian":
        command, lost = _granian(profile, certfile, keyfile)
    else:
        conf_path = conf_path or data_directory() / f"openssl-{profile.name}.cnf"
        _write(conf_path, openssl_conf(profile, supported_groups=_openssl.supported_groups()))
        command, lost = _openssl_server(server, profile, certfile, keyfile, conf_path)
    click.echo(command)
    click.echo("\nWhat this does not give, and asgi-tls does:", err=True)
    for sentence in lost:
        click.echo(f"- {sentence}", err=True)


def _openssl_server(
    server: str, profile: TLSProfile, certfile: str, keyfile: str, conf_path: Path
) -> tuple[str, tuple[str, ...]]:
    ciphers = cipher_string(profile)
    arguments = {
        "uvicorn": f"--ssl-certfile {certfile} --ssl-keyfile {keyfile} --ssl-ciphers '{ciphers}'",
        "hypercorn": f"--certfile {certfile} --keyfile {keyfile} --ciphers '{ciphers}'",
        "gunicorn": f"--certfile {certfile} --keyfile {keyfile} --ciphers '{ciphers}'",
    }[server]
    lost = list(_LOST)
    if profile.minimum_version == "TLSv1.3" and server == "hypercorn":
        lost.insert(0, "hypercorn replaces OpenSSL's options with its own, so TLS 1.2 stays open")
    return f"OPENSSL_CONF={conf_path} {server} APP {arguments}", tuple(lost)


def _granian(profile: TLSProfile, certfile: str, keyfile: str) -> tuple[str, tuple[str, ...]]:
    version = {"TLSv1.2": "tls1.2", "TLSv1.3": "tls1.3"}[profile.minimum_version]
    lost = (
        "suites and groups are those of granian's rustls: they cannot be chosen",
        "certificates are not checked before they are served",
        "one certificate only: no choice by host name",
    )
    files = f"--ssl-certificate {certfile} --ssl-keyfile {keyfile}"
    return f"granian --interface asgi APP {files} --ssl-protocol-min {version}", lost


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, encoding="ascii")
