"""From a competition.yml to a submission in the form that it asks for: train, search, seal, pack and rehearse."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_competition import competition_of
from small_house import OWNER, PROJECT, House, tiny_config

from foldpack.commands.recipe import make_recipe_folds
from foldpack.competitions.adapters import find_adapter
from foldpack.kernel.main import run_kernel
from foldpack.keyring.keyring import Keyring
from foldpack.predict.views import views_of_spec
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.competition import competition_text
from foldpack.settings.ensemble import spec_to_dict, write_spec
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.tasks.registry import TASKS
from foldpack.train.run import train_run
from packer.build.kernel_folder import Build, build_kernel
from packer.flatten.script_keys import keys_in_script
from packer.rehearse.verdict import rehearse_build

COUNT, TEST = 90, 20  # digits


@dataclass(frozen=True)
class Journey:
    """A competition about digits, and the run that learns it."""

    settings: dict[str, Any]  # labels, answer, metric of competition.yml
    columns: list[str]  # of the answer, in the order of the sample
    blank: str  # a cell of the sample
    task: str = "classify"
    loss: str = "cross_entropy"

    def labels(self, digits: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of the training table."""
        kind = self.settings["labels"]["kind"]
        if kind == "one-hot":
            return {name: (digits % 3 == int(name[-1])).astype(int) for name in self.settings["labels"]["columns"]}
        return {"label": digits // 2 if kind == "grades" else digits / 4 if kind == "values" else digits // 5}


JOURNEYS = {
    "probability": Journey(
        {"labels": {"kind": "class", "column": "label"}, "metric": {"name": "auc"},
         "answer": {"kind": "probability", "id": "id", "column": "is_large", "of": "1"}}, ["is_large"], "0.5"),
    "probabilities": Journey(
        {"labels": {"kind": "one-hot", "columns": ["rest_0", "rest_1", "rest_2"], "exclusive": True},
         "metric": {"name": "log_loss"}, "answer": {"kind": "probabilities", "id": "id", "sums_to_1": True}},
        ["rest_2", "rest_0", "rest_1"], "0.3333"),
    "columns": Journey(
        {"labels": {"kind": "one-hot", "columns": ["rest_0", "rest_1", "rest_2"], "exclusive": False},
         "metric": {"name": "f1"}, "answer": {"kind": "labels", "id": "id", "map": {"rest_0": "three"}}},
        ["rest_2", "three", "rest_1"], "0", "classify", "bce"),
    "ranking": Journey(
        {"labels": {"kind": "class", "column": "label"}, "metric": {"name": "map5"},
         "answer": {"kind": "ranking", "id": "id", "column": "best", "k": 2}}, ["best"], "1 0"),
    "grades": Journey(
        {"labels": {"kind": "grades", "column": "label", "grades": 5}, "metric": {"name": "qwk"},
         "answer": {"kind": "grades", "id": "id", "column": "diagnosis"}}, ["diagnosis"], "0", "regress", "mse"),
    "values": Journey(
        {"labels": {"kind": "values", "columns": ["label"], "range": [0, 2.25]}, "metric": {"name": "rmse"},
         "answer": {"kind": "values", "id": "id", "columns": ["age"], "range": [0.5, 2]}}, ["age"], "1", "regress",
        "mse"),
}


@dataclass(frozen=True)
class Arrived:
    """A project whose kernel is packed."""

    journey: Journey
    build: Build
    data: Path


@pytest.fixture(scope="module", params=list(JOURNEYS))
def arrived(request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory) -> Any:
    journey, root = JOURNEYS[request.param], tmp_path_factory.mktemp(request.param)
    data = root / "data"
    (data / "train").mkdir(parents=True)
    table = pd.read_csv(house.data / "train.csv", dtype=str).head(COUNT)
    for item in table["id"]:
        shutil.copy(house.data / f"train/{item}.png", data / "train")
    asked = pd.read_csv(house.data / "sample_submission.csv", dtype=str)["id"].head(TEST)
    (data / "test").mkdir()
    for item in asked:
        shutil.copy(house.data / f"test/{item}.png", data / "test")
    labels = journey.labels(table["label"].to_numpy(int))
    pd.DataFrame({"id": table["id"], **labels}).to_csv(data / "train.csv", index=False)
    sample = pd.DataFrame({"": range(TEST), "id": asked, "Usage": "x", **dict.fromkeys(journey.columns, journey.blank)})
    sample.to_csv(data / "sample_submission.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        config = competition_of(slug="foldpack-digits", **journey.settings).config
        Path("competition.yml").write_text(competition_text(config))
        folds = FoldsConfig(kind="shuffled", count=2)
        recipe = RecipeConfig(name="small", competition="competition.yml", folds=folds, runs=["-"])
        make_recipe_folds(recipe, data, Path("folds.csv"), lambda text: None)
        run = tiny_config("tiny_resnet", competition="competition.yml", metric=journey.settings["metric"]["name"],
                          task=journey.task, loss={"name": journey.loss}, epochs=12)
        train_run(run, data, Path("folds.csv"), Path("runs"), lambda text: None)
        spec, _ = search_runs("small", [Path("runs/tiny_resnet")], RunSearch(hours=1.0))
        write_spec(Path("small.yml"), spec)
        with Keyring.editing(Path("keyring")) as ring:
            build = build_kernel(Path("small.yml"), PROJECT / "src", Path("runs"), root / "build", OWNER, ring)
        yield Arrived(journey, build, data)


def test_it_hands_in_what_is_asked(arrived: Arrived, tmp_path: Path) -> None:
    spec, journey = arrived.build.spec, arrived.journey
    shutil.copytree(arrived.data, tmp_path / "input/competitions/foldpack-digits")
    shutil.copytree(arrived.build.weights, tmp_path / "input/datasets/someone/weights")
    keys = keys_in_script(arrived.build.script.read_text())
    adapter, plain = find_adapter("competition.yml"), spec_to_dict(spec)
    for hours, code in (("1e-6", 1), ("20", 0)):  # of no time the fallback stands, which is valid too
        output = tmp_path / hours
        arguments = ["--input", str(tmp_path / "input"), "--output", str(output), "--hours", hours]
        assert run_kernel(plain, keys, arguments, TASKS, adapter, views_of_spec(plain)) == code
        adapter.check(output / "submission.csv", spec.last, arrived.data)
        table = pd.read_csv(output / "submission.csv", dtype=str)
        assert table.columns.tolist() == ["id", "Usage", *journey.columns]
        if spec.last.decision.kind == "ranking":
            assert set(table["best"]) <= {"0 1", "1 0"} and (len(set(table["best"])) > 1) == (code == 0)
            continue
        numbers = table[journey.columns].to_numpy(float)
        if spec.last.decision.kind == "grades":
            assert {str(grade) for grade in numbers.ravel().astype(int)} == set(table["diagnosis"])
        elif spec.last.decision.kind == "values":
            assert numbers.min() >= 0.5 and numbers.max() <= 2
        elif spec.last.decision.kind == "labels":
            assert set(table[journey.columns].to_numpy().ravel()) == {"0", "1"}
        else:
            assert numbers.min() >= 0 and numbers.max() <= 1
            assert len(journey.columns) == 1 or np.allclose(numbers.sum(axis=1), 1, atol=1e-6)
        assert (len(set(map(tuple, numbers))) > 1) == (code == 0)


@pytest.mark.slow
def test_it_passes_the_rehearsal(arrived: Arrived, tmp_path: Path) -> None:
    for number, data in enumerate((None, arrived.data)):
        done = rehearse_build(arrived.build, data, tmp_path / str(number), rows=12)
        assert done.ok, [check for check in done.checks if not check.ok]
