"""Client certificates, and what the other end says of a certificate by an alert."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

CLIENTS: Final = (
    Trouble(
        code="client-certificate-required",
        title="The server asks for a client certificate, and got none",
        meaning="The server lets in only clients that show a certificate of a CA that it accepts (mutual TLS).",
        causes=(
            "the client was given no certificate, or only the certificate and not its key",
            "the client has one, but its issuer is not in the list that the server sends, so it stays silent",
        ),
        fixes=(
            "client: `curl --cert client.pem --key client-key.pem`,"
            " `create_client_context(certificate=PEMFiles('client.pem', 'client-key.pem'))`",
            "server: `--tls-client-auth optional` where clients without one may come as well",
        ),
        commands=(
            commands.WITH_CLIENT_CERTIFICATE,
            "openssl s_client -connect HOST:443 -servername HOST </dev/null | grep -A9 'client certificate CA names'",
        ),
        reference="RFC 8446 sections 4.4.2.4 and 6.2",
        says=("peer did not return a certificate", "No required SSL certificate was sent",
              "tls: client didn't provide a certificate", "tls: certificate required"),
        names=("PEER_DID_NOT_RETURN_A_CERTIFICATE", "ERR_SSL_CLIENT_AUTH_CERT_NEEDED",
               "ERR_BAD_SSL_CLIENT_AUTH_CERT", "SSLV3_ALERT_NO_CERTIFICATE",
               "SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT", "NO_CERTIFICATES_RETURNED"),
        alerts=(116,),
        net=(-110, -117),
    ),
    Trouble(
        code="bad-certificate",
        title="The other end refuses this side's certificate",
        meaning=(
            "The alert bad_certificate came in. On a server's log: the client does not accept the server's certificate,"
            " often for its name. On a client: the server does not accept the client's certificate."
        ),
        causes=(
            "the certificate does not match the name, is damaged, not yet valid, or breaks a strict rule",
            "a client certificate that is not from the CA that the server accepts",
        ),
        fixes=(
            "look at the other end's own message: it names the reason, the alert does not",
            "run the command from the other end's machine, with its CA bundle",
        ),
        commands=(commands.VERIFY_CHAIN, commands.WITH_CLIENT_CERTIFICATE),
        reference="RFC 8446 section 6.2",
        says=("The SSL certificate error", "tls: bad certificate"),
        names=("SSL_ERROR_BAD_CERT_ALERT",),
        alerts=(42,),
    ),
    Trouble(
        code="unknown-ca",
        title="The other end does not know the issuer of this side's certificate",
        meaning=(
            "The alert unknown_ca came in. On a server's log: a client does not trust the server's chain. On a client:"
            " the server does not accept the CA of the client's certificate."
        ),
        causes=(
            "the server leaves out the intermediate",
            "the client was not given the private CA's root",
            "the client's certificate is from another CA than the server's client CA file holds",
        ),
        fixes=(
            "serve fullchain.pem, and give clients the root of a private CA",
            "for client certificates: name the CA that signed them with `--tls-client-ca`",
        ),
        commands=(commands.VERIFY_CHAIN, commands.SHOW_CHAIN,
                  "openssl verify -CAfile client-ca.pem -untrusted client.pem client.pem"),
        reference="RFC 8446 section 6.2",
        says=("tls: unknown certificate authority",),
        names=("SSL_ERROR_UNKNOWN_CA_ALERT",),
        alerts=(48,),
    ),
    Trouble(
        code="certificate-unknown",
        title="The other end refuses this side's certificate, and does not say why",
        meaning=(
            "The alert certificate_unknown came in: some trouble with the certificate that has no alert of its own."
            " Browsers send it for development certificates until the user clicks the warning away."
        ),
        causes=("the browser or program does not trust the issuer, or its user has not yet accepted a warning",),
        fixes=(
            "have the browsers trust the development CA: `asgi-tls ca install`",
            "for public sites look at the chain and the name, as for `unknown-issuer` and `name-mismatch`",
        ),
        commands=(commands.VERIFY_CHAIN, "asgi-tls ca path"),
        reference="RFC 8446 section 6.2",
        says=("tls: unknown certificate",),
        names=("SSL_ERROR_CERTIFICATE_UNKNOWN_ALERT",),
        alerts=(46,),
    ),
    Trouble(
        code="access-denied",
        title="The certificate is good, and its owner is not let in",
        meaning="The alert access_denied, or our REFUSED: the certificate was valid, and a rule or a change of trust"
        " keeps its owner out.",
        causes=(
            "the server's rules do not name this client",
            "the client resumed a session from before its CA was removed from the server, or was revoked meanwhile",
        ),
        fixes=("ask whoever runs the server; give the client a certificate of a CA that is accepted now",),
        commands=(commands.WITH_CLIENT_CERTIFICATE,),
        reference="RFC 8446 section 6.2; docs/renewal.md",
        names=("REFUSED", "SSL_ERROR_ACCESS_DENIED_ALERT"),
        says=("tls: access denied", '"code": "REFUSED"', "the CAs of clients have changed during this handshake"),
        alerts=(49,),
    ),
    Trouble(
        code="client-certificate-unusable",
        title="The client cannot load its own certificate or key",
        meaning="The program was told to show a client certificate and could not read it, before anything was sent.",
        causes=(
            "a wrong path, a file that is not PEM (PKCS#12 needs `--cert-type P12`), or an encrypted key",
            "the key belongs to another certificate",
        ),
        fixes=("give certificate and key as PEM, and the password where there is one", "convert: see the command"),
        commands=(
            "openssl pkcs12 -in client.p12 -out client.pem -nodes",
            "openssl x509 -in client.pem -noout -subject -dates -purpose",
        ),
        reference="curl(1), --cert and --key",
        says=("could not load PEM client certificate", "unable to set private key file",
              "unable to use client certificate"),
        curl=(58,),
        names=("ERR_SSL_CLIENT_AUTH_PRIVATE_KEY_ACCESS_DENIED",),
        net=(-134,),
    ),
    Trouble(
        code="client-signature-failed",
        title="A signature or a checksum of the handshake does not hold",
        meaning=(
            "The alert decrypt_error, or a Finished or CertificateVerify that does not verify: the two ends do not"
            " agree on what was said, or the key does not belong to the certificate."
        ),
        causes=(
            "a client's key that does not belong to its certificate (a broken token or agent)",
            "something in between changed the handshake",
            "a faulty or hostile implementation at the other end",
        ),
        fixes=("check the client's pair", "try from another network, without proxy and virus scanner"),
        commands=(commands.WITH_CLIENT_CERTIFICATE, commands.TLS_1_3),
        reference="RFC 8446 sections 4.4.3, 4.4.4 and 6.2",
        says=("digest check failed", "tls: error decrypting message"),
        names=("DIGEST_CHECK_FAILED", "BAD_SIGNATURE", "BINDER_DOES_NOT_VERIFY", "WRONG_SIGNATURE_SIZE",
               "WRONG_SIGNATURE_LENGTH", "SSL_ERROR_DECRYPT_ERROR_ALERT"),
        alerts=(51,),
    ),
)  # fmt: skip
