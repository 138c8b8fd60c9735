"""The errors that Python, OpenSSL, curl, Node and browsers show for TLS, with cause, fix and a command to verify.

    for match in explain("curl: (60) SSL certificate problem: certificate has expired"):
        print(match.trouble.code, match.trouble.fixes)

Codes are stable: whoever finds a trouble by other means can point to `CATALOGUE[code]`.
"""

from asgi_tls.explain.catalogue import CATALOGUE
from asgi_tls.explain.match import MAX_TEXT, Match, explain, near
from asgi_tls.explain.trouble import Trouble

__all__ = ["CATALOGUE", "MAX_TEXT", "Match", "Trouble", "explain", "near"]
