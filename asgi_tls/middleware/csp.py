"""Content-Security-Policy: our defaults, the check of a policy, and the nonce in it."""

from __future__ import annotations

import re
from typing import Literal

from asgi_tls.errors import ConfigurationError

Content = Literal["api", "web"]

# Stands for the nonce of the request, and must be written 'nonce-{nonce}'.
PLACEHOLDER = "{nonce}"

# Nothing that an API sends is meant to run or to be framed.
API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

# Everything from this origin; inline scripts and styles only with the nonce; no plugins, frames or <base>.
WEB_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; media-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

POLICIES: dict[str, str] = {"api": API_POLICY, "web": WEB_POLICY}

_DIRECTIVE = re.compile(r"[A-Za-z0-9-]+")
# CSP Level 3 section 2.3.1: without their quotes these are host names.
_KEYWORDS = frozenset(
    {"none", "self", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample"}
    | {"wasm-unsafe-eval", "inline-speculation-rules"}
)


def check_policy(policy: str) -> None:
    """Raise ConfigurationError for what browsers would quietly drop or read differently."""
    names: set[str] = set()
    for directive in filter(None, (each.strip() for each in policy.split(";"))):
        name, *sources = directive.split()
        _check_directive(policy, name.lower(), sources)
        if name.lower() in names:
            # CSP Level 3 section 2.2.1: the first one counts, and the others are ignored.
            raise _refused(policy, f"has {name} twice", "Merge the two.")
        names.add(name.lower())
    if not names:
        raise _refused(policy, "is empty", "Name a directive, or set the header to None.")
    rest = policy.replace(f"'nonce-{PLACEHOLDER}'", "")
    if "{" in rest or "}" in rest:
        raise _refused(policy, "has a brace outside of 'nonce-{nonce}'", "Write the placeholder as 'nonce-{nonce}'.")


def _check_directive(policy: str, name: str, sources: list[str]) -> None:
    if not _DIRECTIVE.fullmatch(name):
        raise _refused(policy, f"has the directive {name!r}", "Names are letters, digits and hyphens.")
    for source in sources:
        if "," in source:
            raise _refused(policy, "has a comma, which starts another policy", "Separate sources by spaces.")
        if name.endswith(("-src", "-src-elem", "-src-attr", "-uri", "-action", "-ancestors")):
            if source.lower() in _KEYWORDS or source.lower().startswith(("nonce-", "sha256-", "sha384-", "sha512-")):
                raise _refused(policy, f"has {source} without quotes", f"Write '{source}', quotes included.")
            if source.lower() == "'none'" and len(sources) > 1:
                raise _refused(policy, f"has 'none' beside other sources in {name}", "Remove 'none'.")


def _refused(policy: str, problem: str, fix: str) -> ConfigurationError:
    return ConfigurationError(f"The Content-Security-Policy {policy!r} {problem}", fix=fix)
