"""`foldpack predict`, `pseudo` and `complete`: labels that runs give, for other runs to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.option_class import command_of
from foldpack.commands.project import DataOption


class PredictedItems(StrEnum):
    """Of what the models of each fold say something."""

    test = "test"
    train = "train"
    oof = "oof"


@dataclass(frozen=True)
class PseudoOptions:
    """Options of `foldpack pseudo`."""

    predictions: Annotated[Path, typer.Argument(help="made by `foldpack predict`, of test items")]
    out: Annotated[Path, typer.Option(help="where to write the labels")]
    confidence: Annotated[float | None, typer.Option(help="least probability of the likeliest class")] = None
    gap: Annotated[float | None, typer.Option(help="least logit of the likeliest class above the second's")] = None
    per_class: Annotated[int | None, typer.Option(min=1, help="at most so many items of each class, the surest")] = None
    low: Annotated[float | None, typer.Option(help="several labels: each has at most this probability")] = None
    high: Annotated[float | None, typer.Option(help="several labels: or at least this")] = None
    spread: Annotated[float | None, typer.Option(min=0, help="values: largest deviation of the fold's models")] = None
    weigh: Annotated[bool, typer.Option("--weigh", help="an item counts as much as its probability")] = False


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("predict")(predict)
    app.command("pseudo")(pseudo)
    app.command("complete")(complete)


def predict(
    names: Annotated[list[str], typer.Argument(help="finished runs, or one ensembles/NAME.yml")],
    out: Annotated[Path, typer.Option(help="where to write the predictions")],
    items: Annotated[PredictedItems, typer.Option(help="test, train, or oof: what is there already")]
    = PredictedItems.test,
    data: DataOption = None,
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    fitted: Annotated[bool, typer.Option("--fitted", help="of an ensemble: its weights, which no fold may know")]
    = False,
) -> None:
    """Predict items with the models of each fold, apart, for runs that learn from it."""
    from foldpack.commands.project import told_data
    from foldpack.train.extra_labels.fold_predictions import predict_folds

    predict_folds(names, items.value, out, told_data(data), runs, fitted)


@command_of
def pseudo(options: PseudoOptions) -> None:
    """Make labels of the predictions of test items that are sure."""
    from dataclasses import asdict

    from foldpack.train.extra_labels.chosen import Rules, choose_pseudo

    rules = Rules(**{name: value for name, value in asdict(options).items() if name not in ("predictions", "out")})
    choose_pseudo(options.predictions, options.out, rules)


def complete(
    predictions: Annotated[Path, typer.Argument(help="made by `foldpack predict`, of training items")],
    out: Annotated[Path, typer.Option(help="where to write the labels")],
    above: Annotated[float, typer.Option(help="least probability of a label that is added")],
) -> None:
    """Find labels that training items of several labels seem to lack."""
    from foldpack.train.extra_labels.chosen import choose_completions

    choose_completions(predictions, out, above)
