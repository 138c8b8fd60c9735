"""docs/errors.md, made of the entries of explain by `make docs`."""

from __future__ import annotations

import re

from asgi_tls.audit.judges.findings import KINDS
from asgi_tls.explain import CATALOGUE, Trouble

_HEAD = """\
# Errors

Errors that users of TLS meet, each with its causes, what to do, and commands that show whether it helped.
`asgi-tls explain` finds the entry for whatever a program printed:

```console
$ asgi-tls explain UNSUPPORTED_PROTOCOL
…
$ asgi-tls explain 'curl: (60) SSL certificate problem: unable to get local issuer certificate'
…
$ echo "[SSL: NO_SHARED_CIPHER] no shared cipher (_ssl.c:1006)" | asgi-tls explain -
…
```

It knows the codes of asgi-tls (errors, start-up warnings, events, findings of `asgi-tls check`), OpenSSL's reasons
(`error:0A000102`, OpenSSL 1.1 to 4.0) and verify errors (`num=20`), TLS alerts, curl's exit statuses, and the errors of
Python, Node, Chromium, Firefox, GnuTLS, nginx and git; the text may be wrapped or coloured, in upper or lower case. The
most specific entry comes first. The exit status is 1 when the text contains no known error; `--list` lists all codes,
`--json` is for programs. Errors and warnings of asgi-tls itself end with the code to look up.

In the commands, replace HOST by the server's name.
"""


def page() -> str:
    """The whole page, as Markdown."""
    rows = [f"| [{each.code}](#{each.code}) | {_cell(each.title)} |" for each in CATALOGUE.values()]
    table = "\n".join(["| code | |", "|---|---|", *rows])
    return "\n".join([_HEAD, table, "", *map(_section, CATALOGUE.values()), _findings()])


def _findings() -> str:
    rows = [f"| `{id_}` | {_cell(kind.title)} | {_cell(kind.fix)} |" for id_, kind in KINDS.items()]
    head = "## Findings of `asgi-tls check`\n\n[Audit](check.md) says what they do to the grade.\n"
    return "\n".join([head, "| id | | what to do |", "|---|---|---|", *rows, ""])


def _section(trouble: Trouble) -> str:
    lines = [f"## {trouble.code}", "", f"{trouble.title}. {trouble.meaning}", "", "Causes:", ""]
    lines += [f"- {cause}" for cause in trouble.causes]
    lines += ["", "What to do:", "", *(f"- {fix}" for fix in trouble.fixes)]
    lines += ["", "To verify:", "", "```text", *trouble.commands, "```"]
    if known := _known_as(trouble):
        lines += ["", f"Known as {', '.join(known)}."]
    reference = re.sub(r"docs/((\w+)\.md)", r"[\2](\1)", trouble.reference)
    return "\n".join([*lines, "", f"Reference: {reference}.", ""])


def _known_as(trouble: Trouble) -> list[str]:
    names = [f"`{name}`" for name in trouble.names[:12]]
    names += [f"alert {number}" for number in trouble.alerts]
    names += [f"verify error {number}" for number in trouble.verify]
    names += [f"`curl: ({number})`" for number in trouble.curl]
    return names + [f"“{phrase}”" for phrase in trouble.says[:6]]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
