"""A kernel of two stages: a task made up here finds dark blobs on pages, a classifier reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from foldpack.competitions.image_table import TableCompetition
from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import Ragged
from foldpack.ensemble.box_fuser import BoxFuser
from foldpack.kernel import stage as kernel_stage
from foldpack.kernel.main import run_kernel
from foldpack.models.checkpoint import CheckpointInfo, save_checkpoint
from foldpack.models.classifier import build_classifier
from foldpack.predict.batch import Batch
from foldpack.predict.views import View
from foldpack.sealed.container import new_data_key, seal_file
from foldpack.settings.ensemble import fold_role
from foldpack.settings.network import Geometry, NetConfig
from foldpack.settings.outputs import Boxes
from foldpack.settings.stages import StageSpec
from foldpack.tasks.classify import ClassifyTask

SIDE = 64  # of a page, pixels
PAGES = {"many": 12, "none": 0, "one": 1, "few": 3, "blank": 0, "last": 2}  # blobs
NETS = {"find": NetConfig(arch="test_resnet", size=SIDE),
        "read": NetConfig(arch="test_efficientnet", size=32, geometry=Geometry(kind="box"))}
CLASSES = ["light", "dark"]


class Blobs:
    """Finds what is darker than the page. The network's answer is not asked for."""

    name = "blobs"

    def layout(self, outputs: Boxes, items: Items) -> Ragged:
        return Ragged(len(items.ids), 24, outputs.most)

    def build(self, net: NetConfig, width: int) -> nn.Module:
        return build_classifier(net, width)

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        return net(pixels)

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        found = [blobs_of(page) for page in batch.images.mean(dim=1).numpy()]
        starts = np.concatenate([[0], np.cumsum([len(boxes) for boxes in found])]).astype(np.int64)
        box = np.concatenate(found).astype(np.float32)
        columns = {"box": box, "score": np.ones(len(box), np.float32), "label": np.zeros(len(box), np.int32)}
        return [Rows(columns, starts) for _ in views]

    def merge_views(self, views: list[Rows], how: str, outputs: Boxes) -> Rows:
        return views[0]

    def fuser(self, stage: StageSpec, items: Items) -> BoxFuser:
        return BoxFuser(stage)

    def fallback(self, outputs: Boxes, items: Items) -> Rows:
        none = {"box": np.zeros((0, 4), np.float32), "score": np.zeros(0, np.float32), "label": np.zeros(0, np.int32)}
        return Rows(none, np.zeros(len(items.ids) + 1, np.int64))


def blobs_of(page: np.ndarray) -> np.ndarray:
    """(k, 4) xyxy of the connected dark places of a normalised page."""
    labels, _ = ndimage.label(page < 0)
    slices = ndimage.find_objects(labels)
    return np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices]).reshape(-1, 4)


class Shade(ClassifyTask):
    """Says how dark a box is."""

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        dark = -batch.images.mean(dim=(1, 2, 3)).numpy()
        return [Rows({"logits": np.stack([np.full_like(dark, 1.5), dark], axis=1)}) for _ in views]


class Lines(TableCompetition):
    """A page is answered with a word for each of its boxes."""

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)["label"]
        assert set(" ".join(cells).split()) <= {*CLASSES, "?"}


LINES = Lines("lines", "lines", "multilabel", "id", "label", ".png")


def draw_page(path: Path, blobs: int, side: int = SIDE) -> list[str]:
    """White, with squares of 4 pixels in rows, every second one black, the others grey. What they are, in order."""
    page = np.full((side, side), 255, np.uint8)
    per_row = side // 5
    for number in range(blobs):
        y, x = 5 * (number // per_row) + 1, 5 * (number % per_row)
        page[y : y + 4, x : x + 4] = 0 if number % 2 else 100
    Image.fromarray(page).save(path)
    return [CLASSES[number % 2] for number in range(blobs)]


@dataclass
class Kernel:
    """The pages, the sealed weights and the spec of a kernel that runs in this process."""

    root: Path
    spec: dict
    keys: dict[str, str]
    log: Callable[[], str]
    words: dict[str, list[str]]  # of each page

    def run(self, output: str = "output", *arguments: str) -> int:
        tasks = {"blobs": Blobs(), "classify": Shade()}
        return run_kernel(self.spec, self.keys, ["--input", str(self.root / "input"), "--output",
                                                 str(self.root / output), "--hours", "20", *arguments], tasks, LINES)

    def cells(self, output: str = "output") -> dict[str, str]:
        table = pd.read_csv(self.root / output / "submission.csv", dtype=str, keep_default_na=False)
        return dict(zip(table["id"], table["label"], strict=True))

    @property
    def truth(self) -> dict[str, str]:
        return {page: " ".join(words) for page, words in self.words.items()}


def make_kernel(root: Path, log: Callable[[], str], pages: dict[str, int] = PAGES, side: int = SIDE) -> Kernel:
    data = root / "input" / "lines"
    (data / "test").mkdir(parents=True)
    words = {page: draw_page(data / "test" / f"{page}.png", blobs, side) for page, blobs in pages.items()}
    pd.DataFrame({"id": list(pages), "label": "?"}).to_csv(data / "sample_submission.csv", index=False)
    keys: dict[str, str] = {}
    members: dict[str, list[dict]] = {"find": [], "read": []}
    for run, net in NETS.items():
        net = net.model_copy(update={"size": side}) if run == "find" else net
        folds = []
        for fold in range(2):
            torch.manual_seed(fold)
            info = CheckpointInfo(run=run, fold=fold, epoch=0, score=0.5, n_classes=2, net=net, seconds_per_image=1e-4,
                                  config_sha256="1" * 64, folds_sha256="2" * 64)
            save_checkpoint(root / "plain.safetensors", build_classifier(net, 2).state_dict(), info)
            key, name = new_data_key(), f"{run}{fold}".encode().hex().zfill(32)
            sealed = seal_file(root / "plain.safetensors", root / "input" / "weights" / f"{name}.sealed", key,
                               fold_role(run, fold), file_id=bytes.fromhex(name))
            keys[f"{name}.sealed"] = bytes(key).hex()
            folds.append({"fold": fold, "sha256": "3" * 64, "file": f"{name}.sealed", "header": sealed.header_sha256})
        geometry = {} if net.geometry is None else {"geometry": net.geometry.model_dump(exclude_defaults=True)}
        members[run].append({"run": run, "weight": 1.0, "views": ["identity"], "size": net.size, **geometry,
                             "seconds_per_image": 1e-4, "folds": folds})
    stages = [
        {"name": "find", "task": "blobs", "outputs": {"kind": "boxes", "names": ["blob"], "prior": [1.0], "most": 1200},
         "members": members["find"], "fuse": {"kind": "boxes"}, "decision": {"kind": "hand_on", "most": 1200}},
        {"name": "read", "task": "classify", "items": "find",
         "outputs": {"kind": "classes", "link": "softmax", "names": CLASSES, "prior": [0.5, 0.5]},
         "members": members["read"], "fuse": {"kind": "scores"}, "decision": {"kind": "class"}}]
    spec = {"version": 2, "name": "two", "competition": "lines", "slug": "lines", "metric": {"name": "x", "oof": 0.5},
            "stages": stages, "fallback": {"label": "?"},
            "table": {"sample": "sample_submission.csv", "id_column": "id", "columns": ["label"]}}
    return Kernel(root, spec, keys, log, words)


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


@pytest.fixture
def kernel(tmp_path: Path, log: Callable[[], str]) -> Kernel:
    return make_kernel(tmp_path, log)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_what_is_found_is_read_and_empty_pages_keep_their_place(kernel: Kernel, workers: tuple[str, ...],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_stage, "START_METHOD", "fork")
    assert kernel.run("output", *workers) == 0
    assert kernel.cells() == kernel.truth
    log = kernel.log()
    assert "find: 18 boxes in 6 images" in log and "4 of 4 units" in log
    assert sorted(path.name for path in (kernel.root / "output").iterdir()) == ["foldpack_log.jsonl", "submission.csv"]


def test_when_every_page_is_empty_that_is_the_answer(tmp_path: Path, log: Callable[[], str]) -> None:
    kernel = make_kernel(tmp_path, log, {"a": 0, "b": 0})
    assert kernel.run() == 0
    assert kernel.cells() == {"a": "", "b": ""}
    assert "find: 0 boxes in 2 images" in kernel.log()


def test_a_page_of_1200_boxes_is_read_beside_others(tmp_path: Path, log: Callable[[], str]) -> None:
    kernel = make_kernel(tmp_path, log, {"small": 2, "full": 1200, "none": 0}, side=176)
    assert kernel.run() == 0
    assert kernel.cells() == kernel.truth and len(kernel.words["full"]) == 1200


def test_a_page_that_cannot_be_read_has_no_boxes(kernel: Kernel) -> None:
    (kernel.root / "input" / "lines" / "test" / "few.png").write_bytes(b"broken")
    assert kernel.run() == 0
    assert kernel.cells() == {**kernel.truth, "few": ""}


class Killed(BaseException):
    """The end of the process."""


def killed_at(kernel: Kernel, stage: str, call: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until some method of the runner of a stage is called for the so-many-th time."""
    runner = kernel_stage.StageRunner
    real, calls = getattr(runner, name), [0]

    def end(self: kernel_stage.StageRunner, *arguments: object) -> object:
        calls[0] += self.stage.name == stage
        if calls[0] == call:
            raise Killed
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(runner, name, end)
        with pytest.raises(Killed):
            kernel.run()


@pytest.mark.parametrize(("stage", "call", "said"), [
    ("find", 2, ["find: 6 items, 2 units (1 finished before)", "read: 6 items, 2 units (0 finished before)"]),
    ("read", 1, ["find: finished by a process before this one", "read: 6 items, 2 units (0 finished before)"]),
    ("read", 2, ["find: finished by a process before this one", "read: 6 items, 2 units (1 finished before)"]),
])
def test_a_restart_in_either_stage_goes_on_where_it_was(kernel: Kernel, stage: str, call: int, said: list[str],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.run("whole") == 0
    killed_at(kernel, stage, call, "finish", monkeypatch)
    kernel.log()
    assert kernel.run() == 0
    log = kernel.log()
    assert all(words in log for words in said), log
    whole, again = (kernel.root / name / "submission.csv" for name in ("whole", "output"))
    assert again.read_bytes() == whole.read_bytes()


def test_a_frozen_stage_is_never_continued(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second unit was too late. The next process has time for it, but the boxes are those that were read."""
    kernel.spec["budget"] = {"on_error": "stand"}
    real = kernel_stage.StageRunner.begin

    def begin(self: kernel_stage.StageRunner, unit: int) -> object:
        if self.stage.name == "find" and unit == 1:
            raise OSError("too late")
        return real(self, unit)

    with monkeypatch.context() as patch:
        patch.setattr(kernel_stage.StageRunner, "begin", begin)
        killed_at(kernel, "read", 2, "finish", monkeypatch)
    kernel.log()
    assert kernel.run() == 0
    log = kernel.log()
    assert "find: finished by a process before this one" in log and "find: 6 items" not in log
    assert "(1 finished before)" in log and kernel.cells() == kernel.truth


def test_without_time_for_the_first_stage_the_fallback_stands(kernel: Kernel) -> None:
    assert kernel.run("output", "--hours", "0.000001") == 1
    assert set(kernel.cells().values()) == {"?"}
