"""The errors that Python, OpenSSL, curl, Node and browsers show for TLS, with cause, fix and a command to verify.

    for match in explain("curl: (60) SSL certificate problem: certificate has expired"):
        print(match.trouble.code, match.trouble.fixes)

Codes are stable: whoever finds a problem by other means can point to `CATALOGUE[code]`.
"""

from collections.abc import Mapping

from asgi_tls.explain.catalogue import Trouble, catalogue
from asgi_tls.explain.match import MAX_TEXT, Match, explain, near

__all__ = ["CATALOGUE", "MAX_TEXT", "Match", "Trouble", "explain", "near"]

CATALOGUE: Mapping[str, Trouble]
"""Every entry by its code, read when it is first used."""


def __getattr__(name: str) -> object:
    if name == "CATALOGUE":
        return catalogue()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
