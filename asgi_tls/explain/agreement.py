"""The two ends have no version, suite, group, signature, name or protocol in common."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

AGREEMENT: Final = (
    Trouble(
        code="protocol-version",
        title="The two ends speak no TLS version in common",
        meaning=(
            "One end allows only newer versions than the other has. A server with the profile modern speaks TLS 1.3"
            " alone, with intermediate 1.2 as well; 1.0 and 1.1 are gone everywhere."
        ),
        causes=(
            "an old client: Java 7, Python on OpenSSL 1.0, old devices and libraries",
            "a scanner that tries old versions: nothing is wrong then",
            "a server that offers only TLS 1.0 or 1.1, and a client of today",
            "an OpenSSL configuration (MinProtocol, MaxProtocol, Protocol) that leaves no version over",
        ),
        fixes=(
            "update the end that is behind",
            "for clients without TLS 1.3: `--tls-profile intermediate`",
            "do not open TLS 1.0 or 1.1: RFC 8996 forbids them",
        ),
        commands=(commands.TLS_1_2, commands.TLS_1_3, commands.CHECK, commands.DOCTOR),
        reference="RFC 8996; RFC 9325 section 3.1; docs/profiles.md",
        says=(
            "alert protocol version",
            "ssl routines unsupported protocol",
            "ssl routines no protocols available",
            "protocol version not supported",
            "Peer using unsupported version of security protocol",
            "A packet with illegal or unsupported version was received",
            "The server's version of TLS is not supported",
            "peer is incompatible",
        ),
        names=("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "VERSION_TOO_HIGH",
               "UNKNOWN_PROTOCOL", "UNSUPPORTED_SSL_VERSION", "UNKNOWN_SSL_VERSION", "WRONG_SSL_VERSION",
               "BAD_PROTOCOL_VERSION_NUMBER", "INAPPROPRIATE_FALLBACK", "SSL_ERROR_UNSUPPORTED_VERSION",
               "SSL_ERROR_PROTOCOL_VERSION_ALERT", "ERR_SSL_OBSOLETE_VERSION",
               "SSL_ERROR_INAPPROPRIATE_FALLBACK_ALERT"),
        alerts=(70, 86),
    ),
    Trouble(
        code="version-or-cipher",
        title="The two ends speak no version or no cipher suite in common",
        meaning="Chromium's page for both troubles: the server ended the handshake right after the ClientHello.",
        causes=(
            "the server speaks old versions only, or suites that browsers have dropped",
            "the server has no certificate at all, or none for this name, or one with a key that browsers lack"
            " (Ed25519)",
        ),
        fixes=("serve TLS 1.2 or 1.3 with an ECDSA P-256 or RSA certificate", "look at the server's log"),
        commands=(commands.TLS_1_2, commands.TLS_1_3),
        reference="RFC 9325 sections 3 and 4",
        says=("uses an unsupported protocol",),
        names=("ERR_SSL_VERSION_OR_CIPHER_MISMATCH",),
        net=(-113,),
    ),
    Trouble(
        code="no-shared-cipher",
        title="The two ends have no cipher suite in common",
        meaning=(
            "What the client offers and what the server allows do not meet. OpenSSL says the same when the server has"
            " no usable certificate: a suite needs a key of its kind."
        ),
        causes=(
            "a client that has only CBC suites or RSA key exchange for TLS 1.2",
            "the server has an ECDSA certificate, the client only RSA suites, or the reverse",
            "the server's context has no certificate, or `load_cert_chain` failed on it while it served",
            "over TLS 1.2, a client without one of the server's groups",
        ),
        fixes=(
            "update the client",
            "serve an ECDSA and an RSA certificate side by side:"
            " `ServerTLS([PEMFiles(…ecdsa…), PEMFiles(…rsa…)])`",
            "if it started at a renewal, restart the server; asgi-tls swaps in checked certificates only",
        ),
        commands=(
            "openssl s_client -connect HOST:443 -servername HOST -tls1_2 -cipher ECDHE+aRSA </dev/null",
            commands.SHOW_KEY,
        ),
        reference="RFC 9325 section 4.2; docs/profiles.md",
        says=("no shared cipher", "no ciphers available", "Cannot communicate securely with peer: no common",
              "tls: no cipher suite supported by both client and server", "no cipher suites in common",
              "alert insufficient security"),
        names=("NO_SHARED_CIPHER", "NO_CIPHERS_AVAILABLE", "SSL_ERROR_NO_CYPHER_OVERLAP", "INSUFFICIENT_SECURITY",
               "NO_CERTIFICATE_SET"),
        alerts=(71,),
    ),
    Trouble(
        code="cipher-list",
        title="A list of cipher suites names none that this OpenSSL has",
        meaning="`set_ciphers`, `--ciphers` or `--ssl-ciphers` was given names that nobody knows.",
        causes=(
            "IANA names where OpenSSL's are wanted, or a misspelt one",
            "TLS 1.3 suites in the list for TLS 1.2: they are set apart from it",
            "suites that this OpenSSL was built without",
        ),
        fixes=("use a profile of asgi-tls, or `--tls-ciphers` and `--tls-ciphersuites`, which say what is wrong",),
        commands=("openssl ciphers -v ALL", commands.DOCTOR),
        reference="OpenSSL, ciphers(1); docs/profiles.md",
        says=("No cipher can be selected", "no cipher match", "failed setting cipher list"),
        names=("NO_CIPHER_MATCH", "LIBRARY_HAS_NO_CIPHERS", "SSL_LIBRARY_HAS_NO_CIPHERS"),
        curl=(59,),
    ),
    Trouble(
        code="no-shared-group",
        title="The two ends have no group for the key exchange in common",
        meaning="TLS 1.3 agrees on a group (X25519, P-256, …) before anything else, and the lists do not meet.",
        causes=(
            "the server's groups were narrowed (`--tls-groups`) below what clients have",
            "a client with P-521, brainpool or post-quantum groups alone",
        ),
        fixes=("keep X25519 and P-256 in the list", "`asgi-tls doctor` shows which groups this OpenSSL has"),
        commands=(
            "openssl s_client -connect HOST:443 -servername HOST -groups X25519:P-256 </dev/null",
            commands.DOCTOR,
        ),
        reference="RFC 8446 section 4.2.7; docs/profiles.md",
        says=("no suitable key share", "no shared groups", "no suitable groups",
              "tls: no key exchanges supported by both client and server"),
        names=("NO_SUITABLE_KEY_SHARE", "NO_SHARED_GROUPS", "NO_SHARED_GROUP", "NO_SUITABLE_GROUPS", "WRONG_CURVE",
               "UNSUPPORTED_ELLIPTIC_CURVE", "CANNOT_GET_GROUP_NAME"),
    ),
    Trouble(
        code="no-shared-signature",
        title="The two ends have no signature algorithm in common",
        meaning="The client takes no signature that the server's key can make, or the reverse for client certificates.",
        causes=(
            "a key of a kind that the client lacks: Ed25519, Ed448, P-521, RSASSA-PSS",
            "an old client that signs with SHA-1 only, or an RSA key too short for SHA-256 and PSS",
        ),
        fixes=("use ECDSA P-256 or RSA 2048 keys and more", "update the client"),
        commands=(commands.SHOW_KEY, "openssl s_client -connect HOST:443 -servername HOST -sigalgs"
                  " ECDSA+SHA256:RSA-PSS+SHA256 </dev/null"),
        reference="RFC 8446 section 4.2.3; RFC 9155",
        says=("no shared signature algorithms", "no suitable signature algorithm",
              "legacy sigalg disallowed or unsupported",
              "tls: peer doesn't support any of the certificate's signature"),
        names=("NO_SHARED_SIGNATURE_ALGORITHMS", "NO_SUITABLE_SIGNATURE_ALGORITHM", "WRONG_SIGNATURE_TYPE",
               "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED", "SSL_ERROR_UNSUPPORTED_SIGNATURE_ALGORITHM",
               "NO_SUITABLE_DIGEST_ALGORITHM"),
    ),
    Trouble(
        code="dh-key-too-small",
        title="The server's Diffie-Hellman parameters are too short",
        meaning="The server chose a DHE suite with fewer bits than the client takes (Logjam).",
        causes=("an old server with 512 or 1024 bits of DH parameters",),
        fixes=("on the server drop DHE, or use a group of RFC 7919; the profiles of asgi-tls have ECDHE only",),
        commands=("openssl s_client -connect HOST:443 -servername HOST -tls1_2 -cipher ECDHE </dev/null",),
        reference="RFC 9325 section 4.1; RFC 7919",
        says=("dh key too small", "server has a weak ephemeral Diffie-Hellman public key"),
        names=("DH_KEY_TOO_SMALL", "SSL_ERROR_WEAK_SERVER_EPHEMERAL_DH_KEY", "ERR_SSL_WEAK_SERVER_EPHEMERAL_DH_KEY",
               "BAD_DH_VALUE"),
        net=(-129,),
    ),
    Trouble(
        code="legacy-renegotiation",
        title="The other end does not know secure renegotiation",
        meaning="OpenSSL 3 talks to no server without RFC 5746, which closed a hole in 2010.",
        causes=("an old server, load balancer or proxy in between",),
        fixes=("update the server or the box in front of it", "allow it for that host alone, and only meanwhile:"
               " `context.options |= ssl.OP_LEGACY_SERVER_CONNECT` (Python 3.12)"),
        commands=("openssl s_client -connect HOST:443 -servername HOST -legacy_server_connect </dev/null",),
        reference="RFC 5746",
        says=("unsafe legacy renegotiation disabled", "legacy renegotiation"),
        names=("UNSAFE_LEGACY_RENEGOTIATION_DISABLED", "SSL_ERROR_UNSAFE_NEGOTIATION"),
    ),
    Trouble(
        code="renegotiation-refused",
        title="The other end wanted to begin anew inside a connection, which is refused",
        meaning="Renegotiation exists only in TLS 1.2 and before, and costs the server much: it is switched off.",
        causes=("a scanner, a load test, or a client that asks for a new key after much data",),
        fixes=("nothing on the server; the client may use TLS 1.3, or a new connection",),
        commands=(commands.TLS_1_3,),
        reference="RFC 9325 section 3.5; RFC 8446 section 4.1.2",
        says=("no renegotiation", "tls: no renegotiation"),
        names=("NO_RENEGOTIATION", "SSL_ERROR_RENEGOTIATION_NOT_ALLOWED", "RENEGOTIATION_MISMATCH",
               "RENEGOTIATION_ENCODING_ERR", "SCSV_RECEIVED_WHEN_RENEGOTIATING", "RENEGOTIATE_EXT_TOO_LONG"),
        alerts=(100,),
    ),
    Trouble(
        code="unrecognized-name",
        title="The server has no certificate for the name that was asked for",
        meaning=(
            "The client named a host in its first message (SNI), or none, and the server serves others. It ends the"
            " handshake rather than show a certificate that does not match."
        ),
        causes=(
            "a client that calls by IP address or sends no SNI, where the server has names only",
            "a name that was left out of the server's settings, or a scanner that guesses",
            "DNS leads a name here that this server does not serve",
        ),
        fixes=(
            "add the name: `--tls-certificate NAME=CERT,KEY`, or a `default` for all others",
            "call the server by a name that it serves",
        ),
        commands=(commands.SHOW_NAMES, "openssl s_client -connect HOST:443 -noservername </dev/null"),
        reference="RFC 6066 section 3; RFC 9325 section 3.7",
        says=("handshake alert: unrecognized_name", "asked for a name that is not served"),
        names=("TLSV1_UNRECOGNIZED_NAME", "ERR_SSL_UNRECOGNIZED_NAME_ALERT", "SSL_ERROR_UNRECOGNIZED_NAME_ALERT"),
        alerts=(112,),
        net=(-159,),
    ),
    Trouble(
        code="no-application-protocol",
        title="The two ends have no application protocol in common",
        meaning="ALPN names what is spoken inside TLS (h2, http/1.1), and the lists do not meet.",
        causes=("a client that wants HTTP/2 only (gRPC), and a server with HTTP/1.1", "another service on this port"),
        fixes=("serve HTTP/2: `asgi-tls hypercorn`", "let the client offer http/1.1 as well"),
        commands=("openssl s_client -connect HOST:443 -servername HOST -alpn h2,http/1.1 </dev/null",),
        reference="RFC 7301 section 3.2",
        says=("alert no application protocol", "client requested unsupported application protocols"),
        names=("NO_APPLICATION_PROTOCOL", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "ERR_ALPN_NEGOTIATION_FAILED",
               "SSL_ERROR_NEXT_PROTOCOL_NO_CALLBACK", "ERR_HTTP2_INADEQUATE_TRANSPORT_SECURITY"),
        alerts=(120,),
        net=(-122,),
    ),
    Trouble(
        code="handshake-failure",
        title="The handshake failed, and the other end does not say why",
        meaning=(
            "The alert handshake_failure, or a program's general word for it: the two ends could not agree. The"
            " server's own log holds the reason."
        ),
        causes=(
            "no version, cipher suite, group or signature algorithm in common",
            "over TLS 1.2, a client certificate that is required and missing",
            "a server without a certificate for this name",
        ),
        fixes=(
            "look at the server's log: the `code` of a `tls_client_error` is known to `asgi-tls explain`",
            "try versions one by one, as below",
        ),
        commands=(commands.CHECK, commands.TLS_1_3, commands.TLS_1_2, commands.DOCTOR),
        reference="RFC 8446 section 6.2",
        general=True,
        says=("alert handshake failure", "tls: handshake failure", "SSL peer was unable to negotiate an acceptable set",
              "received fatal alert: handshake_failure", "SSL connect error", "Unable to establish SSL connection",
              "TLS connect error"),
        names=("SSL_HANDSHAKE_FAILURE", "SSL_ERROR_HANDSHAKE_FAILURE_ALERT", "EPROTO",
               "ClientConnectorSSLError", "SSLHandshakeException"),
        alerts=(40,),
        curl=(35,),
    ),
)  # fmt: skip
