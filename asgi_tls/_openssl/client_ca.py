"""The CAs that a server names when it asks for a client's certificate (RFC 8446 section 4.2.4, RFC 5246 section 7.4.4).

Clients with several certificates choose by them: Go, Java and NSS send the wrong one, or none, where no CA is named.
"""

from __future__ import annotations

import ssl
from typing import Final

from asgi_tls._openssl.library import libssl

# Bytes of all names. A message of a handshake may have 2^16, and some clients take no more than half of that.
_LIMIT: Final = 1 << 15


def name_client_authorities(context: ssl.SSLContext) -> None:
    """Name the CAs in the context's store; none where they are too many, or libssl is out of reach.

    Call it on the context that a connection is handed over to: OpenSSL asks that one (tested with 3.0 and 3.5).
    """
    lib, _ = libssl()
    if lib is None:
        return
    pointer, size = lib.context(context), 0
    objects = lib.X509_STORE_get0_objects(lib.SSL_CTX_get_cert_store(pointer))
    for index in range(lib.OPENSSL_sk_num(objects)):
        certificate = lib.X509_OBJECT_get0_X509(lib.OPENSSL_sk_value(objects, index))
        if certificate:  # no CRL
            size += 2 + lib.i2d_X509_NAME(lib.X509_get_subject_name(certificate), None)
            lib.SSL_CTX_add_client_CA(pointer, certificate)
    if size > _LIMIT:
        lib.SSL_CTX_set_client_CA_list(pointer, None)
