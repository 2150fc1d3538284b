"""A small retrieval competition: digits as identities, one of them in one fold only, two tiny runs, their ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_house import tiny_config

from foldpack.commands.recipe import make_recipe_folds
from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import Run, read_run
from foldpack.search.runs import RunSearch, member_of, search_runs
from foldpack.settings.ensemble import write_spec
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.settings.retrieve import Calibration, Retrieval
from foldpack.train.run import train_run

NAME = "digits-retrieval"
NET = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}


def make_embed_place(root: Path, count: int = 150) -> Path:
    """`data/`, `folds.csv`, `runs/first`, `runs/second` and `both.yml`: weights .7 and .3, each by ways of its own."""
    write_digits(root / "data", root / "answers.csv", count, NAME)
    folds = FoldsConfig(kind="open_set", count=2, held_out=0.15)
    make_recipe_folds(RecipeConfig(name="f", competition=NAME, folds=folds, runs=["-"]), root / "data",
                      root / "folds.csv", lambda text: None)
    runs = [root / "runs" / name for name in ("first", "second")]
    for seed, run in enumerate(runs, 1):
        config = tiny_config(run.name, competition=NAME, net=NET, epochs=2, seed=seed, task="embed", embed={"dim": 8},
                             metric="map5", loss={"name": "arcface", "scale": 16.0},
                             views=["identity", "shift:0.05:0"] if seed == 2 else ["identity"])
        train_run(config, root / "data", root / "folds.csv", root / "runs", lambda text: None)
    spec, _ = search_runs("both", runs, RunSearch(hours=1.0, retrieval=False))
    ways = [Retrieval(neighbours=2, centres=0.25, calibration=Calibration(kind="softmax", scale=20.0)),
            Retrieval(expand_query=2, expand_gallery=1, calibration=Calibration(kind="softmax", scale=30.0))]
    members = [member_of(read_run(run), weight).model_copy(update={"retrieve": way})
               for run, weight, way in zip(runs, (0.7, 0.3), ways, strict=True)]
    write_spec(root / "both.yml", spec.with_last(members=members, plan=None))
    return root


def labels_of(root: Path, run: Run) -> np.ndarray:
    """(n,) int: what the competition says of the run's images."""
    return find_adapter(NAME).train(root / "data").take(run.ids, run.folder / "oof.csv").targets
