"""`asgi-tls export PROGRAM`: the same profile as the configuration of nginx, HAProxy, Caddy or OpenSSL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from asgi_tls import _openssl
from asgi_tls.certificate import PEMFiles
from asgi_tls.cli.installed import Installed, installed
from asgi_tls.errors import ConfigurationError, MissingFileError, UnreadableFileError
from asgi_tls.export.application import application_side
from asgi_tls.export.caddy import caddyfile
from asgi_tls.export.document import Export
from asgi_tls.export.haproxy import haproxy_cfg
from asgi_tls.export.nginx import nginx_conf
from asgi_tls.export.openssl import openssl_conf, openssl_export
from asgi_tls.export.site import Site, Upstream
from asgi_tls.export.versions import (
    ASSUMED_OPENSSL,
    OPENSSL,
    PROGRAMS,
    Program,
    Version,
    nearest,
    newest,
    parse_version,
)
from asgi_tls.middleware.fields import DEFAULTS, HSTS_NAME
from asgi_tls.middleware.hsts import HSTS
from asgi_tls.profile import PROFILES, TLSProfile
from asgi_tls.servers import environment

if TYPE_CHECKING:
    from asgi_tls.certificate import Certificate

# Where certbot keeps a certificate, by its first name.
_CERTBOT: Final = "/etc/letsencrypt/live"
# What says nothing to OpenSSL, which serves no site.
_OF_A_SITE: Final = ("hosts", "certificate", "key", "client_ca", "address", "hsts", "openssl", "print_app")


@click.command()
@click.argument("program", type=click.Choice(list(PROGRAMS)))
@click.option("--tls-profile", type=click.Choice(list(PROFILES)), default="intermediate", show_default=True)
@click.option("--tls-groups", default=None, metavar="LIST", help="Groups, the most wanted first.")
@click.option("--tls-ciphersuites", default=None, metavar="LIST", help="TLS 1.3 suites.")
@click.option("--tls-ciphers", default=None, metavar="LIST", help="TLS 1.2 suites.")
@click.option("--version", metavar="X.Y", help="The program's version; by default the installed one.")
@click.option("--openssl", metavar="X.Y", help="The OpenSSL that nginx or HAProxy is linked with.")
@click.option("--host", "hosts", multiple=True, help="A name of the site; by default those of the certificate.")
@click.option("--certificate", metavar="FILE", help="With its chain; by default certbot's for the first host.")
@click.option("--key", metavar="FILE", help="Its key; by default privkey.pem beside it.")
@click.option("--client-ca", metavar="FILE", help="Ask clients for a certificate of a CA in this file.")
@click.option("--client-auth", type=click.Choice(["required", "optional"]), default="required", show_default=True)
@click.option(
    "--upstream", default="127.0.0.1:8000", show_default=True, help="The application: HOST:PORT or unix:/run/app.sock."
)
@click.option("--address", help="The address to listen on; all by default.")
@click.option("--http-port", type=int, default=80, show_default=True)
@click.option("--https-port", type=int, default=443, show_default=True)
@click.option(
    "--hsts", metavar="VALUE",
    help="Strict-Transport-Security where the application sends none, or off; by default the profile's age.",
)  # fmt: skip
@click.option(
    "--headers", type=click.Choice(["hsts", "all"]), default="hsts", show_default=True,
    help="all: the other security headers too, for an application without TLSMiddleware.",
)  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there, and not to stdout.")
@click.option("--print-app", is_flag=True, help="Print the application's side instead.")
def export(program: str, output: Path | None, print_app: bool, **options: Any) -> None:
    """Print the configuration of PROGRAM that carries a profile, with the application behind it.

    What PROGRAM cannot carry over is said in the file, and on stderr.
    """
    profile = environment.profile_for(
        {name: options[f"tls_{name}"] for name in ("profile", "groups", "ciphersuites", "ciphers")}
    )
    if program == OPENSSL.name:
        found = _for_openssl(profile, {**options, "print_app": print_app})
    else:
        site = _site(profile, program, options)
        if print_app:
            click.echo(application_side(site), nl=False)
            return
        found = _for_proxy(PROGRAMS[program], profile, site, options)
    if output is None:
        click.echo(found.text, nl=False)
    else:
        _write(output, found.text)
    for sentence in found.lost:
        click.echo(f"- {sentence}", err=True)


def _for_openssl(profile: TLSProfile, options: dict[str, Any]) -> Export:
    for name in _OF_A_SITE:
        if options[name]:
            option = {"hosts": "host"}.get(name, name.replace("_", "-"))
            raise ConfigurationError(
                f"OpenSSL serves no site, and has no use for --{option}",
                fix="Leave it out; --version is OpenSSL's own.",
            )
    if options["version"]:
        return openssl_export(profile, parse_version(OPENSSL, options["version"]))
    # For this Python's OpenSSL, which can be asked.
    return Export(openssl_conf(profile, supported_groups=_openssl.supported_groups()), ())


def _for_proxy(program: Program, profile: TLSProfile, site: Site, options: dict[str, Any]) -> Export:
    here = installed(program.name)
    version = _version(program, options["version"], here)
    if program.name == "caddy":
        return caddyfile(profile, site, version)
    openssl = _openssl_of(program, version, options["openssl"], here)
    if program.name == "nginx":
        return nginx_conf(profile, site, version, openssl=openssl)
    return haproxy_cfg(profile, site, version, openssl=openssl)


def _version(program: Program, text: str | None, here: Installed | None) -> Version:
    if text is not None:
        return parse_version(program, text)
    return newest(program) if here is None else nearest(program, here.version)


def _openssl_of(program: Program, version: Version, text: str | None, here: Installed | None) -> Version:
    if text is not None:
        return parse_version(OPENSSL, text)
    if here is None or here.openssl is None or nearest(program, here.version)[:2] != version[:2]:
        return ASSUMED_OPENSSL
    return nearest(OPENSSL, here.openssl)


def _site(profile: TLSProfile, program: str, options: dict[str, Any]) -> Site:
    hosts: Sequence[str] = options["hosts"]
    certificate, key = _files(program, hosts, options["certificate"], options["key"])
    known = None if certificate is None or key is None else _known(certificate, key)
    if known is not None:
        for host in hosts:
            if not known.covers(host):
                raise ConfigurationError(
                    f"the certificate {certificate} does not name {host}, but {', '.join(known.subject_alt_names)}",
                    fix="Name one that does, or leave the host out.",
                )
        hosts = hosts or known.dns_names
    client_auth: Literal["required", "optional"] = options["client_auth"]
    return Site(
        hosts=tuple(hosts),
        upstream=Upstream.parse(options["upstream"]),
        certificate=certificate,
        key=key,
        client_ca=_absolute(options["client_ca"]),
        client_auth=client_auth,
        stapling=None if known is None else known.ocsp_url is not None,
        address=options["address"],
        http_port=options["http_port"],
        https_port=options["https_port"],
        headers=_headers(profile, options["hsts"], options["headers"]),
    )


def _files(
    program: str, hosts: Sequence[str], certificate: str | None, key: str | None
) -> tuple[str | None, str | None]:  # fmt: skip
    if certificate is None:
        if key is not None:
            raise ConfigurationError(f"a key ({key}) without a certificate", fix="Name the certificate's file as well.")
        if program == "caddy" or not hosts:
            return None, None
        certificate = f"{_CERTBOT}/{hosts[0].removeprefix('*.')}/fullchain.pem"
    if key is None:
        key = str(Path(certificate).with_name("privkey.pem"))
    return _absolute(certificate), _absolute(key)


def _known(certificate: str, key: str) -> Certificate | None:
    """The certificate, checked, where it is on this machine and may be read. Raises CertificateError."""
    try:
        return PEMFiles(certificate, key).load()
    except (MissingFileError, UnreadableFileError):
        return None


def _headers(profile: TLSProfile, hsts: str | None, which: str) -> dict[str, str]:
    others = dict(DEFAULTS) if which == "all" else {}
    if hsts == "off":
        return others
    policy = HSTS(max_age=profile.hsts_max_age) if hsts is None else HSTS.parse(hsts)
    return {HSTS_NAME: policy.value, **others}


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", fix="Name a file in a directory that you may write to."
        ) from None
