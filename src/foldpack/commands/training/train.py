"""`foldpack train` and `foldpack lr`: the folds of one run, and the rate that it should have.

What trains is imported only when a command is called: it takes seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import DataOption
from foldpack.commands.training.options import ClusterOption
from foldpack.settings.run import ConfigError, RunConfig, parse_config, read_config


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("train")(train)
    app.command("lr")(learning_rate)


def train(
    configs: Annotated[list[Path], typer.Argument(help="configs/COMPETITION/RUN.yml, one or more")],
    data: DataOption = None,
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv"),
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    seeds: Annotated[str | None, typer.Option(help="1,2,3: train NAME_s1, NAME_s2, NAME_s3 in place of NAME")] = None,
    cluster: ClusterOption = None,
) -> None:
    """Train all folds of runs, here or on a cluster. Finished folds of the same configuration are kept."""
    settings = seeded([read_config(config) for config in configs], seeds)  # before the seconds that the imports take
    require_different(settings)
    from foldpack.commands.project import told_data
    from foldpack.train.device.processes import leave_processes
    from foldpack.train.load import Where
    from foldpack.train.run import train_run
    from foldpack.train.watch.bars import training_bars

    place = told_data(data)
    if cluster is not None:
        from foldpack.train.cluster.runs import train_on_cluster

        train_on_cluster(settings, Where(place, folds_csv, runs), cluster)
        return
    with training_bars() as show:
        for one in settings:
            train_run(one, place, folds_csv, runs, show=show)
    leave_processes()


def seeded(settings: list[RunConfig], seeds: str | None) -> list[RunConfig]:
    """Each run once for each seed, under a name of its own; the runs as they are where no seeds are told.

    Raises ConfigError for what is no list of different whole numbers.
    """
    if seeds is None:
        return settings
    numbers = [text.strip() for text in seeds.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", text) for text in numbers) or len({*map(int, numbers)}) < len(numbers):
        raise ConfigError(f"--seeds {seeds}: write different whole numbers with commas between them, such as 1,2,3")
    return [parse_config(one.model_dump(mode="json") | {"run": f"{one.run}_s{seed}", "seed": seed}, "--seeds")
            for one in settings for seed in map(int, numbers)]


def require_different(settings: list[RunConfig]) -> None:
    """Raises ConfigError for two runs of one name: they would write the same folder."""
    names = [one.run for one in settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"run '{twice[0]}' is the run of {len(twice)} configurations; a name may stand in one only")


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
