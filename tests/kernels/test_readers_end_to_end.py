"""Whatever the images are, the packed kernel sees the pixels of the training: its numbers are the out-of-fold ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from reader_files import encoded, save_bson, save_dicom
from small_house import OWNER, PROJECT, tiny_config
from view_arrays import oof_array

from foldpack.commands.recipe import make_recipe_folds
from foldpack.data.runs import read_run
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.keyring.keyring import Keyring
from foldpack.search.runs import RunSearch, member_of, search_runs
from foldpack.settings.ensemble import write_spec
from foldpack.settings.outputs import ScoreBlend
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.train.run import train_run
from packer.build.kernel_folder import build_kernel
from packer.deploy.preflight import check_readers
from packer.rehearse.process import lay_out_inputs

SIDES = (20, 24)
COUNT, FOLD = 40, 1
TABLE = {"source": {"kind": "csv", "file": "{split}.csv"}, "id": "{id}"}


def pictures(labels: list[int]) -> np.ndarray:
    """(n, 5, H, W) from 0 to 1: bars that stand or lie, in noise."""
    dice = np.random.default_rng(3)
    planes = dice.random((len(labels), 5, *SIDES)) * 0.5
    for plane, label in zip(planes, labels, strict=True):
        at = int(dice.integers(2, 14))
        (plane[:, at : at + 4] if label else plane[:, :, at : at + 4])[:] += 0.5
    return planes


def write_files(folder: Path, split: str, ids: list[str], save: Callable[[Path, np.ndarray], object], ending: str,
                images: np.ndarray) -> None:
    """A file an image."""
    (folder / split).mkdir()
    for item, image in zip(ids, images, strict=True):
        save(folder / split / f"{item}{ending}", image)


def write_dicoms(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    def save(path: Path, image: np.ndarray) -> None:
        odd = int(path.stem[1:]) % 3 == 0
        values = (image[0] * 3000).astype(np.uint16)
        save_dicom(path, 4095 - values if odd else values, "MONOCHROME1" if odd else "MONOCHROME2", 12)

    write_files(folder, split, ids, save, ".dcm", images)


def write_tiffs(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    def save(path: Path, image: np.ndarray) -> None:
        first = int(path.stem[1:]) % 2
        tifffile.imwrite(path, (image if first else np.moveaxis(image, 0, 2)).astype(np.float32),
                         photometric="minisblack", planarconfig="separate" if first else "contig")

    write_files(folder, split, ids, save, ".tif", images)


def write_arrays(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    write_files(folder, split, ids, lambda path, image: np.save(path, image[:2] * 50 - 40), ".npy", images)


def write_deep_grey(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    write_files(folder, split, ids, lambda path, image: Image.fromarray((image[0] * 4095).astype(np.uint16)).save(path),
                ".png", images)


def write_bands(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    bands = (images[:, :2] * 50 - 40).round(3).reshape(len(rows), 2, -1).tolist()
    records = [{**row, "band_1": first, "band_2": second} for row, (first, second) in zip(rows, bands, strict=True)]
    (folder / f"{split}.json").write_text(json.dumps(records))


def write_documents(folder: Path, split: str, ids: list[str], images: np.ndarray, rows: list[dict]) -> None:
    listed = [[encoded((np.moveaxis(image[:3], 0, 2) * 255).astype(np.uint8), "JPEG")] for image in images]
    places = save_bson(folder / f"{split}.bson", listed)
    for row, place in zip(rows, places, strict=True):
        row["place"] = place


# What a competition.yml says of items and images, the channels, how files are written, a module that only it needs.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], int, Callable[..., None], str]] = {
    "json": ({"source": {"kind": "records", "file": "{split}.json"}, "id": "{id}", "image": "{split}.json/{row}"},
             {"reader": "json", "channels": 2, "arrays": ["band_1", "band_2"], "shape": list(SIDES),
              "range": [-40, 10]}, 2, write_bands, "readers/json_records.py"),
    "dicom": ({**TABLE, "image": "{split}/{id}.dcm"}, {"reader": "dicom", "channels": 1, "window": [2048, 4096]}, 1,
              write_dicoms, "readers/dicom.py"),
    "tiff": ({**TABLE, "image": "{split}/{id}.tif"}, {"reader": "tiff", "channels": 5, "range": [0, 1]}, 5, write_tiffs,
             "readers/tiff.py"),
    "numpy": ({**TABLE, "image": "{split}/{id}.npy"}, {"reader": "numpy", "channels": 2, "range": [-40, 10]}, 2,
              write_arrays, "readers/numpy_files.py"),
    "bson": ({**TABLE, "image": "{split}.bson/{place}"}, {"reader": "bson"}, 3, write_documents,
             "readers/bson_documents.py"),
    "pillow": ({**TABLE, "image": "{split}/{id}.png"}, {"channels": 1, "range": [0, 4095]}, 1, write_deep_grey,
               "readers/pillow.py"),
}
SLOW = {"tiff", "numpy", "bson", "pillow"}
MODULES = {kind: module for kind, (_, _, _, _, module) in KINDS.items()}


def write_split(folder: Path, split: str, kind: str, ids: list[str], labels: list[int], images: np.ndarray) -> None:
    """Files and table of a split, and its sample submission."""
    folder.mkdir(exist_ok=True)
    words = [("lies", "stands")[label] for label in labels]
    rows: list[dict] = [{"id": item, "label": word} for item, word in zip(ids, words, strict=True)]
    KINDS[kind][3](folder, split, ids, images, rows)
    if split == "test":
        rows = [{name: cell for name, cell in row.items() if name != "label"} for row in rows]
        pd.DataFrame({"id": ids, "label": "lies"}).to_csv(folder / "sample_submission.csv", index=False)
    pd.DataFrame(rows).to_csv(folder / f"{split}.csv", index=False)


def competition_of(kind: str) -> str:
    """Its competition.yml."""
    items, images = KINDS[kind][:2]
    parts = {split: json.loads(json.dumps(items).replace("{split}", split)) for split in ("train", "test")}
    return json.dumps({"name": "bars", "slug": "the-bars", **parts, "images": images,
                       "labels": {"kind": "class", "column": "label"},
                       "answer": {"kind": "class", "id": "id", "column": "label"}, "metric": {"name": "accuracy"}})


@pytest.mark.parametrize("kind", [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else [])
                                  for each in KINDS])
def test_the_kernel_answers_as_the_out_of_fold_predictions(kind: str, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = [row % 2 for row in range(COUNT)]
    ids, images = [f"a{row}" for row in range(COUNT)], pictures(labels)
    write_split(tmp_path / "data", "train", kind, ids, labels, images)
    (tmp_path / "competition.yml").write_text(competition_of(kind))
    recipe = RecipeConfig(name="bars", competition="competition.yml", folds=FoldsConfig(kind="stratified", count=2),
                          runs=["-"])
    make_recipe_folds(recipe, tmp_path / "data", tmp_path / "folds.csv", print)
    channels = KINDS[kind][2]
    config = tiny_config("bars", competition="competition.yml", epochs=3, net={
        "arch": "test_resnet", "size": list(SIDES), "channels": channels, "mean": [0.5] * channels,
        "std": [0.25] * channels})
    train_run(config, tmp_path / "data", tmp_path / "folds.csv", tmp_path / "runs", lambda text: None)
    trained = read_run(tmp_path / "runs/bars")
    spec, _ = search_runs("bars", [tmp_path / "runs/bars"], RunSearch(hours=1.0))
    member = member_of(trained, 1.0)
    member = member.model_copy(update={"folds": [fold for fold in member.folds if fold.fold == FOLD]})
    write_spec(tmp_path / "bars.yml", spec.with_last(members=[member], fuse=ScoreBlend(), plan=None))
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(tmp_path / "bars.yml", PROJECT / "src", tmp_path / "runs", tmp_path / "build", OWNER, ring)

    rows = np.flatnonzero(trained.fold == FOLD)
    expected = merge_view_probs(oof_array(trained)[:, rows], "multiclass")
    asked = [trained.ids[row] for row in rows]
    places = [ids.index(item) for item in asked]
    write_split(tmp_path / "asked", "test", kind, asked, [labels[place] for place in places], images[places])
    inputs = lay_out_inputs(tmp_path, ("the-bars", tmp_path / "asked"), {build.dataset: build.weights})
    done = subprocess.run([sys.executable, "-I", str(build.script), "--input", str(inputs), "--output",
                           str(tmp_path / "output"), "--hours", "1", "--probs", str(tmp_path / "probs.npy")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert np.abs(np.load(tmp_path / "probs.npy") - expected).max() <= 1e-5 and np.ptp(expected[:, 0]) > 0.02
    assert f"{len(asked)} rows from 1 of 1 units" in done.stdout

    assert trained.meta.reader is not None and not list(check_readers(spec, tmp_path / "runs"))
    changed = competition_of(kind).replace('"window": [2048, 4096]', '"window": [1024, 2048]')
    (tmp_path / "competition.yml").write_text(changed)
    said = [finding.text for finding in check_readers(spec, tmp_path / "runs")]
    assert len(said) == (kind == "dicom") and all("window=(2048.0, 4096.0)" in line for line in said)
    told: list[str] = []
    train_run(config, tmp_path / "data", tmp_path / "folds.csv", tmp_path / "runs", told.append)
    assert sum("finished before, kept" in line for line in told) == (0 if kind == "dicom" else 2)

    needed = {"dicom": "pydicom", "tiff": "tifffile", "bson": "pymongo"}
    assert {*needed.values()} & {*build.packages} == {name for each, name in needed.items() if each == kind}
    script = build.script.read_text()
    others = set(MODULES.values()) - {MODULES[kind], MODULES["pillow"]}  # pictures in BSON go through Pillow
    assert MODULES[kind] in script and not any(other in script for other in others)
