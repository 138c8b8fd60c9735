"""TLS alerts by name, and which of them OpenSSL has just queued for a peer."""

from __future__ import annotations

import ssl
from typing import Final

# IANA, TLS Alerts: those that a server of TLS 1.2 or 1.3 can send or receive.
NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}

_ALERT: Final = 0x15
_APPLICATION_DATA: Final = 0x17
_HEADER: Final = 5
_PLAIN_ALERT: Final = 2
ENCRYPTED: Final = "encrypted"
"""An alert was sent encrypted, and OpenSSL's reason does not tell which one."""

_FATAL: Final = 2
_UNEXPECTED_MESSAGE: Final = 10
_PROTOCOL_VERSION: Final = 70
_STUN: Final = b"\x21\x12\xa4\x42"
# A ClientHello in SSL 2.0 form, always the same (libwebrtc, rtc_base/socket_adapters.cc), as far as it is looked at.
_SSLTCP: Final = bytes.fromhex("8046010301002d000000")
_CONTENT_TYPES: Final = range(0x14, 0x18)

# What OpenSSL sends for the reasons that come up once TLS 1.3 has turned encryption on (ssl/statem, ssl/t1_enc.c).
_BY_REASON: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "certificate_required",  # RFC 8446 section 4.4.2.4
    "DIGEST_CHECK_FAILED": "decrypt_error",
    "BAD_SIGNATURE": "decrypt_error",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "bad_record_mac",
    "UNEXPECTED_MESSAGE": "unexpected_message",
    "UNEXPECTED_RECORD": "unexpected_message",
    "LENGTH_MISMATCH": "decode_error",
    "BAD_LENGTH": "decode_error",
    "CERT_LENGTH_MISMATCH": "decode_error",
    "ENCRYPTED_LENGTH_TOO_LONG": "record_overflow",
    "DATA_LENGTH_TOO_LONG": "record_overflow",
    "WRONG_SIGNATURE_TYPE": "illegal_parameter",
    "BAD_RECORD_TYPE": "unexpected_message",
}
# And those for a ClientHello that is refused: they are sent unencrypted.
_BY_REASON_OF_HELLO: Final = {
    "UNSUPPORTED_PROTOCOL": "protocol_version",
    "VERSION_TOO_LOW": "protocol_version",
    "NO_SHARED_CIPHER": "handshake_failure",
    "NO_SUITABLE_GROUPS": "handshake_failure",
    "NO_SUITABLE_KEY_SHARE": "handshake_failure",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "handshake_failure",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "handshake_failure",
    "NO_APPLICATION_PROTOCOL": "no_application_protocol",
    "INAPPROPRIATE_FALLBACK": "inappropriate_fallback",
}
# X509_V_ERR_… by number, as OpenSSL turns them into alerts (ssl/statem/statem_lib.c, ssl_x509err2alert).
_BY_VERIFY_CODE: Final = {
    **dict.fromkeys((2, 3, 18, 19, 20, 21, 22, 24, 33), "unknown_ca"),
    **dict.fromkeys((10, 12), "certificate_expired"),
    23: "certificate_revoked",
    26: "unsupported_certificate",
    7: "decrypt_error",
    8: "decrypt_error",
    **dict.fromkeys((9, 11, 13, 14, 15, 16, 27, 28, 66, 67, 68), "bad_certificate"),
}


def alert_in(records: bytes, error: ssl.SSLError) -> str | None:
    """The name of the alert at the end of what OpenSSL queued, None when there is none."""
    at, kind, body = 0, None, b""
    while at + _HEADER <= len(records):
        length = int.from_bytes(records[at + 3 : at + _HEADER])
        kind, body = records[at], records[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
    if kind == _ALERT and len(body) == _PLAIN_ALERT:
        return NAMES.get(body[1], str(body[1]))
    if kind not in {_ALERT, _APPLICATION_DATA}:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, "certificate_unknown")
    return _BY_REASON.get(error.reason or "", ENCRYPTED)


def alert_by_reason(error: ssl.SSLError, cipher: str | None) -> str | None:
    """The name of the alert that OpenSSL itself has sent, None where it sent none or its reason does not tell.

    `cipher` is the suite that was agreed on before it failed, if any.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, "certificate_unknown")
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE" and not (cipher or "").startswith("TLS_"):
        return "handshake_failure"  # TLS 1.2: RFC 5246 section 7.4.6
    return _BY_REASON.get(error.reason or "") or _BY_REASON_OF_HELLO.get(error.reason or "")


def is_webrtc(first: bytes) -> bool:
    """Whether a client begins with STUN (RFC 8489 section 5: the magic cookie), alone or behind a length (RFC 4571), or
    with what stands before it for a candidate of the protocol "ssltcp".

    OpenSSL would wait for the rest of a record, or take the client for an old one.
    """
    return (first[:1] < b"\x04" and _STUN in {first[4:8], first[6:10]}) or first.startswith(_SSLTCP)


def alert_for_garbage(error: ssl.SSLError, first: int | None) -> bytes:
    """The alert record for a first byte that is not TLS, where OpenSSL would send none; empty otherwise.

    RFC 8446 section 5: an unexpected record type MUST end the connection with unexpected_message. A record of TLS with
    a version that does not exist gets protocol_version (appendix D).
    """
    if error.reason != "WRONG_VERSION_NUMBER" or first is None:
        return b""
    alert = _PROTOCOL_VERSION if first in _CONTENT_TYPES else _UNEXPECTED_MESSAGE
    return _record(alert)


def _record(alert: int) -> bytes:
    return bytes((_ALERT, 3, 1, 0, 2, _FATAL, alert))


UNEXPECTED: Final = _record(_UNEXPECTED_MESSAGE)
"""A record with the alert unexpected_message."""
