"""What OpenSSL can do, but the standard library gives no access to. The only package here that uses ctypes.

Python's own method is preferred where it has one (3.15). Otherwise libssl is called, see `library`. Where it cannot be
called, functions raise UnsupportedError, and `capabilities()` says why.
"""

from asgi_tls._openssl.alpn import set_protocols
from asgi_tls._openssl.capabilities import Capabilities, capabilities
from asgi_tls._openssl.ciphersuites import set_ciphersuites
from asgi_tls._openssl.client_ca import name_client_authorities
from asgi_tls._openssl.client_hello import prefer_own_groups
from asgi_tls._openssl.groups import group_list, negotiated_group, set_groups, supported_groups
from asgi_tls._openssl.library import reachable
from asgi_tls._openssl.sessions import forget_sessions, limit_sessions, set_ticket_keys
from asgi_tls._openssl.stapling import staple
from asgi_tls._openssl.stapling_client import request_staple, stapled_response

__all__ = [
    "Capabilities",
    "capabilities",
    "forget_sessions",
    "group_list",
    "limit_sessions",
    "name_client_authorities",
    "negotiated_group",
    "prefer_own_groups",
    "reachable",
    "request_staple",
    "set_ciphersuites",
    "set_groups",
    "set_protocols",
    "set_ticket_keys",
    "staple",
    "stapled_response",
    "supported_groups",
]
