"""The command init: from a download to a project that trains, with what is sure and what is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from foldpack.errors import DataError


def register(app: typer.Typer) -> None:
    """Add this command to the `foldpack` application."""
    app.command("init")(init)


def init(
    project: Annotated[Path, typer.Argument(help="the new project's folder")],
    data: Annotated[Path | None, typer.Option(help="the competition's folder, as downloaded and unpacked; needed",
                                              show_default=False)] = None,
    slug: Annotated[str | None, typer.Option(help="the competition on Kaggle, as its address has it")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="ask nothing: take what is likeliest, and mark it")] = False,
) -> None:
    """Look at a download and write a project: competition.yml, a first run, a recipe. Asks what it cannot tell."""
    from foldpack.recognise.findings import Findings
    from foldpack.recognise.naming import name_project
    from foldpack.recognise.new_project import finding_lines, next_commands, require_new, write_project
    from foldpack.recognise.recognise import recognise

    if data is None:
        raise DataError(f"{project}: a project is made of a download, and none is named; needed: --data DIR, the "
                        f"competition's folder, unpacked, such as: foldpack init {project} --data ~/Downloads/titanic")
    require_new(project, data)
    findings = Findings(None if yes or not is_terminal() else choose)
    name, known = name_project(project, data, slug, findings)
    found = recognise(data, name, known, findings)
    print("\n".join(finding_lines(findings)))
    files = write_project(project, data, found)
    print("\n".join(["", *(f"wrote {project / file}" for file in files), "", *next_commands(project, found)]))


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def choose(question: str, options: list[str]) -> int:
    """Ask in the terminal -> position of the choice; the first is offered."""
    typer.echo(question)
    for number, option in enumerate(options, 1):
        typer.echo(f"  {number}  {option}")
    while True:
        text = str(typer.prompt("which", default="1")).strip()
        if text in map(str, range(1, len(options) + 1)):
            return int(text) - 1
        typer.echo(f"'{text}' is none of them: write a number from 1 to {len(options)}")
