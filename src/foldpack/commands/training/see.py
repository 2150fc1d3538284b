"""`foldpack curves`, `batch`, `errors` and `neighbours`: pages on how a training went, what it saw, what came of it.

What is heavy is imported only when a command is called: it takes seconds.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import DataOption
from foldpack.files import write_atomic
from foldpack.settings.run import read_config

RunsOption = Annotated[Path, typer.Option(help="folder that holds the runs")]
FoldsOption = Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")]
OutOption = Annotated[Path, typer.Option(help="the page to write")]


class Projection(StrEnum):
    """From vectors to a plane."""

    pca = "pca"
    umap = "umap"


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("curves")(curves)
    app.command("batch")(batch)
    app.command("errors")(errors)
    app.command("neighbours")(neighbours)


def curves(
    names: Annotated[list[str], typer.Argument(help="one run, or several over each other; finished or not")],
    runs: RunsOption = Path("runs"),
    out: OutOption = Path("curves.html"),
) -> None:
    """Show score, loss and learning rate by epoch, and say whether to train longer."""
    from foldpack.train.pages.curves import curve_lines, curves_html
    from foldpack.train.pages.run_log import read_run_log, run_folder

    logs = [read_run_log(run_folder(runs, name)) for name in dict.fromkeys(names)]
    write_atomic(out, curves_html(logs))
    notes = [f"note: {note}" for log in logs for note in log.notes]
    print("\n".join([*notes, *curve_lines(logs), f"page {out}"]))


def batch(
    config: Annotated[Path, typer.Argument(help="configs/COMPETITION/RUN.yml")],
    data: DataOption = None,
    folds_csv: FoldsOption = Path("folds.csv"),
    runs: Annotated[Path, typer.Option(help="folder that holds the runs; nothing is trained there")] = Path("runs"),
    fold: Annotated[int, typer.Option(help="fold that is left out")] = 0,
    batches: Annotated[int, typer.Option(min=1, max=20, help="batches to show")] = 2,
    images: Annotated[int, typer.Option(min=1, max=256, help="pictures of each")] = 24,
    items: Annotated[int, typer.Option(min=0, max=50, help="images with several draws of their augmentation")] = 8,
    out: OutOption = Path("batch.html"),
) -> None:
    """Show the first training batches as the network gets them: augmented, mixed, with their labels."""
    settings = read_config(config)  # before the seconds that the imports take
    from foldpack.commands.project import told_data
    from foldpack.train.pages.batch import BatchAsked, show_batches

    show_batches(settings, told_data(data), folds_csv, runs, BatchAsked(fold, batches, images, items), out)


def errors(
    name: Annotated[str, typer.Argument(help="a finished run")],
    data: DataOption = None,
    runs: RunsOption = Path("runs"),
    items: Annotated[int, typer.Option(min=1, max=50, help="worst items of each class")] = 4,
    most: Annotated[int, typer.Option(min=1, max=300, help="items with pictures in all")] = 100,
    out: OutOption = Path("errors.html"),
) -> None:
    """Show where a run is wrong on the items that it did not learn from: worst items, what is taken for what."""
    from foldpack.commands.project import told_data
    from foldpack.train.pages.errors import show_errors
    from foldpack.train.pages.run_log import run_folder

    show_errors(run_folder(runs, name), told_data(data), items, most, out)


def neighbours(
    name: Annotated[str, typer.Argument(help="a finished run of task embed, or ensembles/NAME.yml of such runs")],
    data: DataOption = None,
    runs: RunsOption = Path("runs"),
    queries: Annotated[int, typer.Option(min=1, max=200, help="worst queries to show")] = 40,
    nearest: Annotated[int, typer.Option(min=1, max=10, help="items beside each: of its identity, and of others")] = 3,
    out: OutOption = Path("neighbours.html"),
    map_out: Annotated[Path, typer.Option("--map", help="the page with the map to write")] = Path("map.html"),
    by: Annotated[Projection, typer.Option(help="what makes the map; umap needs umap-learn")] = Projection.pca,
    fold: Annotated[int | None, typer.Option(help="whose networks the map is of; default: the first")] = None,
    points: Annotated[int, typer.Option(min=10, max=5000, help="on the map, about so many at most")] = 1200,
) -> None:
    """Show what lies nearest to out-of-fold queries, right and wrong, worst first, and a map of the embeddings."""
    from foldpack.commands.project import told_data
    from foldpack.train.pages.map import MapAsked
    from foldpack.train.pages.nearest import NeighboursAsked, show_neighbours

    show_neighbours(name, runs, told_data(data), NeighboursAsked(queries, nearest),
                    MapAsked(map_out, by.value, fold, points), out)
