"""OCSP stapling: a fresh word of the CA that the certificate is good, sent along in the handshake.

`ocsp` builds requests and judges responses, `fetch` brings them, `cache` keeps them on disk for all workers of a host,
`stapler` holds what is served now and refreshes it.
"""

from typing import Literal

Stapling = Literal["off", "auto", "required"]
"""Not at all; wherever the certificate names a responder; or never without a good response."""
