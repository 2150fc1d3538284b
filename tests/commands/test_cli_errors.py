"""How commands end: one line and code 2 for what the user can mend, a traceback for what we must mend."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from foldpack.commands.run_app import run_app
from foldpack.errors import DataError

app = typer.Typer(no_args_is_help=True)


@app.command()
def act(what: str) -> None:
    """Fail in the way that is asked for."""
    if what == "data":
        raise DataError("x.csv: broken")
    if what == "exit":
        raise typer.Exit(5)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "abort":
        raise typer.Abort
    if what == "file":
        Path("/dev/null/x").mkdir()
    if what == "bug":
        raise ZeroDivisionError("a bug")
    if what == "nameless":
        raise OSError("no file is to blame")


@app.command()
def other() -> None:
    """A second command, so that the first keeps its name."""


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("data", 2, "error: x.csv: broken\n"),
        ("interrupt", 130, "interrupted; finished parts are kept\n"),
        ("abort", 130, "interrupted; finished parts are kept\n"),
        ("file", 2, "error: /dev/null/x: Not a directory; check the path, its owner and the room on the disk\n"),
        ("exit", 5, ""),
        ("nothing", 0, ""),
    ],
)
def test_codes_and_lines(capsys, what: str, code: int, line: str) -> None:
    assert run_app(app, ["act", what]) == code
    assert capsys.readouterr().err.strip() == line.strip()


@pytest.mark.parametrize("arguments", [["act"], ["act", "a", "b"], ["act", "--zzz"], ["acct", "a"], []])
def test_wrong_usage_is_code_2_without_a_traceback(capsys, arguments: list[str]) -> None:
    assert run_app(app, arguments) == 2
    shown = "".join(capsys.readouterr())
    assert shown.strip() and "Traceback" not in shown


@pytest.mark.parametrize(("what", "kind"), [("bug", ZeroDivisionError), ("nameless", OSError)])
def test_bugs_keep_their_traceback(what: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        run_app(app, ["act", what])


def test_help_is_no_error(capsys) -> None:
    assert run_app(app, ["--help"]) == 0
    assert "Fail in the way that is asked for." in capsys.readouterr().out
