"""`asgi-tls uvicorn` and `asgi-tls hypercorn`: the server's own command, with every option it has, plus ours.

Both servers keep the way from their command line to `run(...)` in one function, which looks `run` up by name. That
function is copied here with another `run`; nothing of the server's is changed. It would break if `run` were called by
another name, which is checked before each start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from asgi_tls.errors import ConfigurationError, UnsupportedError
from asgi_tls.renewal.sighup import forward_sighup
from asgi_tls.servers import environment
from asgi_tls.servers.settings import SETTINGS

if TYPE_CHECKING:
    from asgi_tls.server import ServerTLS

# uvicorn's and hypercorn's options that a context of ours would silently ignore, and what to use instead.
_INSTEAD: Final = {
    "ssl_version": "--tls-profile",
    "ssl_ciphers": "--tls-ciphersuites and --tls-ciphers",
    "ssl_cert_reqs": "--tls-client-auth",
    "ssl_ca_certs": "--tls-client-ca",
    "ciphers": "--tls-ciphersuites and --tls-ciphers",
    "cert_reqs": "--tls-client-auth",
    "verify_mode": "--tls-client-auth",
    "verify_flags": "--tls-client-auth",
    "ca_certs": "--tls-client-ca",
}


def _tls_options() -> list[click.Option]:
    return [
        click.Option(
            [setting.option],
            type=click.Choice(setting.choices) if setting.choices else None,
            metavar=None if setting.is_flag or setting.choices else setting.metavar,
            is_flag=setting.is_flag,
            multiple=setting.multiple,
            default=None,
            help=f"{setting.help} [env: {setting.variable}]",
        )
        for setting in SETTINGS
    ]


def _take_tls_values(parameters: dict[str, Any]) -> dict[str, Any]:
    """Ours out of the parsed parameters, over what the environment says."""
    values = environment.from_environment()
    for setting in SETTINGS:
        given = parameters.pop(setting.option.lstrip("-").replace("-", "_"))
        if given:
            values[setting.name] = given
    return values


def _with_run(function: Any, run: Callable[..., Any], server: str) -> Callable[..., Any]:
    """A copy of a server's command function that calls our `run`."""
    if not isinstance(function, FunctionType) or "run" not in function.__code__.co_names:
        raise UnsupportedError(
            f"this version of {server} starts in a way that is not known here",
            fix=f"Use `{server}` from Python with ServerTLS, or the version that the README names.",
        )
    names = {**function.__globals__, "run": run}
    copied = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def _uvicorn_command() -> click.Command:
    try:
        from uvicorn import main as theirs
    except ImportError:
        raise UnsupportedError("uvicorn is not installed", fix="pip install 'asgi-tls[uvicorn]'.") from None

    context_settings = {**theirs.context_settings, "help_option_names": ["-h", "--help"]}

    @click.pass_context
    def serve(context: click.Context, /, **parameters: Any) -> None:
        import uvicorn

        from asgi_tls.servers.uvicorn import UvicornContextFactory

        _log_to_stderr()
        tls_values = _take_tls_values(parameters)
        for name, instead in _INSTEAD.items():
            if name in parameters and context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise ConfigurationError(f"--{name.replace('_', '-')} would have no effect here", fix=f"Use {instead}.")
        tls = environment.server_tls(
            tls_values,
            certfile=parameters["ssl_certfile"],
            keyfile=parameters["ssl_keyfile"],
            password=parameters["ssl_keyfile_password"],
        )
        tls.check()
        beside = _plain_port("uvicorn", tls, tls_values, parameters["host"], parameters["port"])

        def run(app: Any, **settings: Any) -> None:
            if settings["reload"] or _workers(settings["workers"]) > 1:
                forward_sighup()  # before there is another thread, which would inherit its mask too late
            with beside:
                uvicorn.run(app, **settings, ssl_context_factory=UvicornContextFactory(tls))

        _with_run(theirs.callback, run, "uvicorn")(**parameters)

    return click.Command(
        "uvicorn",
        context_settings=context_settings,
        params=[*_tls_options(), *theirs.params],
        callback=serve,
        help="Serve APP with uvicorn, over TLS. Every option of uvicorn works.",
    )


def _hypercorn_command() -> click.Command:
    @click.pass_context
    def serve(context: click.Context, /, arguments: Sequence[str], **parameters: Any) -> None:
        try:
            from hypercorn import __main__ as theirs
        except ImportError:
            raise UnsupportedError("hypercorn is not installed", fix="pip install 'asgi-tls[hypercorn]'.") from None

        _log_to_stderr()
        tls_values = _take_tls_values(parameters)
        if not arguments or {"-h", "--help"} & {*arguments}:
            click.echo(context.get_help())
            click.echo("\nhypercorn's own options:\n")
            sys.argv[0] = "asgi-tls hypercorn"  # what its usage line says
            theirs.main(["--help"])
        sys.exit(_with_run(theirs.main, lambda config: _run_hypercorn(config, tls_values), "hypercorn")([*arguments]))

    return click.Command(
        "hypercorn",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
        params=[
            *_tls_options(),
            click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED, metavar="APP [OPTION]..."),
        ],
        callback=serve,
        help="Serve APP with hypercorn, over TLS. Every option of hypercorn works.",
    )


def _run_hypercorn(config: Any, tls_values: dict[str, Any]) -> int:
    import hypercorn.run
    from hypercorn.config import Config

    from asgi_tls.servers.hypercorn import TLSConfig

    for name, instead in _INSTEAD.items():
        if hasattr(Config, name) and name in vars(config):
            raise ConfigurationError(f"--{name.replace('_', '-')} would have no effect here", fix=f"Use {instead}.")
    tls_config = TLSConfig()
    vars(tls_config).update(vars(config))
    tls = environment.server_tls(
        tls_values, certfile=config.certfile, keyfile=config.keyfile, password=config.keyfile_password
    )
    tls_config.adopt(tls)
    if tls_config.workers:
        forward_sighup()
    host, _, port = tls_config.bind[0].rpartition(":")
    with _plain_port("hypercorn", tls, tls_values, host.strip("[]"), int(port) if port.isdecimal() else 0):
        return hypercorn.run.run(tls_config)


def _plain_port(
    server: Literal["uvicorn", "hypercorn"], tls: ServerTLS, tls_values: environment.Values, host: str, https_port: int
) -> AbstractContextManager[None]:
    """The plain port that the settings ask for, already bound, or nothing."""
    wanted = environment.plain_port(tls_values)
    if wanted is None:
        return contextlib.nullcontext()
    from asgi_tls.servers import plain

    port, webroot = wanted
    app = plain.leading_to(tls, https_port=https_port, webroot=webroot)
    sock = plain.bound(host, port)
    return plain.on_uvicorn(app, sock) if server == "uvicorn" else plain.on_hypercorn(app, sock)


def _workers(given: int | None) -> int:
    """As uvicorn counts them."""
    return given or int(os.environ.get("WEB_CONCURRENCY", 1))


def _log_to_stderr() -> None:
    """Our own records, in the style of the servers' lines, unless the application has set up logging."""
    logger = logging.getLogger("asgi_tls")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


uvicorn_command: click.Command
hypercorn_command = _hypercorn_command()


def __getattr__(name: str) -> click.Command:
    if name == "uvicorn_command":  # made of uvicorn's own command, so only when it is asked for
        return _uvicorn_command()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
