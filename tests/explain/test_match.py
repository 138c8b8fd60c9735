"""Codes and pasted text of every shape lead to the right trouble, the most specific first."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import RUNNER, here
from servers import asgi_tls

from asgi_tls.audit.judges.findings import KINDS
from asgi_tls.cli import main
from asgi_tls.explain import CATALOGUE, MAX_TEXT, explain, near

ISSUER = (
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)"
)

# Spellings; that programs really print such text is shown beside this file.
SPELLINGS = [
    ("UNSUPPORTED_PROTOCOL", "protocol-version"),
    ("unsupported protocol", "protocol-version"),
    ("  Unsupported-Protocol\n", "protocol-version"),
    ("SSL_R_UNSUPPORTED_PROTOCOL", "protocol-version"),
    ("ERR_SSL_UNSUPPORTED_PROTOCOL", "protocol-version"),
    ("0A000102", "protocol-version"),
    ("error:0A000102", "protocol-version"),
    ("error:0A000102:SSL routines::unsupported protocol", "protocol-version"),
    (
        "140:error:1408F10B:SSL routines:ssl3_get_record:wrong version number:../ssl/record/ssl3_record.c:331:",
        "not-tls",
    ),
    ("error:0A00042E", "protocol-version"),
    ("error:05800074", "certificate-key-mismatch"),
    ("error:0B080074:x509 certificate routines:X509_check_private_key:key values mismatch", "certificate-key-mismatch"),
    ("X509_V_ERR_CERT_HAS_EXPIRED", "certificate-expired"),
    ("verify error:num=20", "unknown-issuer"),
    ("Verify return code: 21 (unable to verify the first certificate)", "incomplete-chain"),
    ("client SSL certificate verify error: (18:self-signed certificate)", "self-signed"),
    ("verify 62", "name-mismatch"),
    ("curl 60", "verification-failed"),
    ("curl: (60)", "verification-failed"),
    ("curl: (47) Maximum (50) redirects followed", "redirect-loop"),
    ("alert 112", "unrecognized-name"),
    ("SSL alert number 48", "unknown-ca"),
    ("certificate_required", "client-certificate-required"),
    ("NET::ERR_CERT_AUTHORITY_INVALID", "unknown-issuer"),
    ("net::ERR_CERT_DATE_INVALID", "certificate-expired"),
    ("SEC_ERROR_UNKNOWN_ISSUER", "unknown-issuer"),
    ("sec_error_expired_certificate", "certificate-expired"),
    ("Error code: SSL_ERROR_RX_RECORD_TOO_LONG", "not-tls"),
    ("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed"),
    ("code: 'ERR_TLS_CERT_ALTNAME_INVALID'", "name-mismatch"),
    ("asgi_tls.errors.KeyMismatchError: …", "certificate-key-mismatch"),
    ("More: asgi-tls explain certificate-leaf-only", "certificate-leaf-only"),
    ("tls_reload_failed code=certificate-expired", "certificate-expired"),
    ('{"event": "tls_client_error", "code": "NO_SUITABLE_KEY_SHARE", "alert": "handshake_failure"}', "no-shared-group"),
    ("self signed certificate in certificate chain", "self-signed-in-chain"),
    ("self-signed certificate in certificate chain", "self-signed-in-chain"),
    ("self signed certificate", "self-signed"),
    ("remote error: tls: bad certificate", "bad-certificate"),
    ("x509: certificate signed by unknown authority", "unknown-issuer"),
    ("curl: (35) error:0A000410:SSL routines::sslv3 alert handshake failure", "handshake-failure"),
    ("SSL routines::ssl/tls alert handshake failure", "handshake-failure"),
    ("connection refused", "connection-refused"),
    # OpenSSL 3.5, 3.6 and 4.0
    ("error:0A0001A3", "openssl-configuration"),
    ("[SSL: ERROR_IN_SYSTEM_DEFAULT_CONFIG] error in system default config (_ssl.c:3125)", "openssl-configuration"),
    ("error:0A0001A4:SSL routines::missing supported versions extension", "malformed-handshake"),
    ("[SSL: TLS_ALERT_HANDSHAKE_FAILURE] tls alert handshake failure (_ssl.c:1032)", "handshake-failure"),
    ("[SSL: TLS_ALERT_CERTIFICATE_UNKNOWN] tls alert certificate unknown (_ssl.c:1032)", "certificate-unknown"),
    ("TLS_SESSION_ID_TOO_LONG", "malformed-handshake"),
    ("error:0A0001A8", "ech-failed"),
    ("ERR_ECH_NOT_NEGOTIATED", "ech-failed"),
    ("verify error:num=102:Empty Authority Key Identifier", "strict-x509"),
    ("verify error:num=99:OCSP response has expired", "staple-missing"),
    ("verify error:num=101:CRL verification failed", "crl-unavailable"),
    # browsers; Chromium's are shown beside this file
    ("net::ERR_SOCKET_NOT_CONNECTED", "client-certificate-required"),
    ("handshake failed; returned -1, SSL error code 1, net_error -15", "client-certificate-required"),
    (
        "Refused to load the script 'https://a.example/x.js' because it violates the following Content Security Policy "
        "directive: \"script-src 'self'\".",
        "csp-blocked",
    ),
    (
        "Content-Security-Policy: The page\u2019s settings blocked an inline script (script-src-elem) from being run",
        "csp-blocked",
    ),
    (
        "Refused to execute a script because its hash, its nonce, or 'unsafe-inline' does not appear in the script-src "
        "directive of the Content Security Policy.",
        "csp-blocked",
    ),
    (
        "The loading of \u201chttps://a.example/\u201d in a frame is denied by \u201cX-Frame-Options\u201c",
        "framing-blocked",
    ),
    ("GET https://a.example/i.png net::ERR_BLOCKED_BY_RESPONSE.NotSameOrigin 200 (OK)", "resource-policy"),
    (
        "Access to fetch at 'http://a.example/' from origin 'https://b.ex' has been blocked by CORS policy: Response "
        "to preflight request doesn't pass access control check: Redirect is not allowed for a preflight request.",
        "cors-blocked",
    ),
    (
        "Mixed Content: The page at 'https://a.example/' was loaded over HTTPS, but requested an insecure script",
        "mixed-content",
    ),
    ("HTTP/1.1 400 Bad Request\r\n\r\nInvalid host header", "invalid-host"),
    ("OSError: [Errno 24] Too many open files: 'fullchain.pem'", "too-many-open-files"),
    (
        "[Errno 98] attempting to bind on address ('127.0.0.1', 443): address already in use",
        "address-in-use",
    ),
    ("OSError: [Errno 48] Address already in use", "address-in-use"),
    ("Connection in use: ('0.0.0.0', 443)", "address-in-use"),
    ("127.0.0.1 is blocked: 20 failed handshakes in 60 s, 0 connections closed", "tls-guard"),
    ("live/fullchain.pem expires on 2026-12-01T00:00:00.000Z: 3.9 days left", "tls-certificate-expiring"),
    (
        "kept the old certificate: live/privkey.pem: does not belong to the certificate of CN=leaf25 in "
        "live/fullchain.pem. Check that both come from the same issuance.",
        "certificate-key-mismatch",
    ),
    ("kept the old client CAs: something else", "tls-reload-failed"),
    ("nothing is served for the new pair: something else", "tls-reload-failed"),
    ("\x1b[31mError:\x1b[0m self-signed \x1b[1mcertificate\x1b[0m", "self-signed"),
]


@pytest.mark.parametrize(("text", "code"), SPELLINGS)
def test_a_spelling_is_recognised(text: str, code: str) -> None:
    matches = explain(text)
    assert matches
    assert matches[0].trouble.code == code


def test_the_specific_comes_before_the_general() -> None:
    codes = [match.trouble.code for match in explain(f"Traceback …\n{ISSUER}\ncurl: (35) …")]
    assert codes == ["unknown-issuer", "verification-failed", "handshake-failure"]


def test_a_bare_number_may_be_several() -> None:
    assert {match.trouble.code for match in explain("20")} == {"unknown-issuer", "bad-record-mac"}


def test_what_stands_far_apart_does_not_belong_together() -> None:
    assert explain('certfile "a.pem" does not exist')[0].trouble.code == "certificate-missing-file"
    assert not explain(f"certfile is read {'and more is done ' * 100} the table does not exist")


@pytest.mark.parametrize("width", [7, 20, 39, 80])
def test_wrapped_text_is_recognised(width: int) -> None:
    wrapped = "\n    > ".join(ISSUER[at : at + width] for at in range(0, len(ISSUER), width))
    assert explain(wrapped)[0].trouble.code == "unknown-issuer"


@pytest.mark.parametrize(
    "text",
    ["", " \n", "hello world", "the certificate", "an error in my configuration", "unsupported media type", "code: 20",
     "HTTP 403 access denied by a rule", "curl 7.88.1", "no-data", "{}", '{"code": 3}', "[" * 10_000, '{"a":' * 5_000],
)  # fmt: skip
def test_what_is_no_trouble_of_tls(text: str) -> None:
    assert not [match for match in explain(text) if not match.trouble.general] or text == "no-data"


def test_what_is_near() -> None:
    assert near("UNSUPORTED_PROTOCOL")[0] == "UNSUPPORTED_PROTOCOL"
    assert near("certificate expird")[0] == "certificate_expired"
    assert near("xyzzy") == near("") == ()
    assert near("expired")[0] == "certificate-expired"
    assert "certificate-key-mismatch" in near("private key certificate")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_taken_and_none_of_it_comes_back(text: str) -> None:
    for match in explain(f"{text} qz9secret {ISSUER} {text}"):
        assert match.trouble is CATALOGUE[match.trouble.code]
        assert match.clues
        assert all(clue.isprintable() and "qz9" not in clue for clue in match.clues)
    explain(text)
    near(text)


@pytest.mark.parametrize(
    "piece", ["curl: (", "error:0A", "alert ", "a_", "-", "verify error: ", "\x1b[", '{"', " \n", "ssl"]
)
def test_the_time_grows_with_the_text_alone(piece: str) -> None:
    explain("once, for the index")
    started = time.process_time()
    explain(piece * (MAX_TEXT // len(piece) + 10))
    assert time.process_time() - started < 5


def ask(*arguments: str) -> tuple[int, str, str]:
    done = RUNNER.invoke(main, ["explain", *arguments])
    return done.exit_code, done.stdout, done.stderr


def pipe(stdin: bytes, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(asgi_tls("explain", *arguments), input=stdin, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_command_prints_all_that_is_known() -> None:
    status, text, errors = ask(ISSUER)
    trouble = CATALOGUE["unknown-issuer"]
    assert (status, errors) == (0, "")
    flat = " ".join(text.split())
    for part in (trouble.title, trouble.meaning, *trouble.causes, *trouble.fixes, trouble.reference):
        assert " ".join(part.split()) in flat
    assert all(f"  {command}\n" in text for command in trouble.commands)
    assert "Code: unknown-issuer. Found by: unable to get local issuer certificate" in text
    assert "verification-failed  The certificate could not be verified" in text


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_command_reads_what_is_piped_in(arguments: tuple[str, ...]) -> None:
    hostile = b"\x1b]0;title\x07 \xff\xfe \x00 \x9b31m secret-token \r\n"
    status, text, errors = pipe(hostile + ISSUER.encode() + b"\n" + hostile, *arguments)
    assert status == 0
    assert text.startswith(CATALOGUE["unknown-issuer"].title)
    assert "secret-token" not in text + errors
    assert all(character.isprintable() or character == "\n" for character in text + errors)


def test_the_command_joins_words_and_takes_options_for_text() -> None:
    status, text, _ = ask("curl:", "(60)", "--cacert", "unable", "to", "get", "local", "issuer", "certificate", "-k")
    assert status == 0
    assert "unknown-issuer" in text


def test_a_text_that_is_too_long_is_cut_and_said_to_be() -> None:
    long = b"x " * 3 * MAX_TEXT
    status, _, errors = pipe(ISSUER.encode() + long)
    assert status == 1
    assert f"only its last {MAX_TEXT} characters" in errors
    status, text, _ = pipe(long + ISSUER.encode())
    assert status == 0
    assert text.startswith(CATALOGUE["unknown-issuer"].title)


def test_nothing_found() -> None:
    status, text, errors = ask("NO_SHARED_CYPHER\x1b[31m")
    assert (status, text) == (1, "")
    assert "Did you mean: NO_SHARED_CIPHER" in errors
    assert "\x1b" not in errors
    assert ask("xyzzy")[2].count("\n") == 1
    assert "Did you mean: group-no-pq" in ask("Group-no-qp")[2]


def test_json_for_programs() -> None:
    status, text, _ = ask("--json", ISSUER)
    found = json.loads(text)
    assert status == 0
    assert [match["code"] for match in found["matches"]] == ["unknown-issuer", "verification-failed"]
    assert found["matches"][0]["matched"] == ["unable to get local issuer certificate"]
    assert found["matches"][0]["fixes"] == list(CATALOGUE["unknown-issuer"].fixes)
    status, text, _ = ask("--json", "NO_SHARED_CYPHER")
    assert status == 1
    assert json.loads(text)["near"][0] == "NO_SHARED_CIPHER"


def test_the_list_of_all() -> None:
    status, text, _ = ask("--list")
    assert status == 0
    codes = [line.split()[0] for line in text.splitlines()]
    assert codes == list(dict.fromkeys([*CATALOGUE, *KINDS]))
    listed = json.loads(ask("--list", "--json")[1])["catalogue"]
    assert [each["code"] for each in listed] == codes


@pytest.mark.parametrize("id_", KINDS)
def test_every_finding_of_an_audit_is_explained(id_: str) -> None:
    status, text = here(asgi_tls("explain", id_))
    assert status == 0
    assert f"\nCode: {id_}. " in text
    if id_ not in CATALOGUE:
        flat = " ".join(text.split())
        for part in (KINDS[id_].title, KINDS[id_].cause, KINDS[id_].fix, KINDS[id_].reference):
            assert part in flat


def test_a_line_of_an_audit_is_explained() -> None:
    status, text = here(asgi_tls("explain", " info  The port for plain HTTP is closed  http-closed"))
    assert (status, text.splitlines()[0]) == (0, KINDS["http-closed"].title)
    assert here(asgi_tls("explain", "the compression of files"))[0] == 1
