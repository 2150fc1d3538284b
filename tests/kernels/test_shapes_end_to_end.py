"""Rectangles, pages that vary in shape, one channel, other sides: training and the rehearsed kernel see one thing."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_house import OWNER, PROJECT, competition_of, load_entry, tiny_config, write_small_folds
from view_arrays import oof_array

from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.kernel import stage as kernel_stage
from foldpack.keyring.keyring import Keyring
from foldpack.predict.room import Place
from foldpack.search.runs import RunSearch, member_of, search_runs
from foldpack.settings.ensemble import EnsembleSpec, spec_to_dict, write_spec
from foldpack.settings.outputs import ScoreBlend
from foldpack.train.run import train_run
from packer.build.kernel_folder import Build, build_kernel
from packer.rehearse.process import lay_out_inputs, rehearse

FOLD = 1
# A rectangle in grey, seen at two sides, and pages with their own proportions in colour and without.
NETS: dict[str, tuple[dict, list[str]]] = {
    "boxed": ({"size": [24, 40], "canvas": [36, 60], "geometry": {"kind": "letterbox", "pad": 30}, "channels": 1,
               "mean": [0.5], "std": [0.25]}, ["identity", "side:60", "transpose"]),
    "pages": ({"size": 48, "canvas": 64, "geometry": {"kind": "long", "multiple": 16}}, ["identity", "grey+side:64"])}


@dataclass(frozen=True)
class Shapes:
    """Two trained runs and their packed kernel, on the images of one fold."""

    root: Path
    spec: EnsembleSpec
    build: Build
    data: Path  # the competition that asks for the images of the fold
    expected: dict[str, np.ndarray]  # run -> (n, C) out of fold


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    root = tmp_path_factory.mktemp("shapes")
    data, runs = root / "competition", root / "runs"
    write_digits(data, root / "answers.csv", 150)
    dice = np.random.default_rng(0)
    for path in sorted((data / "train").iterdir()):
        with Image.open(path) as image:
            height, width = dice.integers(5, 9, 2) * image.height // 8
            image.crop((0, 0, int(width), int(height))).save(path)
    write_small_folds(data, root / "folds.csv")
    for run, (net, views) in NETS.items():
        config = tiny_config(run, net={"arch": "test_resnet", **net}, views=views, epochs=6)
        train_run(config, data, root / "folds.csv", runs, lambda text: None)
    spec, _ = search_runs("shapes", [runs / run for run in NETS], RunSearch(hours=1.0))
    trained = {run: read_run(runs / run) for run in NETS}
    members = [member_of(run, 0.5) for run in trained.values()]
    members = [one.model_copy(update={"folds": [fold for fold in one.folds if fold.fold == FOLD]}) for one in members]
    write_spec(root / "shapes.yml", spec.with_last(members=members, fuse=ScoreBlend(), plan=None))
    with Keyring.editing(root / "keyring") as ring:
        build = build_kernel(root / "shapes.yml", PROJECT / "src", runs, root / "build", OWNER, ring)
    rows = np.flatnonzero(trained["boxed"].fold == FOLD)
    asked = competition_of(root / "asked", data / "train", [trained["boxed"].ids[row] for row in rows])
    expected = {name: merge_view_probs(oof_array(run)[:, rows], "multiclass") for name, run in trained.items()}
    return Shapes(root, build.spec, build, asked, expected)


def test_the_pages_differ_in_shape_and_the_networks_learn_from_them(shapes: Shapes) -> None:
    sizes = {Image.open(path).size for path in (shapes.data / "test").iterdir()}
    assert len(sizes) > 8 and np.abs(shapes.expected["boxed"] - shapes.expected["pages"]).max() > 0.01
    for probs in shapes.expected.values():
        assert probs.std(axis=0).max() > 0.003


def test_the_rehearsed_kernel_answers_as_the_out_of_fold_predictions(shapes: Shapes, tmp_path: Path) -> None:
    inputs = lay_out_inputs(tmp_path, ("foldpack-digits", shapes.data), {shapes.build.dataset: shapes.build.weights})
    done = rehearse(shapes.build.script, tmp_path, inputs)
    blend = np.mean(list(shapes.expected.values()), axis=0)
    table = pd.read_csv(done.submission, dtype=str)
    assert table["label"].tolist() == [shapes.spec.last.outputs.names[best] for best in blend.argmax(axis=1)]
    assert "2 of 2 units" in done.log and "36 x 60 px letterbox pad 30 grey" in done.log
    assert "64 px long multiple 16" in done.log


@pytest.mark.parametrize("kept", ["in memory", "in files", "in part", "nowhere"])
def test_wherever_the_pixels_lie_the_kernel_gives_the_out_of_fold_numbers(
    shapes: Shapes, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {"in memory": [Place(None, 1 << 40)], "in files": [Place(tmp_path / "tmp", 1 << 40)],
            "in part": [Place(tmp_path / "tmp", 60_000)], "nowhere": []}[kept]
    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: room)
    inputs = lay_out_inputs(tmp_path, ("foldpack-digits", shapes.data), {shapes.build.dataset: shapes.build.weights})
    keys = ast.literal_eval(shapes.build.script.read_text().split("\nKEYS: dict[str, str] = ")[1].split("\n")[0])
    probs = tmp_path / "probs.npy"
    code = load_entry().main(spec_to_dict(shapes.spec), keys, [
        "--input", str(inputs), "--output", str(tmp_path / "output"), "--hours", "20", "--probs", str(probs)])
    assert code == 0
    assert np.abs(np.load(probs) - np.mean(list(shapes.expected.values()), axis=0)).max() <= 1e-5
