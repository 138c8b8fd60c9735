"""Certificates: where they come from, and what is known of one once it has been checked.

A source names files or holds text; `load()` reads each file once, checks everything, and returns a `Certificate` or
raises a `CertificateError`. The bytes that were checked are the bytes that are served. Importing this package imports
neither `cryptography` nor `ssl`; loading a certificate imports the first.
"""

from asgi_tls.certificate.directory import PEMDirectory
from asgi_tls.certificate.loaded import Certificate, CertificateSource, Purpose
from asgi_tls.certificate.password import Password, PasswordFile
from asgi_tls.certificate.sources import KubernetesSecret, LetsEncrypt, PEMData, PEMFiles

__all__ = [
    "Certificate",
    "CertificateSource",
    "KubernetesSecret",
    "LetsEncrypt",
    "PEMData",
    "PEMDirectory",
    "PEMFiles",
    "Password",
    "PasswordFile",
    "Purpose",
]
