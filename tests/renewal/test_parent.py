"""A process that starts workers: it follows the files as they do, and hands on what was good last."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from files import Files
from handshakes import client
from memory import handshake
from patience import until
from renewals import CERT, Site

from asgi_tls import ServerTLS
from asgi_tls.errors import EmptyFileError


def served_by(tls: ServerTLS) -> bytes | None:
    context = tls.create_server_context(watch=False).ssl_context
    return handshake(context, client()).client.getpeercert(binary_form=True)


def spawned(tls: ServerTLS) -> ServerTLS:
    """As a worker gets it."""
    worker: ServerTLS = pickle.loads(pickle.dumps(tls))
    return worker


def threads() -> list[threading.Thread]:
    gc.collect()  # tracebacks of errors hold what was at work
    return [thread for thread in threading.enumerate() if thread.name == "asgi_tls-reload"]


def test_workers_get_what_was_good_last(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(files.pki, tmp_path)
    tls = ServerTLS(site.source, reload_interval=0.05, listeners=[])
    assert not threads()
    tls.check()
    first = spawned(tls)  # from now on the files are followed
    start = served_by(first)
    pair = site.next_pair()
    with caplog.at_level("INFO"):
        site.write(pair, site.mount)
        until(lambda: "renewed; workers that start later get it" in caplog.text)
    (site.mount / CERT).write_bytes(b"")
    assert served_by(spawned(tls)) == pair.der != start
    # What was pickled before is as it was then, and who was never checked knows nothing.
    assert served_by(first) == start
    with pytest.raises(EmptyFileError, match="is empty"):
        served_by(spawned(ServerTLS(site.source, listeners=[])))
    with pytest.raises(EmptyFileError, match="is empty"):
        tls.check()
    del tls
    until(lambda: not threads())


def test_a_single_process_does_not_fall_back_to_what_it_has_checked(files: Files, tmp_path: Path) -> None:
    site = Site(files.pki, tmp_path)
    tls = ServerTLS(site.source, listeners=[])
    tls.check()
    assert served_by(tls) is not None
    assert not threads()
    (site.mount / CERT).write_bytes(b"")
    with pytest.raises(EmptyFileError, match="is empty"):
        served_by(tls)


def test_the_next_configuration_takes_over_what_was_good_and_the_sessions(files: Files, tmp_path: Path) -> None:
    """As gunicorn's arbiter does at SIGHUP."""
    site = Site(files.pki, tmp_path)
    before = ServerTLS(site.source, listeners=[])
    before.check()
    old = before.create_server_context(watch=False)
    visitor = client()
    ends = handshake(old.ssl_context, visitor)
    (site.mount / CERT).write_bytes(b"")
    after = ServerTLS(site.source, listeners=[])
    with pytest.raises(EmptyFileError, match="is empty"):
        ServerTLS(site.source, listeners=[]).check()
    after.check(before)
    new = spawned(after).create_server_context(watch=False)
    assert handshake(new.ssl_context, visitor, session=ends.client.session).client.session_reused
    assert served_by(spawned(after)) == ends.client.getpeercert(binary_form=True)


FORKING = """
import os, pathlib, signal, sys, threading
from asgi_tls import PEMFiles, ServerTLS

class Slow:
    paths = (pathlib.Path(sys.argv[1]),)
    loading, go_on = threading.Event(), threading.Event()
    def load(self, purpose="server"):
        self.loading.set()
        self.go_on.wait()
        return PEMFiles(*sys.argv[1:]).load()

source = Slow()
source.go_on.set()
tls = ServerTLS(source, reload_interval=0.01)
tls.check()
tls.follow()
source.go_on.clear()
source.loading.clear()
os.utime(sys.argv[1])
os.chmod(sys.argv[1], 0o640)
source.loading.wait(20)
threading.Timer(0.3, source.go_on.set).start()
child = os.fork()  # waits until nothing is being loaded
assert source.go_on.is_set()
if child == 0:
    signal.alarm(20)
    tls.create_server_context(watch=False)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_nothing_is_being_loaded_while_a_worker_is_forked(files: Files, tmp_path: Path) -> None:
    """The child would have the locks of that, and no thread to release them."""
    pair = files.pki.leaf("localhost").write(tmp_path)
    command = [sys.executable, "-P", "-W", "ignore::DeprecationWarning", "-c", FORKING, *map(str, pair)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


_IMPORTS = """
import sys, threading
from asgi_tls import PEMFiles, ServerTLS
threads = set()
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "watchfiles":
            threads.add(threading.current_thread().name)
sys.meta_path.insert(0, Finder)
tls = ServerTLS(PEMFiles(*sys.argv[1:]))
tls.check()
tls.follow()
print(*threads)
"""


def test_what_watches_is_imported_before_there_is_a_thread(files: Files) -> None:
    """A worker that is forked while a thread imports a module would wait for ever for that module's lock."""
    pytest.importorskip("watchfiles")
    command = [sys.executable, "-c", _IMPORTS, str(files.ecdsa.certfile), str(files.ecdsa.keyfile)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "MainThread\n"
