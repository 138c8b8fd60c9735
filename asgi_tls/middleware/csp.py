"""Content-Security-Policy: our defaults by content, the check of a policy, and the nonce in it."""

from __future__ import annotations

import re
from typing import Literal

from asgi_tls.errors import ConfigurationError

Content = Literal["auto", "api", "web"]

# Stands for the nonce of the request, and must be written 'nonce-{nonce}'.
PLACEHOLDER = "{nonce}"

NONCE = f"'nonce-{PLACEHOLDER}'"
_NONE, _SELF = "'none'", "'self'"


def api_policy() -> str:
    """Nothing that an API sends is meant to run or to be framed."""
    from secure.headers import ContentSecurityPolicy

    policy = ContentSecurityPolicy().default_src(_NONE).base_uri(_NONE).form_action(_NONE).frame_ancestors(_NONE)
    return policy.header_value


def web_policy(*inline: str) -> str:
    """Everything from this origin, and inline scripts and styles as `inline` allows; no plugins, frames or <base>."""
    from secure.headers import ContentSecurityPolicy

    policy = ContentSecurityPolicy().default_src(_NONE).script_src(_SELF, *inline).style_src(_SELF, *inline)
    policy.img_src(_SELF, "data:").font_src(_SELF).connect_src(_SELF).media_src(_SELF).manifest_src(_SELF)
    policy.worker_src(_SELF).base_uri(_NONE).form_action(_SELF).frame_ancestors(_NONE)
    return policy.header_value


_DIRECTIVE = re.compile(r"[A-Za-z0-9-]+")
# CSP Level 3 section 2.3.1: without their quotes these are host names.
_KEYWORDS = frozenset(
    {"none", "self", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample"}
    | {"wasm-unsafe-eval", "inline-speculation-rules"}
)


def check_policy(policy: str) -> None:
    """Raise ConfigurationError for what browsers would silently ignore or interpret differently."""
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
    rest = policy.replace(NONCE, "")
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
