"""The commands look and check-submission: what foldpack understood of a competition, and of a file to hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.groups import DISTANCE
from foldpack.commands.project import CompetitionOption, DataOption

MOST_LINES = 10  # faults of a submission that are printed


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("look")(look)
    app.command("check-submission")(check_submission)


def look(
    data: DataOption = None,
    competition: CompetitionOption = None,
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("look.html"),
    images: Annotated[int, typer.Option(min=1, help="images to decode of each split, evenly spread")] = 1000,
    items: Annotated[int, typer.Option(min=1, max=200, help="items with pictures, of each split")] = 10,
    duplicates: Annotated[bool, typer.Option(help="look for near-duplicates among those images")] = True,
) -> None:
    """Show what was understood of a competition: items, labels, images, groups, what is odd, and what was guessed."""
    from foldpack.commands.looking import look_at_competition, write_page
    from foldpack.commands.project import told_competition, told_data
    from foldpack.look.page import survey_lines
    from foldpack.search.report.progress import stage_bars

    name, root = told_competition(competition), told_data(data)
    with stage_bars() as report:
        survey = look_at_competition(name, root, images, items, DISTANCE if duplicates else None, report)
        write_page(out, survey, report)
    print("\n".join([*survey_lines(survey), f"page {out}"]))


def check_submission(
    file: Annotated[Path, typer.Argument(help="the submission, a CSV")],
    competition: CompetitionOption = None,
    data: DataOption = None,
) -> None:
    """Check a submission, whoever made it: ids, rows, columns and cells, by the answer of the competition."""
    from foldpack.commands.project import named_data, told_competition
    from foldpack.competitions.answers.file_check import check_file

    found = check_file(file, told_competition(competition), named_data(data))
    for note in found.notes:
        print(f"note: {note}")
    for line in found.faults[:MOST_LINES]:
        print(line)
    if found.faults:
        count, more = len(found.faults), len(found.faults) - MOST_LINES
        print(f"{count} fault{'s' if count > 1 else ''}" + (f", {more} of them not shown" if more > 0 else ""))
        raise typer.Exit(1)
    print(f"ok: {found.said}")
