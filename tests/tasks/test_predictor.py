"""A task of two lines runs through both pools: from sealed weights to the store, whatever it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from foldpack.data.geometry import CanvasKind
from foldpack.data.items import whole_images
from foldpack.data.rows import Rows
from foldpack.engine.pool import InlinePool, ProcessPool
from foldpack.engine.store import UnitStore
from foldpack.engine.units import Unit
from foldpack.engine.work import Shard, ShardDone, ShardFailed, WorkEvent, WorkPool
from foldpack.models.checkpoint import CheckpointInfo, save_checkpoint
from foldpack.models.classifier import build_classifier
from foldpack.predict.batch import Batch
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import HeldPixels
from foldpack.predict.view import View
from foldpack.predict.views import parse_view
from foldpack.sealed.container import new_data_key, seal_file
from foldpack.settings.ensemble import fold_role
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import Classes
from foldpack.settings.stages import FoldSpec, MemberSpec
from foldpack.tasks.classify import CLASSIFY, ClassifyTask
from foldpack.tasks.predictor import StagePredictor
from foldpack.tasks.protocol import Task

ROWS = 10
NET = NetConfig(arch="test_resnet", size=32)
OUTPUTS = Classes(link="softmax", names=["dark", "light"], prior=[0.5, 0.5])
KIND = CanvasKind(32)
VIEWS = ["identity", "hflip"]


class Brightness(ClassifyTask):
    """Says how bright a picture is. All else is that of classifiers."""

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        light = batch.images.mean(dim=(1, 2, 3)).numpy()
        return [Rows({"logits": np.stack([np.zeros_like(light), light], axis=1)}) for _ in views]


class Holey(Brightness):
    """Says NaN, as a damaged network does."""

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        return [Rows({"logits": rows.columns["logits"] * np.nan}) for rows in super().predict(net, batch, views)]


@pytest.fixture
def predictor(tmp_path: Path) -> StagePredictor:
    """One unit with its sealed weights, over pictures from black to white."""
    torch.manual_seed(0)
    info = CheckpointInfo(run="a", fold=0, epoch=0, score=0.5, n_classes=2, net=NET, config_sha256="1" * 64,
                          folds_sha256="2" * 64, seconds_per_image=1e-3)
    save_checkpoint(tmp_path / "a.safetensors", build_classifier(NET, 2).state_dict(), info)
    key, sealed = new_data_key(), tmp_path / "a.sealed"
    header = seal_file(tmp_path / "a.safetensors", sealed, key, fold_role("a", 0)).header_sha256
    fold = FoldSpec(fold=0, sha256="3" * 64, file="a.sealed", header=header)
    member = MemberSpec(run="a", weight=1.0, views=VIEWS, size=32, seconds_per_image=1e-3, folds=[fold])
    pixels = np.repeat(np.linspace(0, 255, ROWS).astype(np.uint8), 32 * 32 * 3).reshape(ROWS, 32, 32, 3)
    return StagePredictor(Brightness(), OUTPUTS, [Unit(member, fold)], {header: sealed}, {"a": key},
                          {KIND: HeldPixels(KIND, pixels)}, None, {}, {name: parse_view(name) for name in VIEWS})


def run(predictor: StagePredictor, kind: str, store: UnitStore) -> list[WorkEvent]:
    """Predict all rows in shards of three."""
    pool: WorkPool = (InlinePool(predictor, store, ["k"], "cpu", lambda: None) if kind == "inline" else
                      ProcessPool(predictor, store, ["k"], ["cpu", "cpu"], kind, 1, print))
    store.begin("k")
    waiting = [Shard(0, start, min(ROWS, start + 3), 2) for start in range(0, ROWS, 3)]
    events: list[WorkEvent] = []
    out = 0
    try:
        while waiting or out:
            while waiting and out < pool.capacity:
                pool.give(waiting.pop(0), None)
                out += 1
            new = pool.wait(5.0)
            events += new
            out -= len(new)
    finally:
        pool.close()
    return events


def store_for(folder: Path, task: Task) -> UnitStore:
    items = whole_images([str(row) for row in range(ROWS)], [Path(f"{row}.png") for row in range(ROWS)])
    return UnitStore(folder, task.layout(OUTPUTS, items))


@pytest.mark.parametrize("kind", ["inline", "fork", "spawn"])
def test_a_task_of_two_lines_runs_through_both_pools(kind: str, predictor: StagePredictor, tmp_path: Path) -> None:
    store = store_for(tmp_path / "units", predictor.task)
    events = run(predictor, kind, store)
    assert len(events) == 4 and all(isinstance(event, ShardDone) for event in events), events
    rows = store.finish("k", keep=True)
    light = rows.columns["probs"][:, 1]
    assert (np.diff(light) > 0).all() and light[0] < 0.2 and light[-1] > 0.8  # from black to white
    assert rows.lost is not None and not rows.lost.any()


def test_numbers_that_are_none_fail_the_unit_whatever_its_task_is(predictor: StagePredictor, tmp_path: Path) -> None:
    predictor.task = Holey()
    events = run(predictor, "inline", store_for(tmp_path / "units", predictor.task))
    assert all(isinstance(event, ShardFailed) for event in events)
    assert isinstance(events[0], ShardFailed)
    assert "a/fold0: 12 of 12 outputs are not finite in float32" in events[0].reason


def test_an_image_that_a_stream_cannot_read_is_lost_and_gets_the_fallback(predictor: StagePredictor,
                                                                          tmp_path: Path) -> None:
    missing = [tmp_path / f"{row}.png" for row in range(ROWS)]
    predictor.pixels[KIND] = PageStream(missing, KIND, 1)
    store = store_for(tmp_path / "units", predictor.task)
    run(predictor, "inline", store)
    rows = store.finish("k", keep=False)
    assert rows.lost is not None and rows.lost.all()
    items = whole_images([str(row) for row in range(ROWS)], missing)
    lost = np.arange(ROWS) % 2 == 0
    filled = rows.filled(lost, CLASSIFY.fallback(OUTPUTS, items)).columns["probs"]
    assert (filled[lost] == 0.5).all() and np.array_equal(filled[~lost], rows.columns["probs"][~lost])
