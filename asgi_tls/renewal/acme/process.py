"""The child of `agent.py`: it makes one order, or asks one question, and ends."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from asgi_tls.renewal.acme.account import dns_value, load_account_key
from asgi_tls.renewal.acme.agent import Job
from asgi_tls.renewal.acme.ca import OrderRequest
from asgi_tls.renewal.acme.dns import meanwhile
from asgi_tls.renewal.acme.problems import ACMEError
from asgi_tls.renewal.acme.validation import challenge_pair


class _Parent:
    """Says something to the parent, and waits until it has answered."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self._writing = writing
        self._answered = threading.Semaphore(0)
        threading.Thread(target=self._read, args=(reading,), daemon=True).start()

    def ask(self, say: str, **values: Any) -> None:
        self.say(say, **values)
        self._answered.acquire()

    def say(self, say: str, **values: Any) -> None:
        self._writing.write(json.dumps({"say": say, **values}).encode("ascii") + b"\n")
        self._writing.flush()

    def _read(self, reading: BinaryIO) -> None:
        while reading.readline(16):
            self._answered.release()
        os._exit(1)  # whoever waits for the result is gone


class _Solver:
    """The provider of DNS records, and the parent for all else."""

    def __init__(self, parent: _Parent, dns: Any) -> None:
        self._parent, self._dns = parent, dns

    def present(self, name: str, challenge_type: str, _token: str, key_authorization: str) -> None:
        if self._dns is not None:
            value = dns_value(key_authorization)
            meanwhile(lambda: self._dns.present(name, value), self._alive)
            return
        pair = None
        if challenge_type == "tls-alpn-01":
            pair = [base64.b64encode(each).decode("ascii") for each in challenge_pair(name, key_authorization)]
        self._ask("present", name, challenge_type, key_authorization, pair)

    def clean(self, name: str, challenge_type: str, _token: str, key_authorization: str) -> None:
        if self._dns is not None:
            value = dns_value(key_authorization)
            meanwhile(lambda: self._dns.clean(name, value), self._alive)
        else:
            self._ask("clean", name, challenge_type, key_authorization)

    def _alive(self) -> None:
        self._parent.ask("alive")

    def _ask(self, say: str, name: str, challenge: str, key_authorization: str, certificate: Any = None) -> None:
        self._parent.ask(
            say, name=name, challenge=challenge, key_authorization=key_authorization, certificate=certificate
        )


def main() -> None:
    """Read the job, do it, say the result."""
    writing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints is not for the parent's reader
    reading = sys.stdin.buffer
    job: Job = pickle.load(reading)  # noqa: S301 -- of the server that started this process
    parent = _Parent(reading, writing)
    try:
        parent.say("done", **(_renewal_info(job) if job.request is None else _order(job, job.request, parent)))
    except ACMEError as error:
        parent.say(
            "failed",
            problem=error.problem,
            fix=error.fix,
            kind=error.kind,
            retry_after=error.retry_after,
            problems=[[each.type, each.detail, each.name] for each in error.problems],
        )
    except Exception:  # noqa: BLE001 -- the parent reports the last line
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an interpreter whose thread reads from standard input cannot end otherwise


def _order(job: Job, request: OrderRequest, parent: _Parent) -> dict[str, Any]:
    from asgi_tls.renewal.acme.orders import obtain

    try:
        load_account_key(job.account_key)
    except ValueError as error:
        raise ACMEError(
            f"account.pem in the ACME storage is damaged: {error}",
            fix="Restore the file, or remove it: then a new account is registered.",
            kind="refused",
        ) from None
    issued = obtain(
        job.ca,
        job.account_key,
        job.account_url,
        request,
        _Solver(parent, job.dns),
        deadline=time.monotonic() + job.seconds,
        alive=lambda: parent.ask("alive"),
    )
    return {
        "pem": base64.b64encode(issued.pem).decode("ascii"),
        "account_url": issued.account_url,
        "certificate_id": issued.certificate_id,
        "not_before": issued.not_before.timestamp(),
        "not_after": issued.not_after.timestamp(),
        "notes": list(issued.notes),
    }


def _renewal_info(job: Job) -> dict[str, Any]:
    from asgi_tls.renewal.acme.orders import renewal_info

    info = renewal_info(job.ca, job.renewal_of)
    if info is None:
        return {"start": None}
    return {
        "start": info.start.timestamp(),
        "end": info.end.timestamp(),
        "retry_after": info.retry_after,
        "explanation": info.explanation,
    }


if __name__ == "__main__":
    main()
