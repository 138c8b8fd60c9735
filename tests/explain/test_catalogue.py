"""Each trouble is complete, known by what is its own alone, and its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest
from error_page import page

import asgi_tls
from asgi_tls import errors
from asgi_tls.cli import main
from asgi_tls.events import NOTICES, Event
from asgi_tls.explain import CATALOGUE, Trouble, explain
from asgi_tls.explain.catalogue import THEMES, by_code, parse
from asgi_tls.explain.index import as_name, index, squeezed
from asgi_tls.handshake import alerts
from asgi_tls.servers.settings import SETTINGS

TROUBLES = list(CATALOGUE.values())
OWN_CODES = sorted(
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ASGITLSError)
)
# What our own `tls_client_error` adds to OpenSSL's reasons: events.py.
OWN_EVENTS = [
    "HTTP_REQUEST", "STUN_REQUEST", "UNRECOGNIZED_NAME", "HANDSHAKE_TIMEOUT", "CONNECTION_CLOSED", "NO_DATA", "REFUSED",
]  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.code)
def test_an_entry_is_written_in_the_common_form(trouble: Trouble) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", trouble.code)
    texts = (trouble.title, trouble.meaning, trouble.reference, *trouble.causes, *trouble.fixes, *trouble.commands)
    assert all(len(text) > 3 and text == text.strip() and "\n" not in text for text in texts)
    assert not trouble.title.endswith(".")
    assert trouble.meaning.endswith(".")


ENTRY: dict[str, Any] = {
    "title": "T", "meaning": "M.", "causes": ["c"], "fixes": ["f"], "commands": ["@show", "ls"], "reference": "RFC 1",
}  # fmt: skip


def test_an_entry_is_read_with_its_shared_commands() -> None:
    (entry,) = parse("theme", {"code-a": {**ENTRY, "alerts": [1]}}, {"show": "openssl version"})
    assert (entry.code, entry.commands, entry.alerts, entry.general) == (
        "code-a",
        ("openssl version", "ls"),
        (1,),
        False,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"titel": "x"}, "unknown key titel"),
        ({"code": "x"}, "unknown key code"),
        ({"title": ""}, "title is missing or empty"),
        ({"title": None, "fixes": None}, "title, fixes is missing or empty"),
        ({"fixes": []}, "fixes is missing or empty"),
        ({"title": ["T"]}, "title is not of the type str"),
        ({"causes": "c"}, r"causes is not of the type tuple\[str"),
        ({"causes": ["c", 1]}, r"causes is not of the type tuple\[str"),
        ({"alerts": ["1"]}, r"alerts is not of the type tuple\[int"),
        ({"alerts": [True]}, r"alerts is not of the type tuple\[int"),
        ({"alerts": []}, r"alerts is not of the type tuple\[int"),
        ({"general": 1}, "general is not of the type bool"),
        ({"commands": ["@shwo"]}, "@shwo is not in commands.toml"),
    ],
)
def test_an_entry_that_breaks_the_schema_is_named(change: dict[str, Any], says: str) -> None:
    table = {name: value for name, value in {**ENTRY, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=rf"^theme.toml, \[code-a\]: {says}"):
        list(parse("theme", {"code-a": table}, {"show": "ls"}))


def test_a_code_belongs_to_one_entry() -> None:
    both = [*parse("one", {"code-a": ENTRY}, {"show": "ls"}), *parse("two", {"code-a": ENTRY}, {"show": "ls"})]
    with pytest.raises(ValueError, match="two entries have the code code-a"):
        by_code(both)


def test_every_file_and_every_shared_command_is_used() -> None:
    folder = Path(asgi_tls.__file__).parent / "explain/entries"
    assert {path.stem for path in folder.glob("*")} == {*THEMES, "commands", "reasons"}
    used = "".join((folder / f"{theme}.toml").read_text(encoding="utf-8") for theme in THEMES)
    names = re.findall(r"^([a-z0-9-]+) = ", (folder / "commands.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    assert not [name for name in names if f'"@{name}"' not in used]


def test_nothing_is_known_by_two() -> None:
    for kind in ("alerts", "verify", "curl", "net"):
        counted = Counter(number for trouble in TROUBLES for number in getattr(trouble, kind))
        assert not [number for number, count in counted.items() if count > 1], kind
    owners: dict[str, set[str]] = {}
    for trouble in TROUBLES:
        for name in (trouble.code, *trouble.names):
            owners.setdefault(as_name(name), set()).add(trouble.code)
        for number in trouble.alerts:
            owners.setdefault(alerts.NAMES.get(number, str(number)), set()).add(trouble.code)
    # The alert `certificate_expired` and our own error mean the same; these stand for two, and the code is meant.
    assert {name: codes for name, codes in owners.items() if len(codes) > 1} == {}
    said = Counter(squeezed(phrase) for trouble in TROUBLES for phrase in trouble.says)
    shared = {phrase for phrase, count in said.items() if count > 1}
    for phrase in shared:
        assert len({trouble.code for trouble in TROUBLES if phrase in map(squeezed, trouble.says)}) == 1, phrase


def test_wording_is_long_enough_not_to_be_found_by_chance() -> None:
    for trouble in TROUBLES:
        for phrase in trouble.says:
            assert len(squeezed(phrase)) >= 5, phrase
    assert all(all(parts) for parts, _ in index().wording)


@pytest.mark.parametrize("code", OWN_CODES)
def test_every_error_of_ours_is_explained(code: str) -> None:
    assert explain(code)[0].trouble.code == code
    assert explain(f"Error: something. Do that.\nMore: asgi-tls explain {code}")[0].trouble.code == code


@pytest.mark.parametrize("code", OWN_EVENTS)
def test_every_code_of_our_events_is_explained(code: str) -> None:
    (match,) = explain(code)
    (same,) = explain(f'{{"event": "tls_client_error", "code": "{code}", "ip": "192.0.2.1"}}')
    assert match.trouble is same.trouble


@pytest.mark.parametrize("code", NOTICES)
def test_every_warning_of_a_start_is_explained(code: str) -> None:
    assert [match.trouble.code for match in explain(code)] == [code]
    line = f"WARNING:  {NOTICES[code]} ({code})"
    assert code in [match.trouble.code for match in explain(f"{line}\nINFO: Uvicorn running on https://0.0.0.0:8443")]


def _kinds(kind: type[Event] = Event) -> list[type[Event]]:
    return [found for each in kind.__subclasses__() for found in (each, *_kinds(each))]


@pytest.mark.parametrize("name", sorted({kind.event for kind in _kinds() if "asgi_tls" in kind.__module__}))
def test_every_event_is_explained(name: str) -> None:
    (match,) = explain(name)
    assert as_name(match.trouble.code) == name
    assert explain(f'{{"event": "{name}", "code": null}}') == (match,)


@pytest.mark.parametrize("number", sorted(alerts.NAMES))
def test_every_alert_is_explained(number: int) -> None:
    (match,) = explain(f"alert {number}")
    assert explain(alerts.NAMES[number])[0].trouble is match.trouble


def test_every_error_class_is_explained() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ASGITLSError):
            assert explain(kind.__name__)[0].trouble.code == kind.code


def _own_commands() -> list[str]:
    found: set[str] = set()
    for trouble in TROUBLES:
        prose = " ".join((trouble.meaning, *trouble.causes, *trouble.fixes))
        found |= {*re.findall(r"`asgi-tls ([a-z -]+)", prose)}
        found |= {command.removeprefix("asgi-tls ") for command in trouble.commands if command.startswith("asgi-tls ")}
    return sorted(found)


def test_some_commands_are_ours() -> None:
    assert {"doctor", "ca path"} <= {*_own_commands()}


@pytest.mark.parametrize("words", _own_commands())
def test_our_commands_exist(words: str) -> None:
    command: click.Command | None = main
    with click.Context(main) as context:
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(context, word)
            assert command is not None, words
    assert command is not main


def test_our_options_exist() -> None:
    texts = " ".join(
        text for trouble in TROUBLES for text in (trouble.meaning, *trouble.causes, *trouble.fixes, *trouble.commands)
    )
    assert {*re.findall(r"--tls-[a-z-]+", texts)} - {"--tls-profile"} <= {setting.option for setting in SETTINGS}


def test_commands_are_those_of_a_shell() -> None:
    for trouble in TROUBLES:
        for command in trouble.commands:
            assert shlex.split(command), command


def test_references_into_docs_lead_somewhere() -> None:
    root = Path(__file__).parents[2]
    for trouble in TROUBLES:
        for path in re.findall(r"(?:docs/)?[A-Za-z]+\.md", trouble.reference):
            assert (root / path).is_file(), path


def test_the_page_is_that_of_the_catalogue() -> None:
    written = (Path(__file__).parents[2] / "docs/errors.md").read_text(encoding="utf-8")
    assert written == page(), "run `make docs`"


def test_importing_it_brings_no_library_and_reads_no_entry() -> None:
    script = "import sys, asgi_tls.explain; print({'cryptography', 'click', 'tomllib', 'rich'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
