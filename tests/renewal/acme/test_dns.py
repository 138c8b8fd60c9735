"""dns-01: the records that a command or dns-lexicon sets and removes, and what is said where they cannot."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asgi_tls.renewal.acme.dns import DNSCommand
from asgi_tls.renewal.acme.problems import ACMEError

TOKEN = "very-secret-token"


class PowerDNS:
    """A PowerDNS with one zone, as far as dns-lexicon asks it. `records` are the values of the TXT records by name, and
    `changes` what they were after each change.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.records: dict[str, list[str]] = {}
        self.changes: list[dict[str, list[str]]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"dns": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def options(self) -> dict[str, str]:
        return {"pdns_server": f"http://127.0.0.1:{self._server.server_address[1]}", "auth_token": TOKEN}

    def __enter__(self) -> PowerDNS:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    dns: PowerDNS

    def do_GET(self) -> None:
        sets = [
            {
                "name": name,
                "type": "TXT",
                "ttl": 60,
                "records": [{"content": each, "disabled": False} for each in values],
            }
            for name, values in self.dns.records.items()
        ]
        self._answer({"kind": "Native", "rrsets": sets})

    def do_PATCH(self) -> None:
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._answer({}):
            for each in change["rrsets"]:
                self.dns.records[each["name"]] = sorted(record["content"] for record in each["records"])
            self.dns.changes.append(dict(self.dns.records))

    def _answer(self, document: Any) -> bool:
        zone = self.path.rpartition("/")[2]
        right = self.headers["X-API-Key"] == TOKEN
        status = 401 if not right else 200 if zone == f"{self.dns.zone}." else 404
        body = json.dumps(document if status == 200 else {"error": f"{self.headers['X-API-Key']} at {zone}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return status == 200

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as the base class has it
        pass


LEXICON = """
import json, sys
from asgi_tls.renewal.acme.dns import DNSLexicon
from asgi_tls.renewal.acme.problems import ACMEError
provider, options, calls = json.load(sys.stdin)
try:
    for action, name, value in calls:
        getattr(DNSLexicon(provider, options, wait=0.0), action)(name, value)
except ACMEError as error:
    print(error.kind, error)
"""


def lexicon(provider: str, options: Mapping[str, str], *calls: tuple[str, str, str], **env: str) -> str:
    """What is said. In a process of its own, as in an order; it finds no list of public suffixes on the internet."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1", "TLDEXTRACT_CACHE_PATH": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", LEXICON], input=json.dumps([provider, options, calls]), capture_output=True,
        text=True, env={**os.environ, **nowhere, **env}, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("zone", ["example.com", "corp.internal"])
def test_lexicon_sets_a_value_beside_another_and_removes_it_alone(zone: str) -> None:
    """Also in a domain that no list of public suffixes has."""
    with PowerDNS(zone) as dns:
        both = [("present", f"*.sub.{zone}", "one"), ("present", f"sub.{zone}", "two")]
        assert lexicon("powerdns", dns.options, *both, ("clean", f"*.sub.{zone}", "one")) == ""
    steps = (['"one"'], ['"one"', '"two"'], ['"two"'])
    assert dns.changes == [{f"_acme-challenge.sub.{zone}.": values} for values in steps]


def test_lexicon_takes_credentials_from_the_environment() -> None:
    with PowerDNS("example.com") as dns:
        environ = {f"LEXICON_POWERDNS_{name.upper()}": value for name, value in dns.options.items()}
        assert lexicon("powerdns", {}, ("present", "example.com", "value"), **environ) == ""
        assert dns.records == {"_acme-challenge.example.com.": ['"value"']}


@pytest.mark.parametrize(("name", "token"), [("other.test", TOKEN), ("example.com", "a-wrong-one")])
def test_what_lexicon_cannot_set_is_said_without_the_credentials(name: str, token: str) -> None:
    with PowerDNS("example.com") as dns:
        said = lexicon("powerdns", {**dns.options, "auth_token": token}, ("present", name, "value"))
    assert said.startswith(f"dns-record powerdns did not create the TXT record _acme-challenge.{name}: ")
    assert token not in said


def test_a_command_gets_the_record_and_the_value(tmp_path: Path) -> None:
    command = DNSCommand(f"sh -c 'echo \"$@\" >> {tmp_path}/called' set --zone 1")
    command.present("*.example.com", "value")
    command.clean("example.com", "value")
    assert (tmp_path / "called").read_text().splitlines() == [
        "--zone 1 present _acme-challenge.example.com value",
        "--zone 1 clean _acme-challenge.example.com value",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -c 'echo hidden; echo no such zone >&2; exit 3'", "ended with status 3 for example.com: no such zone"),
        ("sh -c 'exit 1'", "it printed nothing"),
        ("/no/such/program", "cannot be run: No such file"),
    ],
)
def test_a_command_that_fails_is_quoted(command: str, words: str) -> None:
    with pytest.raises(ACMEError) as caught:
        DNSCommand(command).present("example.com", "value")
    assert caught.value.kind == "dns-record"
    assert words in str(caught.value)
