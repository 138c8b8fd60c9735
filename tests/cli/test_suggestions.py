"""A misspelt command or option is answered with what was meant; shells complete commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from in_process import RUNNER, here
from servers import asgi_tls, run

from asgi_tls.cli import COMMANDS, main

SCRIPTS = str(Path(sys.executable).parent)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["uvicron", "app:app"], "No such command 'uvicron'. Did you mean 'uvicorn'?"),
        (["Hypercorn"], "No such command 'Hypercorn'. Did you mean 'hypercorn'?"),
        (["docter"], "Did you mean 'doctor'?"),
        (["deployhook"], "Did you mean 'deploy-hook'?"),
        (["ca", "instal"], "No such command 'instal'. Did you mean 'install'?"),
        (["ocsp", "stat"], "Did you mean 'status'?"),
        (["app:app", "--port=8443"], "Did you mean 'asgi-tls uvicorn app:app'?"),
        (["package.module:create()"], "Did you mean 'asgi-tls uvicorn package.module:create()'?"),
        (["xyzzy"], "No such command 'xyzzy'.\n"),
        (["--verison"], "--version"),
        (["--tls-profile", "modern", "uvicorn", "app:app"], "--tls-profile comes after the command"),
        (["check", "--jsno", "https://localhost"], "--json"),
        (["uvicorn", "app:app", "--tls-proflie=modern"], "--tls-profile"),
        (["hypercorn", "app:app", "--tls-proflie=modern"], "--tls-profile"),
        (["gunicorn", "app:app", "--tls-proflie", "modern"], "--tls-profile"),
        (["gunicorn", "app:app", "--tls-nonsense-xyzzy"], "No such option"),
        (["uvicorn"], "Missing argument 'APP'."),
        (["hypercorn"], "Missing argument 'APP'."),
    ],
)
def test_what_was_meant(typed: list[str], says: str) -> None:
    done = RUNNER.invoke(main, typed)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr
    if "xyzzy" in typed[-1]:
        assert "Did you mean" not in done.stderr


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    with click.Context(main) as context:
        for name, (_, _, text) in COMMANDS.items():
            command = main.get_command(context, name)
            assert command is not None
            assert (command.help or "").split()[:4] == text.rstrip(".").split()[:4], name


def completed(shell: str, *words: str) -> list[str]:
    """What click answers to a shell for these words, the last of them incomplete."""
    environment = {
        "_ASGI_TLS_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(("asgi-tls", *words)),
        "COMP_CWORD": str(len(words)),
    }  # fmt: skip
    status, text = here(asgi_tls(), env=environment)
    assert status == 0, text
    return text.split()


def test_commands_and_options_are_completed() -> None:
    assert completed("bash", "un") == []
    assert completed("bash", "uv") == ["plain,uvicorn"]
    assert {"plain,check", "plain,ca", "plain,cert"} == {*completed("bash", "c")}
    assert "plain,--tls-profile" in completed("bash", "export", "nginx", "--tls-")
    assert {"plain,modern", "plain,intermediate"} == {*completed("bash", "uvicorn", "--tls-profile", "")}
    assert completed("bash", "export", "ngi") == ["plain,nginx"]
    assert completed("bash", "ca", "unin") == ["plain,uninstall"]


def test_completion_of_commands_imports_none_of_them() -> None:
    script = "import os, sys, asgi_tls.cli; os.environ |= {'_ASGI_TLS_COMPLETE': 'bash_complete', "
    script += "'COMP_WORDS': 'asgi-tls u', 'COMP_CWORD': '1'}; sys.argv = ['asgi-tls']\n"
    script += "try: asgi_tls.cli.main(prog_name='asgi-tls')\n"
    script += "except SystemExit: print({'uvicorn', 'cryptography', 'ssl'} & {*sys.modules})"
    assert run([sys.executable, "-c", script]) == (0, "plain,uvicorn\nset()\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_script_that_is_documented(tmp_path: Path) -> None:
    script = """
    set -e
    _ASGI_TLS_COMPLETE=bash_source asgi-tls > completion.bash
    . ./completion.bash
    complete -p asgi-tls
    COMP_WORDS=(asgi-tls do) COMP_CWORD=1
    $(complete -p asgi-tls | sed 's/.*-F \\([^ ]*\\).*/\\1/') asgi-tls do asgi-tls
    echo "found ${COMPREPLY[*]}"
    """
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "complete -o nosort -F _asgi_tls_completion asgi-tls" in done.stdout
    assert "found doctor" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells(shell: str) -> None:
    status, text = run(
        ["asgi-tls"], env={"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "_ASGI_TLS_COMPLETE": f"{shell}_source"}
    )
    assert status == 0
    assert f"_ASGI_TLS_COMPLETE={shell}_complete" in text


def test_python_m_has_the_same_commands() -> None:
    assert "Did you mean 'uvicorn'?" in run(asgi_tls("uvicron"))[1]
