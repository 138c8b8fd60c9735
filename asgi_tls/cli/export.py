"""`asgi-tls export PROGRAM`: the same profile as the configuration of nginx, HAProxy, Caddy or OpenSSL."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from asgi_tls import _openssl
from asgi_tls.certificate import PEMFiles
from asgi_tls.cli.common import GroupedCommand, grouped, writing
from asgi_tls.cli.installed import Installed, installed
from asgi_tls.cli.options import profile_options
from asgi_tls.errors import ConfigurationError, MissingFileError, UnreadableFileError
from asgi_tls.export.application import application_side
from asgi_tls.export.caddy import caddyfile
from asgi_tls.export.document import Export
from asgi_tls.export.haproxy import haproxy_cfg
from asgi_tls.export.nginx import nginx_conf
from asgi_tls.export.openssl import openssl_conf
from asgi_tls.export.site import Site, Upstream
from asgi_tls.export.versions import (
    ASSUMED_OPENSSL,
    CADDY,
    NGINX,
    OPENSSL,
    PROGRAMS,
    Program,
    Version,
    nearest,
    newest,
    parse_version,
)
from asgi_tls.files import expanded, replace_file
from asgi_tls.middleware.fields import HSTS_NAME, defaults
from asgi_tls.middleware.hsts import HSTS
from asgi_tls.profile import TLSProfile

if TYPE_CHECKING:
    from asgi_tls.certificate import Certificate

# Where certbot keeps a certificate, by its first name.
_CERTBOT: Final = "/etc/letsencrypt/live"
# The parameters that have no effect on a target; giving one is an error.
_UNUSED: Final = {
    CADDY.name: ("openssl",),
    OPENSSL.name: (
        "openssl", "hosts", "certificate", "key", "client_ca", "client_auth", "upstream", "address", "http_port",
        "https_port", "hsts", "headers", "print_app",
    ),
}  # fmt: skip

_target, _site_option, _output = grouped("Target"), grouped("Site"), grouped("Output")


@click.command(cls=GroupedCommand)
@click.argument("program", type=click.Choice(list(PROGRAMS)))
@profile_options
@_target("--version", metavar="X.Y", help="The program's version.", show_default="the installed one")
@_target(
    "--openssl", metavar="X.Y", help="The OpenSSL that nginx or HAProxy runs with.", show_default="the installed one"
)
@_site_option(
    "--host", "hosts", metavar="NAME", multiple=True,
    help="A name of the site; repeatable.", show_default="those of the certificate",
)  # fmt: skip
@_site_option(
    "--certificate", metavar="FILE", help="The certificate with its chain.", show_default="certbot's for the first host"
)
@_site_option("--key", metavar="FILE", help="Its key.", show_default="privkey.pem beside the certificate")
@_site_option("--client-ca", metavar="FILE", help="Ask clients for a certificate of a CA in this file.")
@_site_option(
    "--client-auth", type=click.Choice(["required", "optional"]), default="required",
    help="Whether clients must have one; with --client-ca.",
)  # fmt: skip
@_site_option("--upstream", default="127.0.0.1:8000", help="The application: HOST:PORT or unix:/run/app.sock.")
@_site_option("--address", metavar="IP", help="The address to listen on.", show_default="all")
@_site_option("--http-port", type=int, default=80, help="The port that redirects, as clients see it.")
@_site_option("--https-port", type=int, default=443, help="The TLS port, as clients see it.")
@_site_option(
    "--hsts", metavar="VALUE",
    help="Strict-Transport-Security where the application sends none, or off.", show_default="the profile's",
)  # fmt: skip
@_site_option(
    "--headers", type=click.Choice(["hsts", "all"]), default="hsts",
    help="all: the other security headers too, for an application without TLSMiddleware.",
)  # fmt: skip
@_output(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the configuration to this file.", show_default="standard output",
)  # fmt: skip
@_output(
    "--print-app", is_flag=True,
    help="Print the application's side. The configuration is written only with --output.",
)  # fmt: skip
@click.pass_context
def export(
    ctx: click.Context, /, program: str, profile: TLSProfile, output: Path | None, print_app: bool, **options: Any
) -> None:
    """Print a profile as configuration of nginx, HAProxy, Caddy or OpenSSL.

    The file is complete, with the application behind the proxy. What PROGRAM cannot carry over is listed in it and on
    standard error.
    """
    _refuse_unused(ctx, program)
    if program == OPENSSL.name:
        version = options["version"]
        found = openssl_conf(profile, parse_version(OPENSSL, version)) if version else for_this_python(profile)
    else:
        site = _site(profile, program, options)
        found = _for_proxy(PROGRAMS[program], profile, site, options)
    if print_app:
        click.echo(application_side(site), nl=False)
    if output is not None:
        with writing("--output", output):
            replace_file(output, found.text.encode())
    elif not print_app:
        click.echo(found.text, nl=False)
    for sentence in found.lost:
        click.echo(f"- {sentence}", err=True)


def _refuse_unused(ctx: click.Context, program: str) -> None:
    """Raise ConfigurationError for an option that would have no effect."""
    title = PROGRAMS[program].title
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
            continue
        if name in _UNUSED.get(program, ()):
            raise ConfigurationError(f"{parameter.opts[0]} has no effect on an export for {title}", fix="Leave it out.")
        if name == "client_auth" and ctx.params["client_ca"] is None:
            raise ConfigurationError("--client-auth has no effect without --client-ca", fix="Give both, or none.")


def for_this_python(profile: TLSProfile) -> Export:
    """The openssl.cnf for the OpenSSL of this Python, which is asked for its groups."""
    major, minor, fix = ssl.OPENSSL_VERSION_INFO[:3]
    return openssl_conf(profile, (major, minor, fix), _openssl.supported_groups())


def _for_proxy(program: Program, profile: TLSProfile, site: Site, options: dict[str, Any]) -> Export:
    here = installed(program.name)
    version = _version(program, options["version"], here)
    if program == CADDY:
        return caddyfile(profile, site, version)
    openssl = _openssl_of(program, version, options["openssl"], here)
    return (nginx_conf if program == NGINX else haproxy_cfg)(profile, site, version, openssl=openssl)


def _version(program: Program, text: str | None, here: Installed | None) -> Version:
    if text is not None:
        return parse_version(program, text)
    return newest(program) if here is None else nearest(program, here.version)


def _openssl_of(program: Program, version: Version, text: str | None, here: Installed | None) -> Version:
    if text is not None:
        return parse_version(OPENSSL, text, option="--openssl")
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
                    f"--certificate {certificate} is for {', '.join(known.subject_alt_names)}, and not for {host}",
                    fix=f"Name a certificate that covers {host}, or leave out --host {host}.",
                )
        hosts = hosts or [name for name in known.dns_names if known.covers(name)]
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
            raise ConfigurationError("--key is given without --certificate", fix="Give --certificate as well.")
        if program == CADDY.name or not hosts:
            return None, None
        certificate = f"{_CERTBOT}/{hosts[0].removeprefix('*.')}/fullchain.pem"
    if key is None:
        key = str(Path(certificate).with_name("privkey.pem"))
    return _absolute(certificate), _absolute(key)


def _known(certificate: str, key: str) -> Certificate | None:
    """The certificate, checked, if it is on this machine and readable. Raises CertificateError."""
    try:
        return PEMFiles(certificate, key).load()
    except (MissingFileError, UnreadableFileError):
        return None


def _headers(profile: TLSProfile, hsts: str | None, which: str) -> dict[str, str]:
    others = defaults() if which == "all" else {}
    if hsts == "off":
        return others
    policy = HSTS(max_age=profile.hsts_max_age) if hsts is None else HSTS.parse(hsts)
    return {HSTS_NAME: policy.value, **others}


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(expanded(path).absolute())
