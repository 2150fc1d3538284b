"""A recipe walks the whole house: folds, training, search, packing, rehearsal. Every step can resume."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.commands.run_app import run_app
from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.protocol import Labelled, require_images
from foldpack.data.folds import (
    FOLD_KINDS,
    GROUPED_KINDS,
    GROUPED_TWINS,
    make_folds,
    missing_groups,
    only_here,
    whole_answers,
    write_folds,
)
from foldpack.data.group_file import NO_GROUP, read_group_file
from foldpack.data.items import Items
from foldpack.errors import INTERRUPTED, DataError, FoldpackError
from foldpack.metrics.answers import answer_problem, form_problem, task_answers
from foldpack.metrics.plugin import find_metric
from foldpack.models.start import settle_start
from foldpack.search.metric_fit import followed_metric
from foldpack.settings.ensemble import MetricSpec, read_spec
from foldpack.settings.recipe import RecipeConfig, read_recipe
from foldpack.settings.run import ConfigError, RunConfig, read_text
from foldpack.settings.strict_yaml import load_strict
from foldpack.train.quick import SUFFIX, quick_items, quick_recipe
from foldpack.train.run import train_run
from foldpack.train.targets import training_task
from foldpack.train.watch.bars import training_bars
from packer.rehearse.process import Ran, lay_out_inputs, rehearse

Say = Callable[[str], None]
FOLDPACK = ("-P", "-m", "foldpack.commands.main")  # for Python; -P: nothing is imported from the folder we are in


class RecipeError(FoldpackError):
    """A step of a recipe that failed."""


@dataclass(frozen=True)
class RecipeResult:
    """Where a recipe ended."""

    metric: MetricSpec  # and what the search saw of it
    submission: Path
    rehearsal: Ran


def search_metric(folder: Path, recipe: RecipeConfig, configs: list[RunConfig], say: Say) -> str:
    """The metric that the search will follow: the recipe's, else the competition's. Says where the first run follows
    another. Raises ConfigError for one that no submission of the kernel can have.

    Asked before anything is trained: runs may follow another metric, the search may not. folder: of the recipe.
    """
    adapter = find_adapter(recipe.competition)
    task = training_task(configs[0], adapter.task)
    name, note = (recipe.metric, "") if recipe.metric else followed_metric(adapter, configs[0].metric, task)
    if note:
        say(f"metric: {note}")
    metric = find_metric(name)
    where = "recipe.yml" if recipe.metric else f"{recipe.runs[0]}.yml"
    if isinstance(adapter, DeclaredCompetition) and (problem := form_problem(adapter.form.answer.kind, metric)):
        raise ConfigError(f"{folder / where}: competition '{adapter.name}': {problem}")
    if problem := answer_problem(metric.name, metric.answer, task_answers(task)):
        raise ConfigError(f"{folder / where}: {problem}; name one of them as `metric` in recipe.yml, for the search; "
                          "the runs may keep theirs")
    return name


def make_recipe_folds(
    recipe: RecipeConfig, data: Path, folds_csv: Path, say: Say, here: Path = Path(), quick: bool = False
) -> None:
    """Read the training table, split it, write folds.csv. here: the folder that a file of groups is named from; quick:
    of a part of the items only."""
    labelled = find_adapter(recipe.competition).train(data)
    if quick:
        ids = labelled.items.ids
        labelled = labelled.take([ids[row] for row in quick_items(labelled.targets)], labelled.source)
    items = labelled.items
    require_images(items, labelled.source)
    for note in items.notes:
        say(f"warning: {note}")
    table = pd.DataFrame({"id": items.ids, **labelled.labels})
    if recipe.folds.groups is not None:
        table["group"] = read_group_file(here / recipe.folds.groups, items.ids)
    elif recipe.folds.group_column is not None:
        table["group"] = read_groups(labelled, recipe.folds.group_column, say)
    elif labelled.groups is not None:
        table["group"] = labelled.groups
    kind = recipe.folds.kind
    if items.groups is not None:
        table["group"] = answers_with_groups(items, table.get("group"))
    if items.groups is not None or labelled.groups is not None:
        kind = GROUPED_TWINS.get(kind, kind)
    groups = table["group"].to_numpy() if "group" in table else None
    if groups is not None and kind in FOLD_KINDS.keys() - GROUPED_KINDS - {"open_set"}:
        raise DataError(f"folds of kind '{kind}' would split the groups; use one of: {', '.join(GROUPED_KINDS)}; or "
                        "name no groups")
    none = len(labelled.classes) - 1 if labelled.none else None
    fold = make_folds(kind, labelled.targets, groups, recipe.folds.count, recipe.folds.seed, recipe.folds.held_out,
                      none)
    made_by = recipe.folds.model_dump(mode="json", exclude_none=True)
    write_folds(folds_csv, table.assign(fold=fold), {"recipe": recipe.name, **made_by, "kind": kind})
    say(f"folds {folds_csv}: {np.bincount(fold).tolist()} items, {kind}")
    if none is not None:
        unknown = only_here(labelled.targets, fold) | (labelled.targets == none)
        shares = [round(float(unknown[fold == k].mean()), 3) for k in range(recipe.folds.count)]
        say(f"queries that are '{labelled.classes[none]}' to the other folds: {shares} of each; labels.queries of "
            "competition.yml says what share the test set has")


def answers_with_groups(items: Items, groups: pd.Series | None) -> list[str]:
    """What no fold may split: the images of an answer, and of answers that share a group all."""
    assert items.groups is not None and items.answer is not None
    if groups is None:
        return items.answer
    return whole_answers(groups.to_numpy(), items.groups).astype(str).tolist()


def read_groups(labelled: Labelled, column: str, say: Say = print) -> list[str]:
    """The group of every training row, "" for none; says how many have none. Raises DataError without the column."""
    if column not in labelled.columns:
        raise DataError(f"{labelled.source}: group column '{column}' is missing, got: {', '.join(labelled.columns)}")
    cells = [cell.strip() for cell in labelled.columns[column]]
    groups = ["" if cell in NO_GROUP else cell for cell in cells]
    if count := int(missing_groups(np.array(groups)).sum()):
        written = ", ".join(f"'{cell}'" for cell in sorted(set(cells) & NO_GROUP))
        say(f"{labelled.source}: {count} of {len(groups)} items have no {column} ({written}), each is a group of its "
            "own")
    return groups


def run_recipe(
    name: str, data: Path, work: Path, say: Say = print, keyring: Path | None = None,
    configs_folder: Path | None = None, quick: bool = False,
) -> RecipeResult:
    """Everything from images to a rehearsed kernel, below `work`. Finished folds of a run are not trained again.

    data: the competition's folder; keyring: where the keys of the sealed weights go, by default the user's own;
    configs_folder: that of the recipes, `configs/` by default; quick: one tiny network on two folds, below
    `work/quick`, only to see that the whole way works. Raises FoldpackError.
    """
    started = time.monotonic()
    configs_folder, work = configs_folder or Path("configs"), work.resolve()
    recipe, configs = read_recipe(configs_folder, name)
    if quick:
        (recipe, configs), work = quick_recipe(recipe, configs[0]), work / SUFFIX
    metric = search_metric(configs_folder / name, recipe, configs, say)
    for config in configs:  # the last one's, too, before the first is trained
        settle_start(config.net, lambda text: None)
    folds_csv = work / "folds" / f"{recipe.name}.csv"
    make_recipe_folds(recipe, data, folds_csv, say, configs_folder / name, quick)
    with training_bars() as show:
        for config in configs:
            train_run(config, data, folds_csv, work / "runs", say, show)
    slug = recipe.slug or find_adapter(recipe.competition).slug
    settings = ["--hours", str(recipe.hours), "--slug", slug, "--metric", metric]
    ring = [] if keyring is None else ["--keyring", str(keyring)]
    runs, ensembles = ["--runs", str(work / "runs")], work / "ensembles"
    step = run_inside if quick else run_step
    step([*FOLDPACK, "search", recipe.name, *recipe.runs, *settings, *runs, "--out", str(ensembles)])
    step([*FOLDPACK, "deploy", str(ensembles / f"{recipe.name}.yml"), "--build-only", *runs,
              "--build", str(work / "build"), *ring])
    build = work / "build" / recipe.name
    rehearsal = rehearse_competition(build, recipe.name, slug, data)
    say("\n".join(line for line in rehearsal.log.splitlines()[-3:] if "] submission " not in line))  # of its sandbox
    spec = read_spec(work / "ensembles" / f"{recipe.name}.yml")
    say(f"recipe {recipe.name}: {time.monotonic() - started:.0f} s, rehearsal {rehearsal.seconds:.0f} s")
    return RecipeResult(spec.metric, rehearsal.submission, rehearsal)


def score_lines(metric: MetricSpec) -> list[str]:
    """The score to be expected on new images, and the one on the rows of the fit, for the end of a recipe."""
    honest = (f"honest {metric.name} {metric.nested:.4f} +- {metric.nested_se:.4f}, the search repeated without the "
              "scored fold: expect this on new images" if metric.nested is not None else
              "no honest score: it takes two folds, and a search that was not stopped")
    return [honest, f"oof {metric.name} {metric.oof:.4f}"]


def rehearse_competition(build: Path, name: str, slug: str, data: Path) -> Ran:
    """Run the kernel of `build/<name>/` once on the whole competition: its submission answers every test image.

    `packer.rehearse.verdict.rehearse_build` checks more, on a part. The inputs stay in `build/<name>/rehearsal/input/`.
    """
    folders = [folder for folder in (*sorted(build.glob("weights*")), build / "keys") if folder.is_dir()]
    folder = build / "rehearsal"
    inputs = lay_out_inputs(folder, (slug, data), {read_dataset_slug(each): each for each in folders})
    return rehearse(build / f"{name}.py", folder, inputs)


def read_dataset_slug(folder: Path) -> str:
    """owner/name from the staged dataset's metadata."""
    metadata = load_strict(read_text(folder / "dataset-metadata.json"), str(folder / "dataset-metadata.json"))
    assert isinstance(metadata, dict)
    return str(metadata["id"])


def run_step(arguments: list[str]) -> None:
    """Run a command as a user would, in a process of its own. arguments: of Python. Raises RecipeError with its exit
    code."""
    judge_step(arguments, subprocess.run([sys.executable, *arguments]).returncode)


def run_inside(arguments: list[str]) -> None:
    """The same in this process, which has imported what takes seconds."""
    from foldpack.commands.main import app

    judge_step(arguments, run_app(app, arguments[len(FOLDPACK) :]))


def judge_step(arguments: list[str], code: int) -> None:
    """Raises RecipeError for a command that did not end well, KeyboardInterrupt for one that was stopped."""
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise RecipeError(f"{' '.join(arguments)} ended with exit code {code}; see above")
