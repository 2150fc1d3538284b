"""A whole small house for the tests: 288 digits to train on, 72 to predict, two tiny nets, two folds, one kernel."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import typer
from view_arrays import predict_logits

from foldpack.commands.recipe import make_recipe_folds
from foldpack.competitions.adapters import get_competition
from foldpack.competitions.digits_source import write_digits
from foldpack.data.geometry import CanvasKind
from foldpack.data.runs import checkpoint_path, read_run
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.keyring.keyring import Keyring
from foldpack.models.checkpoint import read_checkpoint, restore_net
from foldpack.predict.canvas import decode_items
from foldpack.predict.device import pick_device
from foldpack.search.report.report import report_lines
from foldpack.search.runs import RunSearch, member_of, search_runs
from foldpack.settings.ensemble import EnsembleSpec, spec_to_dict, write_spec
from foldpack.settings.outputs import ScoreBlend
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.run import train_run
from packer.build.kernel_folder import Build, build_kernel

PROJECT = Path(__file__).resolve().parents[1]
COUNT = 360  # digits
FOLDS = 2
RUNS = ("tiny_resnet", "tiny_efficientnet")
OWNER = "someone"


@dataclass(frozen=True)
class House:
    """Where everything lies. Shared by all tests of a session, so nobody changes it."""

    root: Path
    code: Path  # a copy of our code, without its repository
    data: Path  # the competition's folder
    answers: Path
    folds_csv: Path
    runs: Path
    ensemble: Path  # ensembles/small.yml
    spec: EnsembleSpec
    report: list[str]
    build: Build
    keyring: Path
    said: list[str]  # what the training printed

    def copy_runs(self, folder: Path) -> Path:
        """A copy of the runs that a test may damage."""
        return Path(shutil.copytree(self.runs, folder / "runs"))

    def copy_data(self, folder: Path) -> Path:
        """A copy of the competition that a test may damage."""
        return Path(shutil.copytree(self.data, folder / "competition"))

    def keys(self) -> dict[str, str]:
        """Data keys of the sealed files, as the kernel gets them."""
        ring = Keyring.load(self.keyring)
        index = json.loads((self.root / "build/sealed/index.json").read_text())["files"].values()
        return {entry["file"]: bytes(ring.data_key(entry["file_id"])).hex() for entry in index}

    def kernel_spec(self) -> dict:
        """The spec that the kernel holds."""
        return spec_to_dict(self.build.spec)


def tiny_config(run: str = "tiny_resnet", **changes: object) -> RunConfig:
    """The configuration of a net that trains in a second. `changes` replace keys at the top level."""
    arch = {"tiny_resnet": "test_resnet", "tiny_efficientnet": "test_efficientnet"}.get(run, "test_resnet")
    views = ["identity"] if run == "tiny_resnet" else ["identity", "hflip"]
    data: dict[str, object] = {
        "run": run, "competition": "digits", "metric": "accuracy", "net": {"arch": arch, "size": 32},
        "loss": {"name": "cross_entropy"}, "optim": {"lr": 5e-3, "warmup_epochs": 0}, "augment": {"hflip": 0.0},
        "epochs": 2, "batch_size": 16, "views": views, "seed": 3}
    return parse_config({**data, **changes}, "tiny")


def write_small_folds(data: Path, folds_csv: Path, count: int = FOLDS) -> None:
    """Stratified folds of the small competition."""
    folds = FoldsConfig(kind="stratified", count=count)
    make_recipe_folds(RecipeConfig(name="small", competition="digits", folds=folds, runs=["-"]), data, folds_csv, print)


def copy_code(folder: Path) -> Path:
    """Our code without its repository: a pack names the commit and holds the source; nobody edits a copy."""
    for name in ("src", "packer", "kernels", "configs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(PROJECT / "deploy_kernel.py", folder)
    return folder


def make_house(root: Path) -> House:
    """Write, train, search and pack."""
    data, answers, folds_csv, runs = root / "competition", root / "answers.csv", root / "folds.csv", root / "runs"
    said: list[str] = []
    write_digits(data, answers, COUNT)
    write_small_folds(data, folds_csv)
    for run in RUNS:
        train_run(tiny_config(run), data, folds_csv, runs, said.append)
    spec, numbers = search_runs("small", [runs / run for run in RUNS], RunSearch(hours=1.0))
    spec = both_runs(spec, runs)
    ensemble = root / "ensembles" / "small.yml"
    write_spec(ensemble, spec)
    code, keyring = copy_code(root / "code"), root / "keys" / "keyring"
    with Keyring.editing(keyring) as ring:
        build = build_kernel(ensemble, code / "src", runs, root / "build", OWNER, ring)
    return House(root, code, data, answers, folds_csv, runs, ensemble, spec, report_lines(numbers), build,
                 keyring, said)


def both_runs(spec: EnsembleSpec, runs: Path) -> EnsembleSpec:
    """The same ensemble with weights 0.7 and 0.3: whatever the search finds on so few digits, both nets take part."""
    weights = dict(zip(RUNS, (0.7, 0.3), strict=True))
    members = [member_of(read_run(runs / run), weight) for run, weight in weights.items()]
    return spec.with_last(members=members, fuse=ScoreBlend(), plan=None)


def only(spec: EnsembleSpec, run: str, fold: int, views: list[str] | None = None) -> EnsembleSpec:
    """The ensemble of one fold of one run."""
    member = next(member for member in spec.members if member.run == run)
    folds = [one for one in member.folds if one.fold == fold]
    return spec.with_last(members=[member.model_copy(
        update={"folds": folds, "weight": 1.0, "views": views or member.views})])


def competition_of(folder: Path, images: Path, ids: list[str]) -> Path:
    """A digits competition that asks for these images."""
    (folder / "test").mkdir(parents=True)
    for item in ids:
        shutil.copy(images / f"{item}.png", folder / "test" / f"{item}.png")
    pd.DataFrame({"id": ids, "label": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def load_entry() -> ModuleType:
    """kernels/kernel.py as a module: what is packed, run without packing."""
    place = importlib.util.spec_from_file_location("kernel_entry", PROJECT / "kernels" / "kernel.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    sys.modules[place.name] = module  # dataclasses look their module up
    place.loader.exec_module(module)
    return module


def package_probs(house: House, spec: EnsembleSpec, folder: Path) -> np.ndarray:
    """(n, C) of the test images in `folder`: what the source package computes from the plain checkpoints."""
    canvas = decode_items(get_competition("digits").test(folder), CanvasKind(32), 2)
    folds, weights_of = [], []
    for member in spec.members:
        for fold in member.folds:
            weights, info = read_checkpoint(checkpoint_path(house.runs / member.run, fold.fold))
            net = restore_net(weights, info, "here")
            logits = predict_logits(net, info.net, canvas.pixels, member.views, pick_device(), 17)
            folds.append(merge_view_probs(logits, "multiclass"))
            weights_of.append(member.weight / len(member.folds))  # folds too are averaged in the blend space
    return blend_probs(folds, weights_of, spec.last.fuse, spec.last.outputs.exclusive)


def accuracy_of(probs: np.ndarray, targets: np.ndarray) -> float:
    """Share of the rows whose likeliest class is right."""
    return float((probs.argmax(axis=1) == targets).mean())


def load_app(script: str) -> typer.Typer:
    """The application of a script in the checkout's top folder."""
    place = importlib.util.spec_from_file_location(script.removesuffix(".py"), PROJECT / script)
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module.app
