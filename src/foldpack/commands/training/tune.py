"""`foldpack tune`: trials of a run's configuration, by optuna.

What trains is imported only when the command is called: it takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.option_class import command_of
from foldpack.commands.project import DataOption
from foldpack.commands.training.options import ClusterOption
from foldpack.errors import did_you_mean
from foldpack.settings.run import ConfigError, read_config

PRUNERS = ["median", "hyperband", "none"]


def register(app: typer.Typer) -> None:
    """Add the command to the `foldpack` application."""
    app.command("tune")(tune)


@dataclass(frozen=True)
class TuneOptions:
    """What is tuned, and how."""

    config: Annotated[Path, typer.Argument(help="configs/COMPETITION/RUN.yml")]
    space: Annotated[Path, typer.Option(help="YAML of ranges: optim.lr: {log: [1e-4, 1e-2]}")]
    trials: Annotated[int, typer.Option(min=1, help="of the study, with those that it has already")]
    data: DataOption = None
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv")
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs")
    fold: Annotated[list[int] | None, typer.Option(help="that trials are scored on; may be repeated; usual: 0")] = None
    study: Annotated[str | None, typer.Option(help="where it is kept: a file or a database URL")] = None
    name: Annotated[str | None, typer.Option(help="of the study; usual: the run's")] = None
    pruner: Annotated[str, typer.Option(help="stops trials that lag behind: median, hyperband or none")] = "median"
    out: Annotated[Path | None, typer.Option(help="the best configuration; usual: RUN_tuned.yml beside it")] = None
    cluster: ClusterOption = None


@command_of
def tune(options: TuneOptions) -> None:
    """Try values of a run's keys and write the best configuration. Taken up again where it stopped."""
    config = read_config(options.config)  # before the seconds that the imports take
    if options.pruner not in PRUNERS:
        raise ConfigError(f"--pruner {options.pruner}: {did_you_mean(options.pruner, PRUNERS)}")
    from foldpack.commands.project import told_data
    from foldpack.train.load import Where
    from foldpack.train.tune.tune import TuneWish, tune

    wish = TuneWish(options.config, options.space, options.trials, options.fold or config.folds or [0], options.study,
                    options.name, options.pruner, options.out)
    written = tune(wish, Where(told_data(options.data), options.folds_csv, options.runs), options.cluster)
    if written is not None:
        print(f"tuned {written}: foldpack train {written}")
