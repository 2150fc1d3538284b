"""`--version`, for the program and for the commands that are scripts too."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer


def show_version(asked: bool) -> None:
    """Print the version and end, when it was asked for."""
    if asked:
        typer.echo(f"foldpack {version('foldpack')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=show_version, help="print foldpack's version and end")
]
