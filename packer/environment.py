"""The environment of the checkout, for scripts that a shell starts with any Python. Needs the standard library only."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

NEEDED = ("foldpack", "typer")  # the project, and one of the packages that come with it


def environment_of(checkout: Path) -> Path:
    """The folder of the virtual environment: $VENV, counted from the checkout as `make` does, else `.venv`."""
    return checkout / (os.environ.get("VENV") or ".venv")


def enter_environment(script: str) -> None:
    """Go on in the checkout's environment when this Python lacks our packages; else do nothing.

    The process is replaced by the environment's Python with the same script and arguments. Ends with one line and exit
    code 2 when there is no environment, or when it lacks the packages too.
    """
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    path = Path(script).resolve()
    venv = environment_of(path.parent)
    python = venv / "bin" / "python"
    if not os.access(python, os.X_OK):
        stop(f"{venv}: the project's environment is not there; run `make setup` in {path.parent}, or set VENV to its "
             "folder")
    if Path(sys.prefix).resolve() == venv.resolve():
        stop(f"{venv}: the project's environment is not complete; run `make setup` in {path.parent}")
    os.execv(python, [str(python), str(path), *sys.argv[1:]])


def stop(message: str) -> None:
    """End as every command does."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
