"""`foldpack` itself: its version, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from foldpack.commands.main import app
from foldpack.commands.run_app import run_app


@pytest.mark.parametrize("words", [["--version"], ["search", "--version"], ["deploy", "--version"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, words) == 0
    assert capsys.readouterr().out == f"foldpack {version('foldpack')}\n"


@pytest.mark.parametrize(("line", "wanted"), [("foldpack de", "deploy"), ("foldpack search --me", "--metric"),
                                              ("foldpack keys ro", "rotate")])
def test_a_shell_completes_commands_and_options(line: str, wanted: str) -> None:
    asked = {"_FOLDPACK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    code = "import sys; sys.argv[0] = 'foldpack'; from foldpack.commands.main import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert wanted in shown.stdout.split(), shown.stderr


def test_the_program_starts_without_the_packages_that_take_seconds() -> None:
    assert imported("foldpack.commands.main", ("torch", "pandas", "scipy")) == "[]\n"


def test_a_search_needs_no_network() -> None:
    """Of runs as of files: what out-of-fold rows say is arithmetic."""
    assert imported("foldpack.search.runs, foldpack.search.files.arrays", ("torch", "timm")) == "[]\n"


def imported(modules: str, packages: tuple[str, ...]) -> str:
    """Those of some packages that are there after some modules were imported, as printed."""
    code = f"import sys, {modules}; print([one for one in {packages!r} if one in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
