"""A profile as an OpenSSL configuration file: policy for programs that have no switch for it.

OpenSSL reads the file that OPENSSL_CONF names when a process starts. It is the only way to set groups and TLS 1.3
suites where libssl is linked statically.
"""

from __future__ import annotations

from collections.abc import Collection

from asgi_tls.export.document import Export, of_openssl
from asgi_tls.export.versions import Version
from asgi_tls.profile import VERSIONS, TLSProfile, cipher_string


def openssl_conf(profile: TLSProfile, *, supported_groups: Collection[str] | None = None) -> str:
    """The text of an openssl.cnf for OpenSSL 1.1.1 and later.

    `supported_groups` are those of the OpenSSL that will read it: before 3.5, one unknown name fails the whole file.
    """
    groups = [name for name in profile.groups if supported_groups is None or name in supported_groups]
    lines = [
        f"# TLS profile {profile.name}, for OPENSSL_CONF.",
        "openssl_conf = asgi_tls",
        "",
        "[asgi_tls]",
        "ssl_conf = asgi_tls_ssl",
        "",
        "[asgi_tls_ssl]",
        "system_default = asgi_tls_policy",
        "",
        "[asgi_tls_policy]",
        f"MinProtocol = {profile.minimum_version}",
        f"MaxProtocol = {profile.maximum_version}",
        # CPython sets a minimum of TLS 1.2 on each context, over MinProtocol; switching a version off stays.
        *(f"Protocol = -{version}" for version in VERSIONS if not profile.speaks(version)),
        f"Ciphersuites = {':'.join(profile.ciphersuites)}",
        f"CipherString = {cipher_string(profile)}",
        f"Groups = {':'.join(groups)}",
        "Options = -Compression",
    ]
    return "\n".join(lines) + "\n"


def openssl_export(profile: TLSProfile, version: Version) -> Export:
    """The openssl.cnf for a version of OpenSSL, and what is lost."""
    groups, lost = of_openssl(profile, version)
    return Export(openssl_conf(profile, supported_groups=groups), tuple(lost))
