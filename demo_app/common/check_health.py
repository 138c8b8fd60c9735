"""For HEALTHCHECK in the Dockerfile: succeeds when the server on this machine's port 8443 answers /healthz over TLS.

The certificate is not verified here: it is for the server's public name, and this asks the loopback address.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys

PORT = int(os.environ.get("PORT", "8443"))


def main() -> int:
    """The exit status: 0 when all is well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context, timeout=3)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
