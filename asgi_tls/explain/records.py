"""Messages and records that break the rules of TLS itself."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

RECORDS: Final = (
    Trouble(
        code="malformed-handshake",
        title="A message of the handshake breaks the rules",
        meaning=(
            "What came looks like TLS and is wrong: a length, an order, a value or an extension. Ordinary clients do"
            " not do that."
        ),
        causes=(
            "a scanner or fuzzer that tries a server out: nothing is wrong then",
            "something in between that changes packets: an old load balancer, a virus scanner",
            "a faulty TLS library on one end",
        ),
        fixes=(
            "on a public server: nothing; `--tls-guard` keeps out addresses that go on",
            "for one client that should work: update its TLS library, try it without proxy",
        ),
        commands=(commands.TLS_1_3, commands.TLS_1_2),
        reference="RFC 8446 sections 4 and 6.2; docs/monitoring.md",
        says=("alert illegal parameter", "alert decode error", "alert unexpected message", "alert missing extension",
              "alert unsupported extension", "tls: unexpected message", "tls: illegal parameter",
              "tls: error decoding message", "not on record boundary", "error in received cipher list"),
        names=(
            "APP_DATA_IN_HANDSHAKE", "BAD_CHANGE_CIPHER_SPEC", "BAD_CIPHER", "BAD_DATA", "BAD_DIGEST_LENGTH",
            "BAD_EARLY_DATA", "BAD_ECPOINT", "BAD_EXTENSION", "BAD_HANDSHAKE_LENGTH", "BAD_HANDSHAKE_STATE",
            "BAD_HELLO_REQUEST", "BAD_HRR_VERSION", "BAD_KEY_SHARE", "BAD_KEY_UPDATE", "BAD_LEGACY_VERSION",
            "BAD_LENGTH", "BAD_PACKET", "BAD_PACKET_LENGTH", "BAD_PSK", "BAD_PSK_IDENTITY", "BAD_RSA_ENCRYPT",
            "CALLBACK_FAILED", "CCS_RECEIVED_EARLY", "CERT_LENGTH_MISMATCH", "CIPHERSUITE_DIGEST_HAS_CHANGED",
            "CIPHER_CODE_WRONG_LENGTH", "CLIENTHELLO_TLSEXT", "COOKIE_MISMATCH", "DATA_BETWEEN_CCS_AND_FINISHED",
            "DH_PUBLIC_VALUE_LENGTH_IS_WRONG", "ERROR_IN_RECEIVED_CIPHER_LIST", "EXCEEDS_MAX_FRAGMENT_SIZE",
            "EXCESSIVE_MESSAGE_SIZE", "EXTRA_DATA_IN_MESSAGE", "EXT_LENGTH_MISMATCH", "FRAGMENTED_CLIENT_HELLO",
            "GOT_A_FIN_BEFORE_A_CCS", "ILLEGAL_POINT_COMPRESSION", "INCONSISTENT_EARLY_DATA_ALPN",
            "INCONSISTENT_EARLY_DATA_SNI", "INCONSISTENT_EXTMS", "INVALID_ALERT", "INVALID_CCS_MESSAGE",
            "INVALID_COMPRESSION_ALGORITHM", "INVALID_KEY_UPDATE_TYPE", "INVALID_MAX_EARLY_DATA",
            "INVALID_SEQUENCE_NUMBER", "INVALID_SESSION_ID", "LENGTH_MISMATCH", "LENGTH_TOO_LONG", "LENGTH_TOO_SHORT",
            "MISSING_FATAL", "MISSING_PSK_KEX_MODES_EXTENSION", "MISSING_SIGALGS_EXTENSION",
            "MISSING_SUPPORTED_GROUPS_EXTENSION", "MIXED_HANDSHAKE_AND_NON_HANDSHAKE_DATA", "NOT_ON_RECORD_BOUNDARY",
            "NO_CHANGE_FOLLOWING_HRR", "NO_CIPHERS_SPECIFIED", "NO_COMPRESSION_SPECIFIED",
            "OLD_SESSION_CIPHER_NOT_RETURNED", "PARSE_TLSEXT", "RECORD_LENGTH_MISMATCH", "RECORD_TOO_SMALL",
            "REQUIRED_CIPHER_MISSING",
            "SERVERHELLO_TLSEXT", "SIGNATURE_ALGORITHMS_ERROR", "SSL3_EXT_INVALID_MAX_FRAGMENT_LENGTH",
            "SSL3_EXT_INVALID_SERVERNAME", "SSL3_EXT_INVALID_SERVERNAME_TYPE", "SSL3_SESSION_ID_TOO_LONG",
            "SSL_SESSION_ID_TOO_LONG", "SSL_SESSION_VERSION_MISMATCH", "TLSV1_UNSUPPORTED_EXTENSION",
            "TLS_INVALID_ECPOINTFORMAT_LIST", "TOO_MANY_KEY_UPDATES", "TOO_MANY_WARN_ALERTS", "TOO_MUCH_EARLY_DATA",
            "UNEXPECTED_CCS_MESSAGE", "UNEXPECTED_END_OF_EARLY_DATA", "UNEXPECTED_MESSAGE", "UNEXPECTED_RECORD",
            "UNKNOWN_ALERT_TYPE", "UNKNOWN_CIPHER_RETURNED", "UNSOLICITED_EXTENSION",
            "UNSUPPORTED_COMPRESSION_ALGORITHM", "WRONG_CERTIFICATE_TYPE", "WRONG_CIPHER_RETURNED",
            "SSL_ERROR_RX_MALFORMED_CLIENT_HELLO",
            "SSL_ERROR_ILLEGAL_PARAMETER_ALERT", "SSL_ERROR_DECODE_ERROR_ALERT", "SSL_ERROR_UNEXPECTED_MESSAGE_ALERT",
            "SSL_ERROR_RX_UNEXPECTED_SERVER_HELLO",
        ),
        alerts=(10, 47, 50, 109, 110),
    ),
    Trouble(
        code="bad-record-mac",
        title="A record was changed on its way",
        meaning="Its authentication code does not fit: the bytes are not those that were sent, or the keys differ.",
        causes=(
            "a faulty network card, driver or middlebox; offloading of checksums or TLS is a usual suspect",
            "one connection used by two threads or processes at once (after a fork, for example)",
            "a scanner",
        ),
        fixes=(
            "open connections after the fork, and use each in one thread",
            "try from another machine; switch offloading off for a try",
        ),
        commands=("ethtool -k eth0 | grep -e tls -e checksum", commands.TLS_1_3),
        reference="RFC 8446 sections 5.2 and 6.2",
        says=("decryption failed or bad record mac", "bad record mac", "cannot decrypt peer's message",
              "incorrect Message Authentication Code"),
        names=("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "DECRYPTION_FAILED", "BLOCK_CIPHER_PAD_IS_WRONG",
               "SSL_ERROR_BAD_MAC_READ", "SSL_ERROR_BAD_MAC_ALERT", "ERR_SSL_BAD_RECORD_MAC_ALERT"),
        alerts=(20, 21),
        net=(-126,),
    ),
    Trouble(
        code="internal-error",
        title="The other end failed by itself",
        meaning="The alert internal_error: something went wrong there that has nothing to do with TLS.",
        causes=(
            "the server could not read its key or certificate, or has none for this name",
            "a callback of it failed, or it ran out of memory",
        ),
        fixes=("look at the other end's log", "call it by a name that it serves"),
        commands=(commands.TLS_1_3, commands.SHOW_NAMES),
        reference="RFC 8446 section 6.2",
        general=True,
        says=("alert internal error", "tls: internal error"),
        names=("LIBRARY_BUG", "SSL_ERROR_INTERNAL_ERROR_ALERT"),
        alerts=(80,),
    ),
    Trouble(
        code="unknown-psk",
        title="The pre-shared key or ticket is not known",
        meaning="A client wanted to go on with a key that the server lacks. With tickets it falls back by itself.",
        causes=("external pre-shared keys that differ", "a library that sends old tickets and gives up when refused"),
        fixes=("give both ends the same key", "let the client make a full handshake"),
        commands=("openssl s_client -connect HOST:443 -servername HOST -reconnect </dev/null",),
        reference="RFC 8446 section 4.2.11",
        says=("alert unknown psk identity",),
        names=("PSK_IDENTITY_NOT_FOUND", "PSK_NO_CLIENT_CB", "PSK_NO_SERVER_CB"),
        alerts=(115,),
    ),
)  # fmt: skip
