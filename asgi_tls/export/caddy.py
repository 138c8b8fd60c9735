"""A profile as a whole Caddyfile. Caddy staples, rotates ticket keys and has no early data over TCP, all by itself."""

from __future__ import annotations

from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.document import Export, Heading, of_client_ca
from asgi_tls.export.site import CHALLENGES, REMOVED, Site, refuse_characters
from asgi_tls.export.versions import CADDY, CADDY_MLKEM, CADDY_TRUST_POOL, Version, text_of
from asgi_tls.profile import TLS12_CIPHERS, TLS13_CIPHERSUITES, TLSProfile

# Go's names of the groups that Caddy lets one choose.
_CURVES: Final = {"X25519": "x25519", "P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}
_MLKEM: Final = {"X25519MLKEM768": "x25519mlkem768"}
# Go has no CCM (crypto/tls, CipherSuites), and always offers these three in TLS 1.3.
_CCM: Final = "CCM"
_GO_CIPHERSUITES: Final = frozenset(name for name in TLS13_CIPHERSUITES if _CCM not in name)
_VERSIONS: Final = {"TLSv1.2": "tls1.2", "TLSv1.3": "tls1.3"}
# A brace begins a placeholder in a Caddyfile, quoted or not, and a backslash before a quote is no character.
_UNQUOTABLE: Final = '{}"`\\'


def caddyfile(profile: TLSProfile, site: Site, version: Version) -> Export:
    """The configuration for a version of Caddy. Without a certificate, Caddy gets its own by ACME.

    Raises ConfigurationError for a profile that Caddy cannot serve at all, and for a path that it cannot quote.
    """
    refuse_characters("Caddy", _UNQUOTABLE, site.certificate, site.key, site.client_ca, site.upstream.path)
    if site.certificate is None and any(host.startswith("*") for host in site.hosts):
        raise ConfigurationError(
            "Caddy gets a certificate for a wildcard by a DNS challenge alone", fix="Name --certificate and --key."
        )
    known = {**_CURVES, **_MLKEM} if version >= CADDY_MLKEM else _CURVES
    curves = [known[name] for name in profile.groups if name in known]
    ciphers = [TLS12_CIPHERS[name][0] for name in profile.ciphers if _CCM not in name]
    if not curves or (profile.maximum_version == "TLSv1.2" and not ciphers):
        raise ConfigurationError(
            f"Caddy {text_of(version)} knows none of the profile's {'suites' if curves else 'groups'}",
            fix=f"Choose others: groups from {', '.join(known)}, and no CCM.",
        )
    lost = [*_lost(profile, version, known), *of_client_ca(site)]
    if site.client_ca is not None and version < CADDY_TRUST_POOL:
        lost.append(
            f"Further CAs in {site.client_ca}: before {text_of(CADDY_TRUST_POOL)}, Caddy reads the first alone."
        )
    heading = Heading(
        program=CADDY, version=version, profile=profile, site=site,
        check="caddy validate --adapter caddyfile --config THIS_FILE",
        reload="nothing to do" if site.certificate is None
        else "caddy reload --force --adapter caddyfile --config THIS_FILE",
    )  # fmt: skip
    lines = [
        *heading.lines(lost),
        "{",
        *_indented(_options(site)),
        "}",
        "",
        "(policy) {",
        *_indented(_policy(profile, site, version, curves, ciphers)),
        "}",
        "",
        "(application) {",
        *_indented(_to_application(site)),
        "}",
        "",
        f"{_addresses('https', site)} {{",
        *_indented(_secure(site)),
        "}",
        "",
        f"{_addresses('http', site)} {{",
        *_indented(_plain(site)),
        "}",
        "",
        "# Whoever asks for another name. Without a certificate for it there is no handshake either; who names none",
        "# may get one, by the same policy, where the certificate is for the address.",
        "http:// {",
        *_indented([*_bind(site), "respond 400"]),
        "}",
        "https:// {",
        *_indented([*_bind(site), "tls {", "    import policy", "}", "respond 421"]),
        "}",
    ]
    return Export("\n".join(lines) + "\n", tuple(lost))


def _lost(profile: TLSProfile, version: Version, known: dict[str, str]) -> list[str]:
    lost = []
    if missing := [name for name in profile.groups if name not in known]:
        since = f" X25519MLKEM768 needs Caddy {text_of(CADDY_MLKEM)}." if version < CADDY_MLKEM else ""
        lost.append(f"The groups {', '.join(missing)}: Caddy {text_of(version)} does not know them.{since}")
    if any(name in _MLKEM for name in profile.groups) and version >= CADDY_MLKEM:
        lost.append(
            "X25519MLKEM768, where Caddy was built with tlsmlkem=0, as Debian's is (caddy build-info says so): start "
            "that one with GODEBUG=tlsmlkem=1 in its environment."
        )
    if ccm := [name for name in profile.ciphers if _CCM in name]:
        lost.append(f"The suites {', '.join(ccm)}: Go has no CCM.")
    if profile.speaks("TLSv1.3") and frozenset(profile.ciphersuites) != _GO_CIPHERSUITES:
        lost.append(f"The choice of TLS 1.3 suites: Go always offers {', '.join(sorted(_GO_CIPHERSUITES))}.")
    lost.append("The order of groups and of suites: Go has its own.")
    lost.append("The one HSTS field: where the application sends two, two go out.")
    return lost


def _options(site: Site) -> list[str]:
    return [
        f"http_port {site.http_port}",
        f"https_port {site.https_port}",
        "# The redirects stand below." if site.certificate is None else "# Certificates and redirects stand below.",
        f"auto_https {'disable_redirects' if site.certificate is None else 'off'}",
        "servers {",
        "    protocols h1 h2",
        "}",
    ]


def _policy(
    profile: TLSProfile, site: Site, version: Version, curves: list[str], ciphers: list[str]
) -> list[str]:  # fmt: skip
    tls = [f"protocols {_VERSIONS[profile.minimum_version]} {_VERSIONS[profile.maximum_version]}"]
    if profile.speaks("TLSv1.2") and ciphers:
        tls.append(f"ciphers {' '.join(ciphers)}")
    tls.append(f"curves {' '.join(curves)}")
    if site.client_ca is not None:
        mode = "require_and_verify" if site.client_auth == "required" else "verify_if_given"
        pool = "trust_pool file" if version >= CADDY_TRUST_POOL else "trusted_ca_cert_file"
        tls += ["client_auth {", f"    mode {mode}", f"    {pool} {_quoted(site.client_ca)}", "}"]
    return tls


def _secure(site: Site) -> list[str]:
    files = "" if site.certificate is None else "".join(f" {_quoted(path)}" for path in site.files("Caddy"))
    # A directive each: fields that share one are added only where none of them is there.
    headers = [f"header ?{name.title()} {_quoted(value)}" for name, value in site.headers.items()]
    lines = [*_bind(site), f"tls{files} {{", "    import policy", "}"]
    if headers:
        lines += ["# Each where the application sends none of its own, and with Caddy's own errors.", *headers]
        lines += [
            "handle_errors {",
            *_indented([*headers, 'respond "{err.status_code} {err.status_text}" {err.status_code}']),
            "}",
        ]
    return [*lines, "import application"]


def _plain(site: Site) -> list[str]:
    return [
        *_bind(site),
        "# For an ACME client that writes where the application serves challenges from (TLSMiddleware's webroot).",
        f"handle {CHALLENGES}* {{",
        "    header -Strict-Transport-Security",
        "    import application",
        "}",
        "handle {",
        f"    redir https://{{host}}{site.port_suffix}{{uri}} 308",
        "}",
    ]


def _to_application(site: Site) -> list[str]:
    upstream = _quoted(f"unix/{site.upstream.path}") if site.upstream.path else site.upstream.authority
    return [
        f"reverse_proxy {upstream} {{",
        "    # X-Forwarded-For, -Proto and -Host are Caddy's own, and what the client sent there does not pass.",
        *(f"    header_up -{name}" for name in REMOVED),
        "    # Python's servers close idle connections after seconds, and a request may meet that.",
        "    transport http {",
        "        keepalive off",
        "    }",
        "}",
    ]


def _addresses(scheme: str, site: Site) -> str:
    return ", ".join(f"{scheme}://{host}" for host in site.hosts)


def _bind(site: Site) -> list[str]:
    return [f"bind {site.address}"] if site.address else []


def _quoted(text: str) -> str:
    return f'"{text}"'


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else line for line in lines]
