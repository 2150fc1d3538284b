"""The commands look and check-submission: what foldpack understood of a competition, and of a file to hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.groups import DISTANCE

MOST_LINES = 10  # faults of a submission that are printed


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("look")(look)
    app.command("check-submission")(check_submission)


def look(
    data: Annotated[Path, typer.Option(help="the competition's folder, as downloaded")],
    competition: Annotated[str, typer.Option(help="the adapter: competition.yml, a name, or FILE.py:NAME")] =
        "competition.yml",
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("look.html"),
    images: Annotated[int, typer.Option(min=1, help="images to decode of each split, evenly spread")] = 1000,
    items: Annotated[int, typer.Option(min=1, max=200, help="items with pictures, of each split")] = 10,
    duplicates: Annotated[bool, typer.Option(help="look for near-duplicates among those images")] = True,
) -> None:
    """Show what was understood of a competition: items, labels, images, groups, what is odd, and what was guessed."""
    from foldpack.commands.looking import look_at_competition, write_page
    from foldpack.look.page import survey_lines
    from foldpack.search.report.progress import stage_bars

    with stage_bars() as report:
        survey = look_at_competition(competition, data, images, items, DISTANCE if duplicates else None, report)
        write_page(out, survey, report)
    print("\n".join([*survey_lines(survey), f"page {out}"]))


def check_submission(
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
