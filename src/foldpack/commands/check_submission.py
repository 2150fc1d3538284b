"""The command check-submission: whether a file is what a competition asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MOST_LINES = 10  # faults that are printed


def register(app: typer.Typer) -> None:
    """Add this command to the `foldpack` application."""
    app.command("check-submission")(check_submission_file)


def check_submission_file(
    file: Annotated[Path, typer.Argument(help="the submission, a CSV")],
    competition: Annotated[str, typer.Option(help="the adapter: competition.yml, or a name")] = "competition.yml",
    data: Annotated[Path | None, typer.Option(help="the competition's folder, as downloaded")] = None,
) -> None:
    """Check a submission, whoever made it: ids, rows, columns and cells, by the answer of the competition."""
    from foldpack.competitions.answers.file_check import check_file

    found = check_file(file, competition, data)
    for note in found.notes:
        print(f"note: {note}")
    for line in found.faults[:MOST_LINES]:
        print(line)
    if found.faults:
        more = len(found.faults) - MOST_LINES
        print(f"{len(found.faults)} faults" + (f", {more} of them not shown" if more > 0 else ""))
        raise typer.Exit(1)
    print(f"ok: {found.said}")
