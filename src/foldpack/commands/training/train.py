"""`foldpack train` and `foldpack lr`: the folds of one run, and the rate that it should have.

What trains is imported only when a command is called: it takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import DataOption
from foldpack.settings.run import read_config


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("train")(train)
    app.command("lr")(learning_rate)


def train(
    config: Annotated[Path, typer.Argument(help="configs/COMPETITION/RUN.yml")],
    data: DataOption = None,
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv"),
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
) -> None:
    """Train all folds of one run. Finished folds of the same configuration are kept."""
    settings = read_config(config)  # before the seconds that the imports take
    from foldpack.commands.project import told_data
    from foldpack.train.device.processes import leave_processes
    from foldpack.train.run import train_run
    from foldpack.train.watch.bars import training_bars

    with training_bars() as show:
        train_run(settings, told_data(data), folds_csv, runs, show=show)
    leave_processes()


def learning_rate(
    config: Annotated[Path, typer.Argument(help="configs/COMPETITION/RUN.yml")],
    data: DataOption = None,
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv"),
    runs: Annotated[Path, typer.Option(help="folder that holds the runs; nothing is trained there")] = Path("runs"),
    fold: Annotated[int, typer.Option(help="fold that is left out")] = 0,
    lowest: Annotated[float, typer.Option(help="first learning rate")] = 1e-7,
    highest: Annotated[float, typer.Option(help="last learning rate")] = 10.0,
    updates: Annotated[int, typer.Option(min=20, help="updates from the one to the other")] = 100,
    out: Annotated[Path, typer.Option(help="the plot to write, an SVG")] = Path("lr.svg"),
) -> None:
    """Let the learning rate rise until the loss runs away, and plot it: which rate a run should have."""
    settings = read_config(config)  # before the seconds that the imports take
    from foldpack.commands.project import told_data
    from foldpack.train.rate_finder import RateRange, find_rate

    find_rate(settings, told_data(data), folds_csv, runs, fold, RateRange(lowest, highest, updates), out)
