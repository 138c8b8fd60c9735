"""The facts as rows of text, for people: the terminal and the page show the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.audit import facts
from asgi_tls.audit.suites import weakness

if TYPE_CHECKING:
    from asgi_tls.audit.report import Report

Row = tuple[str, str]

_BY_NAME: Final = 12


def rows_of(report: Report) -> list[Row]:
    """Label and text, in the order in which they are read."""
    seen = report.seen
    found: list[Row] = [("versions", _versions(seen.versions))]
    for version, suites in reversed(seen.suites.items()):
        found.append((f"suites, {version}", _listed(suites.names, suites.preference)))
    groups = facts.groups(seen)
    found.append(("groups", _listed(groups["names"], groups["preference"]) or "not known"))
    for entry in facts.certificates(seen):
        found += _certificate(entry)
    best = facts.handshake(seen)
    if best is not None:
        found.append(("handshake", ", ".join(str(value) for value in best.values() if value)))
    resumed = (f"{name} {one['resumed']} of {one['tried']}" for name, one in facts.resumption(seen).items())
    found.append(("resumption", ", ".join(resumed) or "not known"))
    found.append(("refusals", f"{seen.refused - seen.silent - seen.unanswered} of {seen.refused} with an alert"))
    http = facts.http(seen)
    found.append((f"http, port {http['plain_http_port']}", http["plain_http"] or "not known"))
    found.append(("http on the TLS port", http["plain_on_tls_port"] or "not known"))
    found.append(("HSTS", _hsts(http)))
    return found


def summary(report: Report) -> str:
    """How it was come by."""
    seen = report.seen
    trust = "" if report.trust_matters else ", trust left aside"
    profile = f", against profile {report.profile}" if report.profile else ""
    when = f"{seen.at:%Y-%m-%d %H:%M} UTC"
    return f"{seen.address}, {when}, {seen.connections} connections in {seen.seconds:.1f} s{trust}{profile}"


def _versions(versions: dict[str, bool]) -> str:
    spoken = [name for name, speaks in versions.items() if speaks]
    refused = [name for name, speaks in versions.items() if not speaks]
    beside = f" (not {', '.join(refused)})" if refused else ""
    return f"{', '.join(reversed(spoken))}{beside}"


def _listed(names: Any, preference: str | None) -> str:
    """Few by name, many by what is wrong with them: JSON has them all."""
    if len(names) > _BY_NAME:
        counted = Counter(weakness(name) or "sound" for name in names)
        listed = ", ".join(f"{count} {what}" for what, count in counted.most_common())
    else:
        listed = ", ".join(f"{name} ({found})" if (found := weakness(name)) else name for name in names)
    return f"{listed} [{preference}'s order]" if preference else listed


def _certificate(entry: dict[str, Any]) -> list[Row]:
    left = f"{entry['lifetime_left']:.0%} of its lifetime left"
    complete = "complete" if entry["chain_complete"] else "not known to be complete"
    order = "" if entry["chain_in_order"] else ", not in order"
    trusted = {True: "trusted", False: "not trusted", None: "trust not known"}[entry["trusted"]]
    return [
        (
            "certificate",
            f"{entry['key']}, {entry['signature'] or 'built-in'} signature, for {', '.join(entry['names'])}",
        ),
        ("validity", f"until {entry['not_after'][:16].replace('T', ' ')} UTC, {left}"),
        ("chain", f"{' > '.join(entry['chain'])} ({complete}{order}; {trusted})"),
        ("staple", str(entry["staple"])),
    ]


def _hsts(http: dict[str, Any]) -> str:
    if http["hsts"] is None:
        return "none"
    if not http["preload_eligible"]:
        eligible = "not fit for the preload list"
    elif http["preload_announced"]:
        eligible = "fit for the preload list"
    else:
        eligible = "fit for the preload list, were preload in it"
    return f"{http['hsts']} ({eligible})"
