"""`foldpack search`, which is also ./ensemble_search.py: the ensemble of finished runs, or of anyone's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foldpack.commands.option_class import command_of
from foldpack.commands.version import VersionOption
from foldpack.errors import INTERRUPTED, FoldpackError
from foldpack.files import write_atomic

if TYPE_CHECKING:
    from foldpack.search.level2.tuning import Tuning


def register(app: typer.Typer) -> None:
    """Add the command to the `foldpack` application."""
    app.command("search")(search)


@dataclass(frozen=True)
class SearchWish:
    """The options of `foldpack search`, in the order in which they are shown."""

    name: Annotated[str, typer.Argument(help="name of the ensemble")]
    inputs: Annotated[list[str], typer.Argument(help="names of finished runs, or files of predictions")]
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs")
    out: Annotated[Path, typer.Option(help="folder for NAME.yml and NAME.report.html, .json")] = Path("ensembles")
    metric: Annotated[str | None, typer.Option(help="name, or a .py file with metric(y, p, groups)")] = None
    labels: Annotated[Path | None, typer.Option(help="files only: the truth, one row an item")] = None
    groups: Annotated[Path | None, typer.Option(help="files only: rows of a group are never split")] = None
    folds: Annotated[Path | None, typer.Option(help="files only: the fold of every row, or folds.csv")] = None
    test: Annotated[list[Path] | None, typer.Option(help="files only: a member's test predictions; once each")] = None
    scores: Annotated[Literal["logit", "probability"] | None, typer.Option(help="files only: what all are")] = None
    hours: Annotated[str, typer.Option("--hours", "--time-limit", help="of the kernel: 9h, 8h40m")] = "9h"
    images: Annotated[int | None, typer.Option(help="runs only: images to predict; draws the front of hours")] = None
    device_factor: Annotated[float, typer.Option(help="how many times slower the kernel's device is")] = 1.0
    devices: Annotated[int, typer.Option(help="how many devices the kernel has")] = 1
    spaces: Annotated[str | None, typer.Option(help="blend spaces to try, with commas; default: by metric")] = None
    min_labels: Annotated[int, typer.Option(help="of an item, for metrics of labels")] = 1
    max_labels: Annotated[int | None, typer.Option(help="of an item, for metrics of labels")] = None
    level2: Annotated[bool, typer.Option(help="also boosters on top, used if they gain")] = False
    level2_top: Annotated[int, typer.Option(min=1, help="classes that each member puts forward")] = 3
    level2_seeds: Annotated[int, typer.Option(min=1, help="boosters of each kind and fold, averaged")] = 1
    level2_reject: Annotated[int | None, typer.Option(min=0, help="number of the class 'none of these'")] = None
    level2_trials: Annotated[int, typer.Option(min=0, help="tune them with optuna: trials of each study")] = 0
    study: Annotated[str | None, typer.Option(help="keep the trials: .db, .journal, or a database's URL")] = None
    class_thresholds: Annotated[bool, typer.Option(help="a threshold for each class")] = False
    new_class: Annotated[bool, typer.Option(help="files only: label -1 is 'in no class', for map5")] = False
    own_retrieval: Annotated[bool, typer.Option(help="runs of embed only: try no other way to retrieve")] = False
    slug: Annotated[str | None, typer.Option(help="runs only: the competition on Kaggle")] = None


@command_of
def search(wish: SearchWish, version: VersionOption = False) -> None:
    """Find the ensemble: write ensembles/NAME.yml and its report, and print what was found."""
    # The imports take seconds; other commands should not wait for them.
    from foldpack.metrics.plugin import find_metric
    from foldpack.search.decide.decision import LabelRule
    from foldpack.search.files.arrays import ArraySearch, search_arrays
    from foldpack.search.files.tables import is_prediction_file
    from foldpack.search.find import SearchOptions
    from foldpack.search.hours.cost import parse_hours
    from foldpack.search.level2.files import booster_folder
    from foldpack.search.level2.fit import Level2Options
    from foldpack.search.report.progress import stage_bars
    from foldpack.search.report.report import report_html, report_json, report_lines
    from foldpack.search.runs import RunSearch, search_runs
    from foldpack.settings.ensemble import write_spec

    rule = LabelRule(min_labels=wish.min_labels, max_labels=wish.max_labels, per_class=wish.class_thresholds,
                     new_class=wish.new_class)
    options = SearchOptions(rule=rule, spaces=None if wish.spaces is None else wish.spaces.split(","))
    tuning = tuning_options(wish)
    level2 = Level2Options(top=wish.level2_top, seeds=wish.level2_seeds, reject=wish.level2_reject,
                           tuning=tuning) if wish.level2 else None
    if wish.out.suffix in (".yml", ".yaml"):
        raise FoldpackError(f"--out {wish.out}: the folder of ensembles is wanted; the first word, '{wish.name}', "
                            "names the ensemble, and runs or files follow it")
    target = wish.out / f"{wish.name}.yml"
    with stage_bars() as progress:
        if all(is_prediction_file(one) for one in wish.inputs):
            if wish.labels is None or wish.metric is None:
                raise FoldpackError("files of predictions need --labels and --metric")
            wanted = ArraySearch(files=[Path(one) for one in wish.inputs], labels=wish.labels,
                                 metric=find_metric(wish.metric), groups=wish.groups, folds=wish.folds,
                                 options=options, level2=level2, tests=tuple(wish.test or ()), scores=wish.scores)
            spec, numbers = search_arrays(target, wanted, progress)
        else:
            if wish.new_class or wish.test or wish.scores:
                raise FoldpackError("--new-class, --test and --scores are for files of predictions, not for runs")
            asked = RunSearch(wish.metric, parse_hours(wish.hours), images=wish.images,
                              device_factor=wish.device_factor, devices=wish.devices, slug=wish.slug, options=options,
                              level2=level2, boosters=booster_folder(target),
                              retrieval=not wish.own_retrieval)
            spec, numbers = search_runs(wish.name, [wish.runs / one for one in wish.inputs], asked, progress)
        write_spec(target, spec)
    write_atomic(wish.out / f"{wish.name}.report.json", report_json(numbers))
    write_atomic(wish.out / f"{wish.name}.report.html", report_html(numbers))
    print("\n".join(report_lines(numbers)))
    print(f"ensemble {target}")
    if numbers["interrupted"]:
        raise typer.Exit(INTERRUPTED)


def tuning_options(wish: SearchWish) -> Tuning | None:
    """What --level2-trials and --study say. Raises FoldpackError for one that needs another."""
    from foldpack.search.level2.tuning import Tuning

    if not wish.level2 and (wish.level2_trials or wish.study):
        raise FoldpackError("--level2-trials and --study tune level 2; give --level2 as well")
    if wish.study and not wish.level2_trials:
        raise FoldpackError("--study keeps the trials of --level2-trials; say how many")
    return Tuning(wish.level2_trials, wish.study, wish.name) if wish.level2_trials else None

