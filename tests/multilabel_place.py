"""A small multi-label competition with two trained runs and their ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from small_house import tiny_config

from foldpack.commands.recipe import make_recipe_folds
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import write_spec
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.train.run import train_run

CLASSES = ["7", "10", "3"]  # in the order of labels.csv


def make_place(root: Path) -> Path:
    """60 + 12 images whose bright channels are their labels, grouped in pairs, and two runs on 2 folds."""
    chance, rows = np.random.default_rng(0), []
    for number in range(72):
        folder = root / "data" / ("train" if number < 60 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        labels = chance.random(3) < [0.6, 0.4, 0.2]
        pixels = chance.integers(0, 120, (16, 16, 3)) + 120 * labels
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"im{number}.png")
        rows.append((f"im{number}", " ".join(np.array(CLASSES)[labels]), f"g{number // 2}"))
    table = pd.DataFrame(rows, columns=["id", "attribute_ids", "pair"])
    table[:60].to_csv(root / "data" / "train.csv", index=False)
    table[60:][["id"]].assign(attribute_ids="0").to_csv(root / "data" / "sample_submission.csv", index=False)
    pd.DataFrame({"attribute_id": CLASSES, "attribute_name": "x"}).to_csv(root / "data" / "labels.csv", index=False)
    folds = FoldsConfig(kind="multilabel_grouped", count=2, group_column="pair")
    make_recipe_folds(RecipeConfig(name="m", competition="imet", folds=folds, runs=["-"]), root / "data",
                      root / "folds.csv", lambda text: None)
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    for run, seed in (("first", 1), ("second", 2)):
        config = tiny_config(run, competition="imet", net=net, loss={"name": "bce"}, metric="f2", epochs=3, seed=seed)
        train_run(config, root / "data", root / "folds.csv", root / "runs", lambda text: None)
    asked = RunSearch(hours=1.0, slug="my-imet")
    spec, _ = search_runs("multi", [root / "runs" / "first", root / "runs" / "second"], asked)
    write_spec(root / "multi.yml", spec)
    return root
