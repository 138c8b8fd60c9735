"""A client does not believe the server's certificate."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

TRUST: Final = (
    Trouble(
        code="unknown-issuer",
        title="The certificate's issuer is not among those that the client trusts",
        meaning=(
            "The client followed the chain from the server's certificate upwards and came to an issuer that it has no"
            " certificate for. Either the server left out an intermediate, or the root is not in the client's store."
        ),
        causes=(
            "the server sends its own certificate without the intermediate (cert.pem where fullchain.pem was meant)",
            "the certificate comes from a private or development CA that this client was not told of",
            "the client's CA bundle is old, empty, or not the one that you think: Python, Node and Firefox bring or"
            " choose their own",
            "a company proxy or virus scanner decrypts the traffic and signs with a CA of its own",
        ),
        fixes=(
            "serve the whole chain: fullchain.pem, or the leaf followed by each issuer but the root",
            "for a private CA give the client its root: `curl --cacert`, `create_client_context(cafile=…)`,"
            " NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE, SSL_CERT_FILE",
            "for the development CA: `asgi-tls ca install`, or give clients the file of `asgi-tls ca path`",
            "update the client's bundle (ca-certificates, certifi)",
            "do not switch verification off: anybody in between could read along",
        ),
        commands=(commands.VERIFY_CHAIN, commands.VERIFY_WITH_CA, "asgi-tls ca path"),
        reference="RFC 5280 section 6.1; RFC 8446 section 4.4.2",
        says=(
            "unable to get local issuer certificate",
            "unable to get issuer certificate",
            "issuer of a locally looked up certificate could not be found",
            "Peer's Certificate issuer is not recognized",
            "certificate signed by unknown authority",
            "The certificate issuer is unknown",
            "unable to find valid certification path to requested target",
            "PKIX path building failed",
            "doesn't have a known issuer",
            "Unable to locally verify the issuer's authority",
            "invalid peer certificate: UnknownIssuer",
        ),
        names=(
            "UNABLE_TO_GET_ISSUER_CERT",
            "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            "ERR_CERT_AUTHORITY_INVALID",
            "SEC_ERROR_UNKNOWN_ISSUER",
            "SEC_ERROR_UNTRUSTED_ISSUER",
            "UnknownIssuer",
        ),
        verify=(2, 20),
        net=(-202,),
    ),
    Trouble(
        code="incomplete-chain",
        title="The server sends its certificate without the intermediate",
        meaning=(
            "The chain that came ends at the server's own certificate, and its issuer is not a root that the client"
            " knows. Browsers often hide this, since they fetch or remember intermediates; other clients fail."
        ),
        causes=(
            "cert.pem is served where fullchain.pem was meant",
            "the intermediate was not pasted behind the certificate, or belongs to an older one",
            "a private CA signed the certificate directly, and this client does not know it",
        ),
        fixes=(
            "serve fullchain.pem: the leaf first, then each issuer, the root left out",
            "for a CA of your own, give the client its root certificate",
        ),
        commands=(commands.SHOW_CHAIN, commands.SHOW_ALL_IN_FILE, commands.LOAD, commands.CHECK),
        reference="RFC 8446 section 4.4.2; docs/certificates.md",
        says=("unable to verify the first certificate", "certificate chain is incomplete"),
        names=("UNABLE_TO_VERIFY_LEAF_SIGNATURE",),
        verify=(21,),
    ),
    Trouble(
        code="self-signed",
        title="The server's certificate is self-signed",
        meaning="No CA stands behind the certificate: it vouches for itself, so nobody can tell it from a forged one.",
        causes=(
            "a certificate made by `openssl req -x509` or by a server's default installation",
            "the request reached another server or another default host than was meant",
        ),
        fixes=(
            "for development: `asgi-tls cert NAME`, and have this machine trust its CA: `asgi-tls ca install`",
            "for the public: a certificate of a public CA, such as Let's Encrypt",
            "where it must stay, give exactly this certificate to the client as its CA file",
        ),
        commands=(commands.SHOW_CHAIN, "asgi-tls cert localhost 127.0.0.1"),
        reference="RFC 5280 section 6.1",
        says=("self-signed certificate", "self signed certificate", "certificate is self-signed"),
        names=(
            "DEPTH_ZERO_SELF_SIGNED_CERT",
            "MOZILLA_PKIX_ERROR_SELF_SIGNED_CERT",
        ),
        verify=(18,),
    ),
    Trouble(
        code="self-signed-in-chain",
        title="The chain ends in a root that the client does not trust",
        meaning=(
            "The server sent its chain up to a self-signed root, and that root is not in the client's store: a private"
            " CA, or a proxy that signs for every host."
        ),
        causes=(
            "a private or development CA, whose root was not given to this client",
            "a company proxy or virus scanner that decrypts the traffic",
            "a client with a CA bundle of its own (Python's certifi, Node, Java), which the system's store does not"
            " reach",
        ),
        fixes=(
            "give the client the root: `curl --cacert`, `create_client_context(cafile=…)`, NODE_EXTRA_CA_CERTS,"
            " REQUESTS_CA_BUNDLE, SSL_CERT_FILE, `git config http.sslCAInfo`",
            "leave the root out of the served file: it proves nothing there",
        ),
        commands=(commands.SHOW_CHAIN, commands.VERIFY_WITH_CA),
        reference="RFC 8446 section 4.4.2 (a root may be left out); RFC 5280 section 6.1",
        says=(
            "self-signed certificate in certificate chain",
            "self signed certificate in certificate chain",
        ),
        names=("SELF_SIGNED_CERT_IN_CHAIN",),
        verify=(19,),
    ),
    Trouble(
        code="name-mismatch",
        title="The certificate is for other names than the one that was asked for",
        meaning=(
            "Clients compare the host of the URL with the subjectAltName of the certificate. The common name does not"
            " count, and an IP address needs an entry of type IP."
        ),
        causes=(
            "the name is missing in the certificate: www beside the bare domain, a second domain, `localhost`, an IP",
            "a wildcard covers one label only: *.example.com is neither example.com nor a.b.example.com",
            "the server chose another certificate, because the client sent no SNI or the name has none of its own",
            "DNS or /etc/hosts leads to another machine",
        ),
        fixes=(
            "have the certificate issued with every name that clients use (`certbot -d … -d …`,"
            " `asgi-tls cert NAME …`)",
            "call the server by a name that is in the certificate",
            "with several domains, give each its own: `ServerTLS({'example.com': …, 'example.org': …})`",
        ),
        commands=(commands.SHOW_NAMES, commands.SHOW_FILE),
        reference="RFC 9525 section 6; RFC 9110 section 4.3.4",
        says=(
            "Hostname mismatch",
            "IP address mismatch",
            "certificate is not valid for",
            "no alternative certificate subject name matches target",
            "does not match target host name",
            "doesn't match requested host name",
            "owner does not match hostname",
            "doesn't match either of",
            "Hostname/IP does not match certificate's altnames",
            "no alternative certificate subject name matches requested host name",
            "no certificate subject alternative name matches",
            "x509: certificate is valid for",
            "the certificate is only valid for",
        ),
        names=(
            "HOSTNAME_MISMATCH",
            "IP_ADDRESS_MISMATCH",
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "ERR_CERT_COMMON_NAME_INVALID",
            "SSL_ERROR_BAD_CERT_DOMAIN",
            "NotValidForName",
        ),
        verify=(62, 63, 64),
        net=(-200,),
    ),
    Trouble(
        code="certificate-expired",
        title="The certificate is past its end",
        meaning="A certificate of the chain, or the client's own, has a notAfter that lies before now.",
        causes=(
            "renewal failed or never ran",
            "it was renewed, but the server still serves the old file",
            "an intermediate has expired: the leaf was renewed, what follows it in the file was not",
            "the clock of the client or the server is wrong",
        ),
        fixes=(
            "renew (`certbot renew`), with the whole chain",
            "let the server take new files: asgi-tls watches them; a plain server needs a restart",
            "set the clock (NTP)",
            "watch `tls_certificate_expiring` events, so that it does not happen again",
        ),
        commands=(commands.SHOW_DATES, commands.SHOW_ALL_IN_FILE, "date -u"),
        reference="RFC 5280 section 4.1.2.5; docs/renewal.md",
        says=(
            "certificate has expired",
            "certificate expired",
            "Peer's Certificate has expired",
            "the certificate has expired or is not yet valid",
        ),
        names=("CERT_HAS_EXPIRED", "ERR_CERT_DATE_INVALID", "SEC_ERROR_EXPIRED_CERTIFICATE",
               "SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE"),
        alerts=(45,),
        verify=(10,),
        net=(-201,),
    ),
    Trouble(
        code="certificate-not-yet-valid",
        title="The certificate's validity has not begun",
        meaning="The notBefore of a certificate of the chain lies after now, by the clock of whoever checks it.",
        causes=(
            "the clock of this machine, container or virtual machine is behind",
            "the certificate was made on a machine whose clock is ahead, or for later use",
        ),
        fixes=("set the clocks (NTP)", "wait until notBefore, or have the certificate issued anew"),
        commands=("date -u", commands.SHOW_DATES),
        reference="RFC 5280 section 4.1.2.5",
        says=("certificate is not yet valid", "certificate is not yet activated"),
        names=("CERT_NOT_YET_VALID", "SEC_ERROR_NOT_YET_VALID_CERTIFICATE",
               "MOZILLA_PKIX_ERROR_NOT_YET_VALID_CERTIFICATE"),
        verify=(9,),
    ),
    Trouble(
        code="certificate-revoked",
        title="The certificate was revoked by its CA",
        meaning="The CA has taken the certificate back before its end, and says so in a CRL or by OCSP.",
        causes=(
            "its key was lost or stolen, or the owner asked for it",
            "the CA had issued it wrongly and replaced it",
        ),
        fixes=("make a new key, and have a new certificate issued for it", "serve the new pair everywhere"),
        commands=(
            "openssl verify -crl_check -CAfile ca.pem -CRLfile crl.pem -untrusted fullchain.pem fullchain.pem",
            commands.VERIFY_CHAIN,
        ),
        reference="RFC 5280 section 5; RFC 6960",
        says=("certificate revoked", "certificate has been revoked", "certificate was revoked"),
        names=("CERT_REVOKED", "ERR_CERT_REVOKED", "SEC_ERROR_REVOKED_CERTIFICATE"),
        alerts=(44,),
        verify=(23,),
        net=(-206,),
    ),
    Trouble(
        code="crl-unavailable",
        title="Revocation is to be checked, and there is no revocation list in force",
        meaning=(
            "Whoever checks was told to consult CRLs, and for one of the CAs there is none, or one past its nextUpdate."
            " Every certificate of that CA is refused then."
        ),
        causes=(
            "the CRL file lacks the list of an intermediate: each CA of the chain needs its own",
            "the list was not fetched again before its nextUpdate",
        ),
        fixes=(
            "fetch the current list of each CA, and write all of them into one PEM file",
            "fetch them regularly: asgi-tls reloads `--tls-client-crl` by itself",
        ),
        commands=(
            "openssl crl -in crl.pem -noout -issuer -lastupdate -nextupdate",
            "openssl verify -crl_check -CAfile ca.pem -CRLfile crl.pem -untrusted fullchain.pem fullchain.pem",
        ),
        reference="RFC 5280 section 6.3; docs/renewal.md",
        says=("unable to get certificate CRL", "CRL has expired", "CRL is not yet valid", "CRL signature failure"),
        names=("UNABLE_TO_GET_CRL", "CRL_HAS_EXPIRED", "CRL_NOT_YET_VALID"),
        verify=(3, 11, 12, 33),
        curl=(82,),
    ),
    Trouble(
        code="verification-failed",
        title="The certificate was not accepted",
        meaning="The verification of the peer's certificate failed. The text beside it says why; this alone does not.",
        causes=(
            "an issuer that is not known, a name that does not match, or an end that has passed: look for the words"
            " behind `certificate verify failed:` or `SSL certificate problem:`",
            "on a server: the client's certificate is not from the CA that the server accepts",
        ),
        fixes=(
            "paste the whole message, or run the command below: `Verify return code` names the reason",
            "do not switch verification off: anybody in between could read along",
        ),
        commands=(commands.VERIFY_CHAIN,),
        reference="RFC 8446 section 4.4.2.4; RFC 5280 section 6",
        general=True,
        says=(
            "certificate verify failed",
            "server certificate verification failed",
            "SSL certificate problem",
            "The certificate is NOT trusted",
            "SSL peer certificate or SSH remote key was not OK",
            "insecurely, use `--no-check-certificate'",
        ),
        names=("CERTIFICATE_VERIFY_FAILED", "SSLCertVerificationError", "ClientConnectorCertificateError",
               "ERR_CERT_INVALID", "CERT_UNTRUSTED", "CERT_REJECTED"),
        verify=(1, 27, 28),
        curl=(51, 60),
        net=(-207,),
    ),
)  # fmt: skip
