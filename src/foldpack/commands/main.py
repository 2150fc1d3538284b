"""The `foldpack` command.

Commands that train import torch, timm and albumentations only when they are called: it takes seconds, and `foldpack
check` in a pre-commit hook should not wait for it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.groups import register as register_groups_command
from foldpack.commands.init import register as register_init_command
from foldpack.commands.kaggle import register as register_deploy_commands
from foldpack.commands.look import register as register_look_commands
from foldpack.commands.packed import register as register_pack_commands
from foldpack.commands.passphrase import KeyringOption
from foldpack.commands.project import CompetitionOption, DataOption
from foldpack.commands.run_app import run_app
from foldpack.commands.seal import register as register_sealed_commands
from foldpack.commands.search import register as register_search_command
from foldpack.commands.training.app import register as register_app_command
from foldpack.commands.training.average import register as register_average_command
from foldpack.commands.training.extra_labels import register as register_labels_commands
from foldpack.commands.training.see import register as register_seeing_commands
from foldpack.commands.training.train import register as register_training_commands
from foldpack.commands.training.tune import register as register_tuning
from foldpack.commands.version import VersionOption
from foldpack.settings.run import ConfigError
from foldpack.settings.strict_model import parse_strict

app = typer.Typer(no_args_is_help=True)

register_init_command(app)
register_search_command(app)
register_sealed_commands(app)
register_pack_commands(app)
register_deploy_commands(app)
register_groups_command(app)
register_look_commands(app)
register_training_commands(app)
register_tuning(app)
register_seeing_commands(app)
register_average_command(app)
register_labels_commands(app)
register_app_command(app)

WorkOption = Annotated[Path, typer.Option("--work", help="folder for folds/, runs/, ensembles/ and build/")]


class DigitsRecipe(StrEnum):
    """The recipes of the embedded digits."""

    digits = "digits"
    values = "digits-values"
    retrieval = "digits-retrieval"


@app.callback()
def program(version: VersionOption = False) -> None:
    """Train fold models, blend them, and pack them into one Kaggle kernel."""


@app.command()
def demo(
    kind: Annotated[DigitsRecipe, typer.Argument(help="which of the digits competitions")] = DigitsRecipe.digits,
    work: WorkOption = Path("."),
    keyring: KeyringOption = None,
) -> None:
    """Walk the whole house on the embedded digits: write them, train, search, pack, rehearse, score."""
    from foldpack.commands.project import tool_configs
    from foldpack.commands.recipe import run_recipe, score_lines
    from foldpack.competitions.digits_source import digits_score, write_digits

    name = kind.value
    data, answers = work / f"build/{name}/competition", work / f"build/{name}/answers.csv"
    write_digits(data, answers, name=name)
    result = run_recipe(name, data, work, keyring=keyring, configs_folder=tool_configs())
    metric, score = digits_score(result.submission, answers, name)
    print("\n".join(score_lines(result.metric)))
    print(f"kernel {metric} {score:.4f}")
    print(f"submission {result.submission}")


@app.command()
def recipe(
    project: Annotated[str, typer.Argument(help="a project's folder, or a folder of configs/ that has a recipe.yml")],
    data: DataOption = None,
    work: WorkOption = Path("."),
    keyring: KeyringOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="one tiny network, two folds: does the way work?")] = False,
) -> None:
    """Folds, training, search, packing and rehearsal of one recipe. Runs again where it was stopped."""
    from foldpack.commands.project import choose_recipe

    chosen = choose_recipe(project, data, work, keyring)
    from foldpack.commands.recipe import run_recipe, score_lines

    result = run_recipe(chosen.recipe, chosen.data, chosen.work, keyring=chosen.keyring, quick=quick)
    print("\n".join(score_lines(result.metric)))
    print(f"submission {result.submission}")


@app.command()
def folds(
    kind: Annotated[str, typer.Option(help="stratified, shuffled, multilabel, or a grouped kind: docs/commands.md")],
    data: DataOption = None,
    competition: CompetitionOption = None,
    count: Annotated[int, typer.Option(help="number of folds")] = 5,
    seed: Annotated[int, typer.Option(help="of the shuffle")] = 0,
    group_column: Annotated[str | None, typer.Option(help="column of the training CSV; its groups stay whole")] = None,
    groups: Annotated[Path | None, typer.Option(help="CSV with id and group, such as `foldpack groups` writes")] = None,
    held_out: Annotated[float | None, typer.Option(help="open_set: share of identities only one fold has")] = None,
    out: Annotated[Path, typer.Option(help="where to write")] = Path("folds.csv"),
) -> None:
    """Split the training items: id, fold and the labels of each."""
    from foldpack.commands.project import told_competition, told_data
    from foldpack.commands.recipe import make_recipe_folds
    from foldpack.settings.recipe import FoldsConfig, RecipeConfig

    asked = {"kind": kind, "count": count, "seed": seed, "group_column": group_column, "held_out": held_out}
    asked["groups"] = None if groups is None else str(groups)
    chosen = parse_strict(FoldsConfig, asked, "foldpack folds", ConfigError)
    wanted = RecipeConfig(name="folds", competition=told_competition(competition), folds=chosen, runs=["-"])
    make_recipe_folds(wanted, told_data(data), out, print)


@app.command()
def blend(
    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")],
    more: Annotated[list[Path] | None, typer.Argument(help="files of predictions, after those of --inputs")] = None,
    inputs: Annotated[list[Path] | None, typer.Option(help="files of predictions, in the order of the members")] = None,
    out: Annotated[Path, typer.Option(help="where to write the predictions, .npy or .csv")] = Path("blended.npy"),
    decided: Annotated[Path | None, typer.Option(help="where to write the labels or grades, .npy or .csv")] = None,
) -> None:
    """Apply a found ensemble to other predictions of its members."""
    from foldpack.search.files.blend_files import blend_files

    shape = blend_files(ensemble, [*(inputs or []), *(more or [])], out, decided)
    print(f"blended {out}: shape {shape}")


def main() -> None:
    """Entry point of the console script."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
