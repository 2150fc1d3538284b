"""Several images an answer walk the whole way: folds, training, OOF, search, deploy, kernel, rehearsal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from product_project import ADAPTER as ADAPTER_TEXT
from product_project import write_products
from small_house import OWNER, PROJECT, only, tiny_config

from foldpack.commands.recipe import make_recipe_folds
from foldpack.data.runs import Run, read_run
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import DataError
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.registry import METRICS
from foldpack.search.run_rows import image_reader_of, run_reader_of, run_truth
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import EnsembleSpec, write_spec
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.train.run import train_run
from packer.build.kernel_folder import Build, build_kernel
from packer.rehearse.process import BLOCKED, SANDBOX, lay_out_inputs
from packer.rehearse.verdict import rehearse_build

ADAPTER = "adapter.py:Products"
ASKED: dict[str, dict] = {
    "classify": {"loss": {"name": "cross_entropy"}, "metric": "accuracy"},
    "regress": {"loss": {"name": "smooth_l1"}, "metric": "rmse"},
    "embed": {"loss": {"name": "arcface", "scale": 16.0, "lr": 0.05}, "metric": "map5", "embed": {"dim": 16}},
}


@dataclass(frozen=True)
class Walked:
    """A project with two runs of one task and their ensemble."""

    task: str
    root: Path
    data: Path
    spec: EnsembleSpec

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def build(self, folder: Path, spec: EnsembleSpec) -> Build:
        write_spec(folder / f"{spec.name}.yml", spec)
        with Keyring.editing(folder / "keyring") as ring:
            return build_kernel(folder / f"{spec.name}.yml", PROJECT / "src", self.runs, folder / "build", OWNER, ring)


def make_folds_of(data: Path, folds_csv: Path, kind: str = "stratified_grouped") -> None:
    folds = FoldsConfig(kind=kind, count=2)
    make_recipe_folds(RecipeConfig(name="f", competition=ADAPTER, folds=folds, runs=["-"]), data, folds_csv, print)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its folds, before any run. Nobody changes it."""
    root = tmp_path_factory.mktemp("products") / "project"
    data = write_products(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_folds_of(data, root / "folds.csv")
    return root


@pytest.fixture(scope="module", params=list(ASKED))
def made(request: pytest.FixtureRequest, products: Path, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Two runs of a task."""
    task, root = request.param, tmp_path_factory.mktemp(request.param) / "project"
    shutil.copytree(products, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for run, seed in (("first", 1), ("second", 2)):
            views = ["identity"] if run == "first" else ["identity", "shift:0.05:0"]
            config = tiny_config(run, competition=ADAPTER, epochs=3, seed=seed, views=views, task=task, **ASKED[task])
            train_run(config, root / "data", root / "folds.csv", root / "runs", lambda text: None)
        asked = RunSearch(hours=20.0, retrieval=False)
        spec, _ = search_runs("products", [root / "runs/first", root / "runs/second"], asked)
    return Walked(task, root, root / "data", spec)


@pytest.fixture
def walked(made: Walked, monkeypatch: pytest.MonkeyPatch) -> Walked:
    monkeypatch.chdir(made.root)
    return made


def test_folds_keep_the_images_of_an_answer_together(products: Path, tmp_path: Path, monkeypatch) -> None:
    table = pd.read_csv(products / "folds.csv", dtype=str)
    product = pd.read_csv(products / "data/train.csv", dtype=str).set_index("image")["product"]
    assert (table["group"] == product[table["id"]].to_numpy()).all()
    assert (table.groupby("group")["fold"].nunique() == 1).all() and sorted(set(table["fold"])) == ["0", "1"]
    monkeypatch.chdir(products)
    make_folds_of(products / "data", tmp_path / "folds.csv", "stratified")  # becomes the grouped kind
    assert (tmp_path / "folds.csv").read_bytes() == (products / "folds.csv").read_bytes()


def test_folds_keep_answers_that_share_a_group_together(products: Path, tmp_path: Path, monkeypatch) -> None:
    """A group that the competition tells of, here of about three products."""
    lots = 'groups=[f"lot {name[:-1]}{int(name[-1]) // 3}" for name in items.answer]'
    (tmp_path / "adapter.py").write_text(ADAPTER_TEXT.replace('{"label": labels})', f'{{"label": labels}}, {lots})'))
    monkeypatch.chdir(tmp_path)
    make_folds_of(products / "data", tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv", dtype=str)
    product = pd.read_csv(products / "data/train.csv", dtype=str).set_index("image")["product"][table["id"]]
    lot = [f"{name[:-1]}{int(name[-1]) // 3}" for name in product]
    assert table["group"].nunique() == len(set(lot)) < product.nunique()
    assert (table.groupby(lot)["fold"].nunique() == 1).all() and set(table["fold"]) == {"0", "1"}


def test_a_run_is_scored_by_answers(walked: Walked) -> None:
    """Each the mean of its images; the truth is that of any of them."""
    run = read_run(walked.runs / "first")
    train = pd.read_csv(walked.data / "train.csv", dtype=str).set_index("image")
    assert run.groups is not None and sorted(run.groups.names) == sorted(set(train["product"]))
    by_image = image_reader_of(run)(slice(None))
    assert len(by_image) == len(train) > len(run.groups)
    for name, said in zip(run.groups.names, run_reader_of(run)(slice(None)), strict=True):
        rows = [row for row, item in enumerate(run.ids) if train["product"][item] == name]
        assert np.abs(by_image[rows].mean(axis=0) - said).max() <= 1e-6
    said = run_reader_of(run)(np.arange(len(run.groups)))
    score = METRICS[run.meta.metric](run_truth(run), said)
    assert score == pytest.approx(run.meta.score, abs=1e-6)


def test_the_yaml_makes_the_score_that_it_claims(walked: Walked) -> None:
    stage, runs = walked.spec.last, [read_run(walked.runs / member.run) for member in walked.spec.members]
    members = [run_reader_of(run)(slice(None)) for run in runs]
    blended = blend_probs(members, [member.weight for member in stage.members], stage.fuse, stage.outputs.exclusive)
    score = METRICS[walked.spec.metric.name](run_truth(runs[0]), blended)
    assert score == pytest.approx(walked.spec.metric.oof, abs=1e-5)


def fold_folder(walked: Walked, run: Run, fold: int, place: Path) -> tuple[Path, list[str]]:
    """The training images of a fold as a test set, one of an answer of three cut in half, and all of an answer of two
    gone. Returns the folder and the answers in the order of the sample."""
    table = pd.read_csv(walked.data / "train.csv", dtype=str)
    table = table[table["image"].isin([item for item, own in zip(run.ids, run.fold, strict=True) if own == fold])]
    (place / "test").mkdir(parents=True)
    for item in table["image"]:
        shutil.copy(walked.data / "train" / f"{item}.png", place / "test" / f"{item}.png")
    table.to_csv(place / "test.csv", index=False)
    sizes = table.groupby("product").size()
    cut = table["image"][table["product"] == sizes.index[sizes == 3][0]].iloc[1]
    path = place / "test" / f"{cut}.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for item in table["image"][table["product"] == sizes.index[sizes == 2][0]]:
        (place / "test" / f"{item}.png").unlink()
    asked = sorted(sizes.index, reverse=True)
    pd.DataFrame({"product": asked, "label": "0"}).to_csv(place / "sample.csv", index=False)
    return place, asked


def run_script(build: Build, place: tuple[str, Path], folder: Path) -> str:
    """The packed kernel on a competition's folder; its log."""
    inputs = lay_out_inputs(folder, place, {build.dataset: build.weights})
    (folder / "empty").mkdir()
    command = [sys.executable, "-I", str(SANDBOX), BLOCKED, str(build.script), "--input", str(inputs),
               "--output", str(folder / "output"), "--probs", str(folder / "probs.npy")]
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    done = subprocess.run(command, cwd=folder / "empty", env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_packed_kernel_gives_the_out_of_fold_numbers_of_each_answer(walked: Walked, tmp_path: Path) -> None:
    """To 1e-5, and without what cannot be read: of an answer of three that loses one, the mean of the other two; of one
    that loses all, the prior."""
    fold, run = 1, read_run(walked.runs / "second")
    assert run.groups is not None
    place, asked = fold_folder(walked, run, fold, tmp_path / "competition")
    build = walked.build(tmp_path, only(walked.spec, "second", fold).with_last(plan=None))
    log = run_script(build, (walked.spec.slug, place), tmp_path)
    test = pd.read_csv(place / "test.csv", dtype=str)
    readable = {item for item in test["image"] if (place / "test" / f"{item}.png").exists()
                and (place / "test" / f"{item}.png").read_bytes()
                == (walked.data / "train" / f"{item}.png").read_bytes()}
    by_image = dict(zip(run.ids, image_reader_of(run)(slice(None)), strict=True))
    stage, expected = build.spec.last, []
    for name in dict.fromkeys(test["product"]):  # the order of the first images
        rows = [by_image[item] for item in test["image"][test["product"] == name] if item in readable]
        expected.append(np.mean(rows, axis=0) if rows else np.asarray(stage.outputs.prior, np.float32))
    whole = blend_probs([np.array(expected, np.float32)], [1.0], stage.fuse, stage.outputs.exclusive)
    got = np.load(tmp_path / "probs.npy")
    assert got.shape == whole.shape and len(got) == len(asked) < len(test)
    assert np.abs(got - whole).max() <= 1e-5
    submission = pd.read_csv(tmp_path / "output" / "submission.csv", dtype=str)
    assert submission["product"].tolist() == asked and f"{len(asked)} rows" in log
    assert len(readable) == len(test) - 3


def test_the_whole_ensemble_is_rehearsed(walked: Walked, tmp_path: Path) -> None:
    """Every product is answered, hours are told of images, and an image that is cut costs no answer."""
    if walked.task != "classify":
        return  # the packed kernels of the other tasks ran above
    build = walked.build(tmp_path, walked.spec)
    report = rehearse_build(build, walked.data, tmp_path / "rehearsal", rows=12)
    assert report.ok, [check for check in report.checks if not check.ok]
    tests = pd.read_csv(walked.data / "test.csv", dtype=str)
    assert report.rows == 12 and report.images == len(tests)


@pytest.mark.parametrize(("table", "column", "message"), [
    ("folds.csv", "fold", "folds.csv: the images of answer '{product}' lie in several folds; make the folds again"),
    ("data/train.csv", "label", "folds.csv: the images of answer '{product}' have different labels; give them one"),
])
def test_an_answer_in_two_folds_or_of_two_labels_is_refused(
    products: Path, tmp_path: Path, monkeypatch, table: str, column: str, message: str
) -> None:
    root = Path(shutil.copytree(products, tmp_path / "project"))
    (root / "folds.json").unlink()
    monkeypatch.chdir(root)
    train = pd.read_csv(root / "data/train.csv", dtype=str)
    product = train["product"][train["product"].duplicated()].iloc[0]
    image = train["image"][train["product"] == product].iloc[0]
    content = pd.read_csv(root / table, dtype=str).set_index("image" if column == "label" else "id")
    content.loc[image, column] = str(1 - int(content.loc[image, column])) if column == "fold" else next(
        label for label in "01" if label != content.loc[image, column])
    content.reset_index().to_csv(root / table, index=False)
    config = tiny_config("first", competition=ADAPTER)
    with pytest.raises(DataError, match=message.format(product=product)):
        train_run(config, root / "data", root / "folds.csv", root / "runs", print)


def test_runs_of_other_answers_are_not_blended(walked: Walked, tmp_path: Path) -> None:
    if walked.task != "classify":
        return  # the same for all tasks
    runs = Path(shutil.copytree(walked.runs, tmp_path / "runs"))
    table = pd.read_csv(runs / "second/oof.csv", dtype=str)
    table.drop(columns="answer").to_csv(runs / "second/oof.csv", index=False)
    with pytest.raises(DataError, match="runs 'first' and 'second' differ in their answers; blend runs that were"):
        search_runs("products", [runs / "first", runs / "second"], RunSearch())

