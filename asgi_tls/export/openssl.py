"""A profile as an OpenSSL configuration file: policy for programs that have no switch for it.

OpenSSL reads the file that OPENSSL_CONF names when a process starts. It is the only way to set groups and TLS 1.3
suites where libssl is linked statically.
"""

from __future__ import annotations

from collections.abc import Collection

from asgi_tls.export.document import Export, groups_for
from asgi_tls.export.versions import Version
from asgi_tls.profile import VERSIONS, TLSProfile, cipher_string


def openssl_conf(profile: TLSProfile, version: Version, supported_groups: Collection[str] | None = None) -> Export:
    """The openssl.cnf for a version of OpenSSL, 1.1.1 or later, and what is lost.

    `supported_groups` are those of the OpenSSL that will read it, where it can be asked. From OpenSSL 3.5 on each group
    is a tuple of its own, so that a server keeps the order of the list. Raises ConfigurationError.
    """
    groups, lost = groups_for(profile, version, supported_groups)
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
        *(f"Protocol = -{each}" for each in VERSIONS if not profile.speaks(each)),
        f"Ciphersuites = {':'.join(profile.ciphersuites)}",
        f"CipherString = {cipher_string(profile)}",
        f"Groups = {groups}",
        "Options = -Compression",
    ]
    return Export("\n".join(lines) + "\n", tuple(lost))
