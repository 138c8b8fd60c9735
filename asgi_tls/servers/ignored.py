"""The servers' own TLS settings that a context of ours would silently ignore, and what to use instead."""

from __future__ import annotations

from typing import Final

from asgi_tls.errors import ConfigurationError

POLICY: Final[dict[str, tuple[str, ...]]] = {
    "ssl_version": ("profile",),
    "ssl_ciphers": ("ciphersuites", "ciphers"),
    "ssl_cert_reqs": ("client_auth",),
    "ssl_ca_certs": ("client_ca",),
    "ciphers": ("ciphersuites", "ciphers"),
    "cert_reqs": ("client_auth",),
    "verify_mode": ("client_auth",),
    "verify_flags": ("client_auth",),
    "ca_certs": ("client_ca",),
}
"""Settings of uvicorn, hypercorn and gunicorn, and our own settings for the same."""

FILES: Final[dict[str, tuple[str, ...]]] = {
    "ssl_certfile": ("certfile",),
    "ssl_keyfile": ("keyfile",),
    "ssl_keyfile_password": ("keyfile_password_file",),
    "certfile": ("certfile",),
    "keyfile": ("keyfile",),
    "keyfile_password": ("keyfile_password_file",),
}
"""The same for the files: ignored only where the ServerTLS is made in Python, or of the environment."""

IGNORED: Final = POLICY | FILES


def option_error(option: str, name: str) -> ConfigurationError:
    """The error for the server's own setting `name` on a command line, typed as `option`."""
    settings = IGNORED[name]
    instead = " and ".join(f"{{{setting}}}" for setting in settings)
    return ConfigurationError(f"{option} would have no effect", fix=f"Use {instead} instead.", settings=settings)


def python_error(server: str, name: str) -> ConfigurationError:
    """The error for a setting of the server's beside a ServerTLS that was made in Python."""
    return ConfigurationError(
        f"{server}'s {name} would have no effect", fix="Remove it; ServerTLS has the certificates and the policy."
    )
