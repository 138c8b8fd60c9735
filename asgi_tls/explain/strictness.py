"""A certificate that is in force and for the right name, and still breaks a rule."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

STRICTNESS: Final = (
    Trouble(
        code="certificate-purpose",
        title="The certificate is not meant for this use",
        meaning=(
            "extendedKeyUsage or keyUsage names other uses: a client's certificate shown by a server, a server's shown"
            " by a client, or one that may not sign."
        ),
        causes=(
            "the certificate has only clientAuth, or only serverAuth",
            "keyUsage lacks digitalSignature, which TLS 1.3 needs",
            "the same certificate is used on both sides: public CAs no longer issue clientAuth",
        ),
        fixes=(
            "have it issued with extendedKeyUsage serverAuth (servers) or clientAuth (clients)",
            "for clients, use a private CA",
        ),
        commands=(
            "openssl x509 -in fullchain.pem -noout -purpose",
            "openssl x509 -in fullchain.pem -noout -ext extendedKeyUsage,keyUsage",
        ),
        reference="RFC 5280 section 4.2.1.12; RFC 8446 section 4.4.2.2",
        says=("unsuitable certificate purpose", "unsupported certificate purpose", "Certificate type not approved",
              "certificate key usage inadequate"),
        names=("INVALID_PURPOSE", "SEC_ERROR_INADEQUATE_CERT_TYPE", "SEC_ERROR_INADEQUATE_KEY_USAGE",
               "SIGNATURE_FOR_NON_SIGNING_CERTIFICATE", "KEY_USAGE_BIT_INCORRECT", "ERR_SSL_KEY_USAGE_INCOMPATIBLE"),
        alerts=(43,),
        verify=(26, 39),
    ),
    Trouble(
        code="invalid-ca",
        title="A certificate of the chain may not sign others",
        meaning=(
            "What stands above the leaf is no CA (basicConstraints CA:TRUE), has no keyCertSign, or may not have that"
            " many CAs below it."
        ),
        causes=(
            "a server's certificate was used to sign another",
            "a home-made CA without basicConstraints or with the wrong keyUsage",
            "a path length of 0 with another CA below it, or a chain of endless length",
        ),
        fixes=(
            "make the CA anew, with basicConstraints critical CA:TRUE and keyUsage critical keyCertSign, cRLSign",
            "for development, `asgi-tls cert` makes one that is right",
        ),
        commands=(
            "openssl x509 -in ca.pem -noout -ext basicConstraints,keyUsage",
            "openssl verify -x509_strict -CAfile ca.pem -untrusted fullchain.pem fullchain.pem",
        ),
        reference="RFC 5280 sections 4.2.1.3 and 4.2.1.9",
        says=("invalid CA certificate", "path length constraint exceeded", "certificate chain too long",
              "invalid non-CA certificate"),
        names=("INVALID_CA", "PATH_LENGTH_EXCEEDED", "CERT_CHAIN_TOO_LONG", "SEC_ERROR_CA_CERT_INVALID",
               "SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID"),
        verify=(22, 24, 25, 32, 37, 79),
    ),
    Trouble(
        code="strict-x509",
        title="The chain breaks a rule that only strict clients check",
        meaning=(
            "RFC 5280 asks for extensions that many home-made CAs lack. Python 3.13 and later checks them by default"
            " (VERIFY_X509_STRICT), so a chain that worked before is refused."
        ),
        causes=(
            "the CA lacks subjectKeyIdentifier, its leafs authorityKeyIdentifier",
            "basicConstraints of the CA is not marked critical, or its keyUsage is missing",
        ),
        fixes=(
            "make the CA and its certificates anew with these extensions: `asgi-tls cert` does",
            "for the time between: `context.verify_flags &= ~ssl.VERIFY_X509_STRICT` in the client",
        ),
        commands=(
            "openssl verify -x509_strict -CAfile ca.pem -untrusted fullchain.pem fullchain.pem",
            "openssl x509 -in ca.pem -noout -ext basicConstraints,keyUsage,subjectKeyIdentifier",
        ),
        reference="RFC 5280 section 4.2.1; documentation of Python's ssl.create_default_context",
        says=("Missing Authority Key Identifier", "Missing Subject Key Identifier",
              "Basic Constraints of CA cert not marked critical", "CA cert does not include key usage extension",
              "Empty Subject Alternative Name extension", "unhandled critical extension",
               "Certificate not X.509v3 but has extensions"),
        names=("MISSING_AUTHORITY_KEY_IDENTIFIER", "MISSING_SUBJECT_KEY_IDENTIFIER", "CA_BCONS_NOT_CRITICAL",
               "CA_CERT_MISSING_KEY_USAGE", "EMPTY_SUBJECT_ALT_NAME", "EXTENSIONS_REQUIRE_VERSION_3",
               "UNHANDLED_CRITICAL_EXTENSION", "SEC_ERROR_UNKNOWN_CRITICAL_EXTENSION", "INVALID_EXTENSION"),
        verify=(34, 41, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93),
    ),
    Trouble(
        code="name-constraint",
        title="The CA may not sign for this name",
        meaning="The issuer's nameConstraints limit it to other domains or addresses.",
        causes=("a company's CA that may sign for its own domain only, used for another",),
        fixes=("have the certificate issued by a CA that may sign for the name, or use a name that it may",),
        commands=("openssl x509 -in ca.pem -noout -ext nameConstraints", commands.SHOW_FILE),
        reference="RFC 5280 section 4.2.1.10",
        says=("permitted subtree violation", "excluded subtree violation", "name constraints violation"),
        names=("SEC_ERROR_CERT_NOT_IN_NAME_SPACE", "ERR_CERT_NAME_CONSTRAINT_VIOLATION", "PERMITTED_VIOLATION",
               "EXCLUDED_VIOLATION"),
        verify=(47, 48),
        net=(-212,),
    ),
    Trouble(
        code="certificate-signature",
        title="A signature in the chain does not hold",
        meaning="A certificate claims an issuer whose key has not signed it.",
        causes=(
            "the intermediate in the file has the right name and another key: it was renewed, or is from another CA",
            "two private CAs bear the same name",
            "the file was damaged",
        ),
        fixes=("put the intermediate that came with this certificate behind it", "give each CA a name of its own"),
        commands=(commands.VERIFY_FILE, commands.LOAD),
        reference="RFC 5280 section 6.1.3",
        says=("certificate signature failure", "unable to decrypt certificate's signature",
              "unable to decode issuer public key", "peer's certificate has an invalid signature",
              "authority and subject key identifier mismatch", "subject issuer mismatch"),
        names=("CERT_SIGNATURE_FAILURE", "SEC_ERROR_BAD_SIGNATURE", "AKID_SKID_MISMATCH", "SUBJECT_ISSUER_MISMATCH"),
        verify=(4, 6, 7, 29, 30, 31, 76, 77, 78),
    ),
    Trouble(
        code="staple-missing",
        title="The client demands an OCSP response, and the server staples none",
        meaning=(
            "The certificate says Must-Staple, or the client was told to want a response (`curl --cert-status`), and"
            " the handshake brought none, or one that does not hold."
        ),
        causes=(
            "stapling is off, or the server has not fetched a response yet",
            "the machine cannot reach the CA's OCSP responder",
            "the CA has ended OCSP, as Let's Encrypt has: then there is nothing to staple",
        ),
        fixes=(
            "open the way from the server to the responder",
            "have the certificate issued without Must-Staple",
        ),
        commands=(
            "openssl s_client -connect HOST:443 -servername HOST -status </dev/null",
            "openssl x509 -in fullchain.pem -noout -ocsp_uri -ext tlsfeature",
        ),
        reference="RFC 6066 section 8; RFC 7633",
        says=("No OCSP response received", "OCSP response has expired", "server does not support OCSP stapling"),
        names=("MOZILLA_PKIX_ERROR_REQUIRED_TLS_FEATURE_MISSING", "INVALID_STATUS_RESPONSE",
               "SEC_ERROR_OCSP_OLD_RESPONSE", "SEC_ERROR_OCSP_INVALID_SIGNING_CERT"),
        alerts=(113,),
        curl=(91,),
    ),
    Trouble(
        code="transparency-required",
        title="The certificate was not logged publicly",
        meaning="Browsers take certificates of public CAs only with timestamps of certificate transparency logs.",
        causes=("a public CA issued it without logging it, or a private root was put among the public ones",),
        fixes=(
            "have it issued anew by a CA that logs, which all public ones do by default",
            "add private roots as such (`asgi-tls ca`, the system's store), not as public CAs",
        ),
        commands=("openssl x509 -in fullchain.pem -noout -ext ct_precert_scts",),
        reference="RFC 9162",
        says=("certificate transparency required",),
        names=("ERR_CERTIFICATE_TRANSPARENCY_REQUIRED", "MOZILLA_PKIX_ERROR_INSUFFICIENT_CERTIFICATE_TRANSPARENCY"),
        net=(-214,),
    ),
    Trouble(
        code="validity-too-long",
        title="The certificate lasts longer than browsers accept",
        meaning=(
            "Certificates of public CAs may last 200 days since March 2026, 100 from March 2027, 47 from March 2029;"
            " Apple's devices limit those of private CAs to 825 days."
        ),
        causes=("an old or home-made certificate of several years",),
        fixes=("have it issued for a shorter time, and renewed by a machine", "for development, `asgi-tls cert`"),
        commands=(commands.SHOW_DATES,),
        reference="CA/Browser Forum Baseline Requirements section 6.3.2",
        says=("validity period is too long", "certificate is not standards compliant"),
        names=("ERR_CERT_VALIDITY_TOO_LONG", "MOZILLA_PKIX_ERROR_VALIDITY_TOO_LONG"),
        net=(-213,),
    ),
    Trouble(
        code="pinned-key",
        title="The server's key is not the one that was pinned",
        meaning="The client was given the hash of a public key, and the certificate holds another.",
        causes=("the certificate was renewed with a new key", "the traffic goes through a proxy that decrypts it"),
        fixes=("pin the new key, or pin a CA's; keep the key at renewals (`certbot --reuse-key`)",),
        commands=(commands.SHOW_CHAIN,),
        reference="curl(1), --pinnedpubkey",
        says=("public key does not match pinned public key",),
        names=("ERR_SSL_PINNED_KEY_NOT_IN_CERT_CHAIN", "MOZILLA_PKIX_ERROR_KEY_PINNING_FAILURE"),
        curl=(90,),
        net=(-150,),
    ),
    Trouble(
        code="ca-bundle-missing",
        title="The client cannot read its file of CA certificates",
        meaning="A bundle was named, by an option or by an environment variable, that is missing or holds none.",
        causes=(
            "a wrong path in REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE, --cacert or cafile=",
            "a small container image without the package ca-certificates",
            "the file is not PEM",
        ),
        fixes=("correct or unset the variable", "install ca-certificates", "convert the file to PEM"),
        commands=(
            "env | grep -i -e _CA_BUNDLE -e SSL_CERT -e EXTRA_CA",
            'python -c "import ssl; print(ssl.get_default_verify_paths())"',
        ),
        reference="OpenSSL, SSL_CTX_load_verify_locations(3)",
        says=("error setting certificate verify locations", "error setting certificate file",
              "Could not find a suitable TLS CA certificate bundle", "Problem with the SSL CA cert",
              "cadata does not contain a certificate", "no certificate or crl found",
              "Ignoring extra certs from"),
        names=("NO_CERTIFICATE_OR_CRL_FOUND", "NO_CERTIFICATE_FOUND", "SSL_ERROR_CACERT_BADFILE"),
        curl=(77,),
    ),
    Trouble(
        code="verification-off",
        title="A client does not check certificates at all",
        meaning="Verification was switched off, so anybody on the way can answer in the server's place and read along.",
        causes=("a workaround for another trouble: verify=False, -k, NODE_TLS_REJECT_UNAUTHORIZED=0, CERT_NONE",),
        fixes=(
            "switch it on again, and cure the trouble: mostly `unknown-issuer` or `name-mismatch`",
            "for a private CA give its root to the client: `create_client_context(cafile=…)`",
        ),
        commands=(commands.VERIFY_WITH_CA,),
        reference="RFC 9325 section 6.1; docs/certificates.md",
        says=("Unverified HTTPS request is being made", "Adding certificate verification is strongly advised",
              "makes TLS connections and HTTPS requests insecure by disabling certificate verification"),
        names=("InsecureRequestWarning", "NODE_TLS_REJECT_UNAUTHORIZED"),
    ),
)  # fmt: skip
