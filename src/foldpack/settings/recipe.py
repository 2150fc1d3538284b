"""`configs/<recipe>/recipe.yml`: which runs of a competition, on which folds, become one kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from foldpack.errors import did_you_mean
from foldpack.settings.run import ConfigError, RunConfig, read_config, read_text
from foldpack.settings.stages import Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import load_strict


class FoldsConfig(StrictModel):
    """How a recipe splits its training items."""

    kind: str  # a key of `foldpack.data.folds.FOLD_KINDS`
    count: Annotated[int, Field(ge=2)]
    seed: int = 0
    group_column: str | None = None  # a column of the training CSV
    held_out: Annotated[float, Field(gt=0, lt=1)] | None = None  # open_set: share of identities that one fold has alone
    groups: str | None = None  # a CSV id,group, such as `foldpack groups` writes; a recipe's lies beside the recipe

    @model_validator(mode="after")
    def _one_source_of_groups(self) -> FoldsConfig:
        if self.groups is not None and self.group_column is not None:
            raise ValueError("groups come from group_column or from groups; give one of them")
        return self


class RecipeConfig(StrictModel):
    """`configs/<recipe>/recipe.yml`."""

    name: Name
    competition: str
    slug: Name | None = None  # the competition on Kaggle; default: the adapter's
    folds: FoldsConfig
    runs: Annotated[list[str], Field(min_length=1)]  # configurations beside the recipe, without .yml
    hours: Annotated[float, Field(gt=0)] = 9.0
    metric: str | None = None  # of the search: a name, or FILE.py:NAME; default: the first run's


def read_recipe(configs_folder: Path, name: str) -> tuple[RecipeConfig, list[RunConfig]]:
    """A recipe and the configurations of its runs. Raises ConfigError, with "did you mean" for an unknown name."""
    known = sorted(path.parent.name for path in configs_folder.glob("*/recipe.yml"))
    if name not in known:
        said = did_you_mean(name, known) if known else "there is none"
        raise ConfigError(f"unknown recipe '{name}': {said}; these are in "
                          f"{configs_folder.resolve()}: run the command in the folder of your project")
    path = configs_folder / name / "recipe.yml"
    recipe = parse_strict(RecipeConfig, load_strict(read_text(path), str(path)), path, ConfigError)
    configs = [read_config(path.parent / f"{run}.yml") for run in recipe.runs]
    for file, config in zip(recipe.runs, configs, strict=True):
        if config.competition != recipe.competition or config.run != file:
            raise ConfigError(f"{path.parent / file}.yml: run '{config.run}' of competition '{config.competition}'; "
                              f"expected run '{file}' of '{recipe.competition}'")
    return recipe, configs
