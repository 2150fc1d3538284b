"""`foldpack average`: the mean of checkpoints, as a run of its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import DataOption


class How(StrEnum):
    """Which checkpoints go in."""

    uniform = "uniform"
    greedy = "greedy"


def register(app: typer.Typer) -> None:
    """Add the command to the `foldpack` application."""
    app.command("average")(average)


def average(
    names: Annotated[list[str], typer.Argument(help="a run with `keep`, or several, fine-tuned from the same weights")],
    name: Annotated[str, typer.Option("--name", help="of the new run")],
    how: Annotated[How, typer.Option(help="all checkpoints, or one by one while the score gets no worse")]
    = How.uniform,
    data: DataOption = None,
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv"),
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
) -> None:
    """Average checkpoints fold by fold, and keep the result as a new run if its out-of-fold score is better."""
    from foldpack.commands.project import told_data
    from foldpack.train.averaging.average import average_runs

    average_runs(names, name, how.value, told_data(data), folds_csv, runs)
