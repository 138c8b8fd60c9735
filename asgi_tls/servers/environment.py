"""The same settings for every way to start a server: `--tls-…` options, and `ASGI_TLS_…` variables behind them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from asgi_tls.certificate import Certificate, CertificateSource, PasswordFile, PEMFiles, Purpose
from asgi_tls.certificate.by_name import DEFAULT
from asgi_tls.certificate.sources import files_or_secret
from asgi_tls.context.server_context import ClientAuth
from asgi_tls.errors import ConfigurationError
from asgi_tls.handshake.plain_http import PlainHTTP
from asgi_tls.hostnames import checked_port
from asgi_tls.profile import INTERMEDIATE, PROFILES, TLSProfile
from asgi_tls.server import ServerTLS
from asgi_tls.servers.listening import listeners_for
from asgi_tls.servers.settings import FILES, OTHERS, PREFIX, SETTINGS
from asgi_tls.stapling import Stapling
from asgi_tls.tickets import DEFAULT_ROTATION, secret_from

logger = logging.getLogger("asgi_tls")

DEVELOPMENT_NAMES: Final = ("localhost", "127.0.0.1", "::1")

Values = Mapping[str, str | Sequence[str] | bool | None]


def from_environment(environ: Mapping[str, str] | None = None) -> dict[str, str | Sequence[str] | bool | None]:
    """The settings that ASGI_TLS_… variables give, None for the others.

    Raises ConfigurationError for a variable that nobody reads: a misspelt policy must not be ignored.
    """
    environ = os.environ if environ is None else environ
    known = {setting.variable: setting for setting in SETTINGS + FILES}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known and variable not in OTHERS:
            raise ConfigurationError(
                f"the environment sets {variable}, which nothing reads", fix=f"Use one of {', '.join(sorted(known))}."
            )
    values: dict[str, str | Sequence[str] | bool | None] = {}
    for variable, setting in known.items():
        text = environ.get(variable) or None
        if text is not None and setting.is_flag:
            values[setting.name] = _as_flag(variable, text)
        elif text is not None and setting.multiple:
            values[setting.name] = text.split()
        else:
            values[setting.name] = text
    return values


def server_tls(
    values: Values | None = None,
    *,
    certfile: str | None = None,
    keyfile: str | None = None,
    password: str | None = None,
) -> ServerTLS:
    """The ServerTLS for these settings, by default those of the environment, and this key pair.

    Without a certificate anywhere, a development certificate for localhost is made, and a warning says so.

    Raises ASGITLSError.
    """
    values = from_environment() if values is None else values
    return ServerTLS(
        _certificates(values, certfile, keyfile, password),
        profile=profile_for(values),
        client_ca=_path(values, "client_ca"),
        client_auth=_client_auth(values),
        client_crl=_path(values, "client_crl"),
        directory=_path(values, "directory"),
        reload_interval=_seconds(values, "reload_interval", 5.0),
        allow_unsupported=bool(values.get("allow_unsupported")),
        handshake_timeout=_seconds(values, "handshake_timeout", 10.0),
        plain_http=_plain_http(values),
        stapling=cast("Stapling", _text(values, "stapling") or "auto"),  # ServerTLS checks it
        ticket_secret=secret_from(_path(values, "ticket_secret_file"), _text(values, "ticket_secret")),
        ticket_rotation=_seconds(values, "ticket_rotation", DEFAULT_ROTATION),
        listeners=listeners_for(values),
    )


def profile_for(values: Values) -> TLSProfile:
    """The profile that these settings choose or derive.

    Raises ConfigurationError, ProfileError.
    """
    name = _text(values, "profile") or INTERMEDIATE.name
    if name not in PROFILES:
        raise ConfigurationError(f"unknown profile {name!r}", fix=f"Choose from {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    groups, ciphersuites, ciphers = (_list(values, name) for name in ("groups", "ciphersuites", "ciphers"))
    if groups:
        profile = profile.with_groups(*groups)
    if ciphersuites:
        profile = profile.with_ciphersuites(*ciphersuites)
    if ciphers:
        profile = profile.with_ciphers(*ciphers)
    return profile


def _certificates(
    values: Values, certfile: str | None, keyfile: str | None, password: str | None
) -> dict[str, list[CertificateSource]]:
    certfile = certfile or _path(values, "certfile")
    keyfile = keyfile or _path(values, "keyfile")
    password_file = _path(values, "keyfile_password_file")
    named: dict[str, list[CertificateSource]] = {}
    for entry in values.get("certificate") or ():  # type: ignore[union-attr]  # a list: the setting is `multiple`
        name, _, files = entry.partition("=")
        parts = files.split(",")
        if not name or len(parts) > 2 or not all(parts):
            raise ConfigurationError(
                f"{entry!r} does not name a certificate", fix="Write NAME=fullchain.pem,privkey.pem."
            )
        named.setdefault(name, []).append(PEMFiles(*parts))
    if certfile:
        secret = PasswordFile(password_file) if password is None and password_file else password
        named.setdefault(DEFAULT, []).insert(0, files_or_secret(certfile, keyfile, secret))
    elif keyfile:
        raise ConfigurationError(f"a key ({keyfile}) without a certificate", fix="Name the certificate's file as well.")
    elif not named and not _path(values, "directory"):
        named[DEFAULT] = [development_certificate()]
    return named


class DevelopmentFiles(PEMFiles):
    """A pair of the local CA. That its root must be trusted is said when the pair is made, not again at each load."""

    def load(self, purpose: Purpose = "server") -> Certificate:
        return replace(super().load(purpose), warnings=())


def plain_port(values: Values) -> tuple[int, str | None] | None:
    """The port and the webroot of the plain listener that the settings ask for, None without one.

    Raises ConfigurationError.
    """
    port, webroot = _text(values, "redirect_port"), _path(values, "redirect_webroot")
    if port is None:
        if webroot is not None:
            raise ConfigurationError("a redirect webroot without a redirect port", fix="Set the port as well.")
        return None
    return checked_port("the redirect port", port), webroot


def refuse_plain_port(values: Values, server: str) -> None:
    """Raise ConfigurationError where a server has no plain port beside the TLS port."""
    if _text(values, "redirect_port") is not None:
        raise ConfigurationError(
            f"{server} cannot run the plain port beside the TLS port",
            fix="Run asgi_tls.middleware.redirect_app in a process of its own, or use `asgi-tls uvicorn`.",
        )


def development_certificate(names: Sequence[str] = DEVELOPMENT_NAMES) -> CertificateSource:
    """A certificate of the local CA, made or renewed where needed. Logs that it is one."""
    from asgi_tls.dev.ca import LocalCA

    ca = LocalCA()
    issued = ca.issue(names)
    logger.warning(
        "No certificate was named: serving a development certificate for %s. Clients must trust %s.",
        ", ".join(names), ca.certificate_path,
    )  # fmt: skip
    return DevelopmentFiles(issued.certfile, issued.keyfile)


def _text(values: Values, name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) and value else None


def _path(values: Values, name: str) -> str | None:
    text = _text(values, name)
    return None if text is None else str(Path(text).expanduser())


def _list(values: Values, name: str) -> list[str]:
    text = _text(values, name) or ""
    return [part for part in text.replace(",", ":").split(":") if part]


def _client_auth(values: Values) -> ClientAuth | None:
    how = _text(values, "client_auth")
    if how is None:
        return None
    if how == "required":
        return "required"
    if how == "optional":
        return "optional"
    raise ConfigurationError(f"client_auth is {how!r}", fix='Choose "required" or "optional".')


def _seconds(values: Values, name: str, default: float) -> float:
    text = _text(values, name)
    try:
        return default if text is None else float(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}", fix="Give seconds, as in 10 or 2.5.") from None


def _plain_http(values: Values) -> PlainHTTP:
    how = _text(values, "plain_http") or "redirect"
    if how == "redirect":
        return "redirect"
    if how == "reject":
        return "reject"
    raise ConfigurationError(f"plain_http is {how!r}", fix='Choose "redirect" or "reject".')


def _as_flag(variable: str, text: str) -> bool:
    lowered = text.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ConfigurationError(f"{variable} is {text!r}", fix="Set it to 1 or 0.")
