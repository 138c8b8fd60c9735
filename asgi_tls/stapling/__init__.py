"""OCSP stapling: the server sends the CA's fresh confirmation that its certificate is not revoked.

`ocsp` builds requests and verifies responses, `fetch` downloads them, `cache` stores them on disk for all workers of a
host, `stapler` has those that are served now and refreshes them.
"""

from typing import Literal

Stapling = Literal["off", "auto", "required"]
"""Never; if the certificate names a responder; or serve a certificate only with a good response."""
