"""`asgi-tls uvicorn`, `hypercorn` and `gunicorn`: the server's own command, with every option it has, plus ours.

uvicorn and hypercorn go from their command line to `run(...)` in one function, which looks `run` up by name.
That function is copied here with another `run`; nothing in the server is changed. It would break if `run` were called
by another name, which is checked before each start.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Final

import click

from asgi_tls.cli import start_again
from asgi_tls.cli.common import GroupedCommand, refuse_unknown
from asgi_tls.cli.options import options, taken
from asgi_tls.errors import UnsupportedError
from asgi_tls.renewal.sighup import forward_sighup
from asgi_tls.servers import addresses, plain
from asgi_tls.servers.build import profile_for, server_tls
from asgi_tls.servers.given import Given, read
from asgi_tls.servers.ignored import POLICY, option_error
from asgi_tls.servers.listening import check_metrics
from asgi_tls.servers.logs import follow

logger = logging.getLogger("asgi_tls")

_HELP: Final = {"-h", "--help"}
_STOPPING: Final = {signal.SIGINT, signal.SIGTERM}


# Held here: without a GIL, CPython 3.14.5 frees the globals of such a copy while it runs.
_names: Final[list[dict[str, Any]]] = []


def _with(function: Any, server: str, **replaced: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a server's function that calls ours by these names."""
    if not isinstance(function, FunctionType) or not replaced.keys() <= {*function.__code__.co_names}:
        raise UnsupportedError(
            f"this version of {server} is not supported: its command works in another way",
            fix=f"Use `{server}` from Python with ServerTLS, or the version that the README names.",
        )
    _names.append(names := {**function.__globals__, **replaced})
    copied = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def _not_installed(server: str) -> UnsupportedError:
    return UnsupportedError(f"{server} is not installed", fix=f"Install it: `pip install 'asgi-tls[{server}]'`.")


def _uvicorn_command() -> click.Command:
    try:
        from uvicorn import main as theirs
    except ImportError:
        raise _not_installed("uvicorn") from None

    @click.pass_context
    def serve(context: click.Context, /, **parameters: Any) -> None:
        follow(None)
        _load_env_file(parameters["env_file"])
        password = parameters["ssl_keyfile_password"]
        given = read(
            taken(parameters),
            own={
                "certfile": ("--ssl-certfile", parameters["ssl_certfile"]),
                "keyfile": ("--ssl-keyfile", parameters["ssl_keyfile"]),
                "keyfile_password": ("--ssl-keyfile-password", password),
            },
        )
        default = click.core.ParameterSource.DEFAULT
        changed = [name for name in parameters if context.get_parameter_source(name) is not default]
        with given.spelled():
            _run_uvicorn(theirs.callback, parameters, changed, given)

    return GroupedCommand(
        "uvicorn",
        context_settings={**theirs.context_settings, "help_option_names": sorted(_HELP)},
        params=[*options(), *theirs.params],
        callback=serve,
        help="Serve APP with uvicorn, over TLS. Its options work, except for its TLS policy, such as --ssl-ciphers.",
    )


def _run_uvicorn(command: Any, parameters: dict[str, Any], changed: Sequence[str], given: Given) -> None:
    import uvicorn

    from asgi_tls.servers.uvicorn import UvicornContextFactory

    for name in changed:
        if name in POLICY:
            raise option_error(f"--{name.replace('_', '-')}", name)
    start_again.under(profile_for(given.values))
    tls = server_tls(given, parameters["ssl_keyfile_password"])
    notices = tls.check()
    has_workers = parameters["reload"] or _workers(parameters["workers"]) > 1
    listening_on = addresses.of_uvicorn(parameters, by_loop=not has_workers)
    check_metrics(given.values, listening_on)
    listeners = plain.listeners(given.values, tls, listening_on)
    addresses.check_free(listening_on)
    factory = UvicornContextFactory(tls, notices, given.quiet, given.public_port)

    def run(app: Any, **settings: Any) -> None:
        settings = {name: value for name, value in settings.items() if not name.startswith("ssl_")}
        if has_workers:
            forward_sighup()  # before there is another thread, which would inherit its mask too late
        with plain.in_thread(listeners):
            uvicorn.run(app, **settings, ssl_context_factory=factory)

    _with(command, "uvicorn", run=run)(**parameters)


def _load_env_file(path: str | None) -> None:
    """As uvicorn does it later, so that our settings and WEB_CONCURRENCY in it count."""
    if path is None:
        return
    try:
        from dotenv import load_dotenv
    except ImportError:
        raise UnsupportedError(
            "--env-file needs the package python-dotenv", fix="Install it: `pip install python-dotenv`."
        ) from None
    load_dotenv(dotenv_path=path)


def _workers(given: int | None) -> int:
    """As uvicorn counts them."""
    return given or int(os.environ.get("WEB_CONCURRENCY", 1))


def _passing_on(server: str, serve: Callable[[Sequence[str], dict[str, Any]], Any]) -> click.Command:
    """A command that has our options, and leaves the others to the server."""

    @click.pass_context
    def run(context: click.Context, /, arguments: Sequence[str], **parameters: Any) -> None:
        follow(None)
        refuse_unknown(context, arguments)
        if not _HELP.isdisjoint(arguments):
            click.echo(context.get_help())
            click.echo(f"\nOptions of {server}:\n")
            sys.argv[0] = f"asgi-tls {server}"  # what its usage line says
        sys.exit(serve(arguments, taken(parameters)))

    return GroupedCommand(
        server,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
        params=[
            *options(),
            click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED, metavar="APP [OPTION]..."),
        ],
        callback=run,
        help=f"Serve APP with {server}, over TLS. Its options work, except for its TLS policy, such as --ciphers.",
    )


def _hypercorn(arguments: Sequence[str], ours: dict[str, Any]) -> Any:
    try:
        from hypercorn import __main__ as theirs
    except ImportError:
        raise _not_installed("hypercorn") from None

    def run(config: Any) -> int:
        given = read(
            ours,
            own={
                "certfile": ("--certfile", config.certfile),
                "keyfile": ("--keyfile", config.keyfile),
                "keyfile_password": ("--keyfile-password", config.keyfile_password),
                "quic_bind": ("--quic-bind", None),
            },
        )
        with given.spelled():
            return _run_hypercorn(config, given)

    if not arguments:  # hypercorn would read our own command line
        click.get_current_context().fail("Missing argument 'APP'.")
    return _with(theirs.main, "hypercorn", run=run)([*arguments])


def _run_hypercorn(config: Any, given: Given) -> int:
    from hypercorn.config import Config

    from asgi_tls.servers.hypercorn import TLSConfig

    for name in vars(config):
        if name in POLICY and hasattr(Config, name):
            raise option_error(f"--{name.replace('_', '-')}", name)
    start_again.under(profile_for(given.values))
    tls_config = TLSConfig()
    vars(tls_config).update(vars(config))
    tls = server_tls(given, config.keyfile_password)
    tls_config.adopt(tls, given.quiet, given.public_port)
    listening_on = addresses.of_hypercorn(config.bind)
    insecure = addresses.of_hypercorn(config.insecure_bind, "--insecure-bind")
    check_metrics(given.values, [*listening_on, *insecure])
    listeners = plain.listeners(given.values, tls, listening_on)
    addresses.check_free([*listening_on, *insecure])
    if tls_config.workers:
        forward_sighup()
    with plain.in_thread(listeners):
        return _status_of_hypercorn(tls_config)


def _status_of_hypercorn(config: Any) -> int:
    """Run it. Its own status is 0 where the first worker to fail was the last one."""
    import hypercorn.run

    statuses: list[int] = []

    def join_exited(processes: Any) -> int:
        statuses.append(status := hypercorn.run._join_exited(processes))
        if status < 0 and -status not in _STOPPING:
            logger.error(
                "a worker was ended by signal %d, and hypercorn ends then: let a service manager start it again",
                -status,
            )
        return status

    statuses.append(_with(hypercorn.run.run, "hypercorn", _join_exited=join_exited)(config))
    first = next(filter(None, statuses), 0)
    return first if first >= 0 else 128 - first  # as a shell has it for a worker that a signal ended


def _gunicorn(arguments: Sequence[str], ours: dict[str, Any]) -> Any:
    if os.name == "nt":
        fix = "Use `asgi-tls uvicorn` or `asgi-tls hypercorn`."
        raise UnsupportedError("gunicorn does not run on Windows", fix=fix)
    try:
        from asgi_tls.servers.gunicorn import Application
    except ImportError:
        raise _not_installed("gunicorn") from None

    given = read(ours)
    with given.spelled():
        start_again.under(profile_for(given.values))
    Application(arguments, ours).run()


uvicorn_command: click.Command
hypercorn_command = _passing_on("hypercorn", _hypercorn)
gunicorn_command = _passing_on("gunicorn", _gunicorn)


def __getattr__(name: str) -> click.Command:
    if name == "uvicorn_command":  # made of uvicorn's own command, so only when it is asked for
        return _uvicorn_command()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
