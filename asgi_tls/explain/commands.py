"""The commands that several troubles are verified with. HOST and the names of files are the reader's to replace."""

from __future__ import annotations

from typing import Final

SHOW_CHAIN: Final = "openssl s_client -connect HOST:443 -servername HOST -showcerts </dev/null"
VERIFY_CHAIN: Final = (
    "openssl s_client -connect HOST:443 -servername HOST -verify_hostname HOST -verify_return_error </dev/null"
)
VERIFY_WITH_CA: Final = (
    "openssl s_client -connect HOST:443 -servername HOST -CAfile ca.pem -verify_return_error </dev/null"
)
SHOW_DATES: Final = (
    "openssl s_client -connect HOST:443 -servername HOST </dev/null 2>/dev/null | openssl x509 -noout -dates"
)
SHOW_NAMES: Final = (
    "openssl s_client -connect HOST:443 -servername HOST </dev/null 2>/dev/null"
    " | openssl x509 -noout -ext subjectAltName"
)
TLS_1_2: Final = "openssl s_client -connect HOST:443 -servername HOST -tls1_2 </dev/null"
TLS_1_3: Final = "openssl s_client -connect HOST:443 -servername HOST -tls1_3 </dev/null"
WITH_CLIENT_CERTIFICATE: Final = (
    "openssl s_client -connect HOST:443 -servername HOST -cert client.pem -key client-key.pem </dev/null"
)
CURL: Final = "curl -v https://HOST/"
CHECK: Final = "asgi-tls check https://HOST/"
DOCTOR: Final = "asgi-tls doctor"
LOAD: Final = """python -c "from asgi_tls import PEMFiles; print(PEMFiles('fullchain.pem', 'privkey.pem').load())\""""
SHOW_FILE: Final = "openssl x509 -in fullchain.pem -noout -subject -issuer -dates -ext subjectAltName"
SHOW_ALL_IN_FILE: Final = (
    "openssl storeutl -noout -text -certs fullchain.pem | grep -e Issuer: -e Subject: -e 'Not After'"
)
VERIFY_FILE: Final = "openssl verify -show_chain -CAfile ca.pem -untrusted fullchain.pem fullchain.pem"
SHOW_KEY: Final = "openssl pkey -in privkey.pem -noout -text_pub"
