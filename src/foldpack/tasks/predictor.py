"""Units of a stage on one device: from sealed weights and decoded images to rows, whatever the task is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.data.items import whole_images
from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.errors import FoldpackError
from foldpack.models.checkpoint import CheckpointInfo, parse_checkpoint_info, restore_net
from foldpack.models.classifier import MakeNet, normalise
from foldpack.predict.device import BATCH_IMAGES, Precision
from foldpack.predict.golden import check_golden, golden_pixels
from foldpack.predict.loop import Forward, finite_rows, reduced_precision
from foldpack.predict.net_forms import TunedNet, tune_net
from foldpack.predict.pixel_source import PixelSource
from foldpack.predict.view import View
from foldpack.sealed.container import load_sealed_tensors
from foldpack.sealed.format import DataKey
from foldpack.settings.network import NetConfig
from foldpack.settings.stages import Outputs
from foldpack.tasks.protocol import Task

LoadedWeights = tuple[dict[str, torch.Tensor], dict[str, str]]  # tensors and metadata


class CanvasMismatchError(FoldpackError):
    """Weights that were trained on other pixels than the kernel has decoded."""


@dataclass
class StagePredictor:
    """Predicts the units of one stage on one device. Pickled on its way to a worker process."""

    task: Task
    outputs: Outputs  # of the stage

    units: list[Unit]
    files: dict[str, Path]  # sealed weights by header hash
    keys: dict[str, DataKey]  # by file id
    pixels: dict[CanvasKind, PixelSource]
    starts: np.ndarray | None  # (images + 1,) where the boxes of each image begin; None: items are whole images
    precisions: dict[str, Precision]  # by device
    views: Mapping[str, View]  # of all units, by name
    networks: Mapping[str, MakeNet] = field(default_factory=dict)  # of a project's own, by FILE.py:NAME
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    net: nn.Module | None = None
    info: CheckpointInfo | None = None
    tuned: nn.Module | None = None  # `net` in its fastest form
    forward: Forward | None = None
    batch_sizes: dict[str, int] = field(default_factory=dict)  # of runs whose first guess was too large

    def open(self, device: str) -> None:
        """Take a device for good."""
        self.device = torch.device(device)

    def load(self, unit: int) -> LoadedWeights:
        """Decrypt and verify one unit's weights. Raises SealedError."""
        asked = self.units[unit]
        key = self.keys[Path(str(asked.fold.file)).stem]
        return load_sealed_tensors(self.files[str(asked.fold.header)], key, asked.role, asked.fold.header)

    def build(self, unit: int, loaded: LoadedWeights) -> None:
        """The unit's network on the device; one of the same shape is kept and gets the new weights.

        Raises ModelError, GoldenError, and CanvasMismatchError.
        """
        weights, metadata = loaded
        asked = self.units[unit]
        info = parse_checkpoint_info(metadata, asked.role)
        if canvas_kind(asked.member) != canvas_kind(info.net):
            raise CanvasMismatchError(f"{asked.role}: trained on images decoded as '{canvas_kind(info.net)}', but the "
                                      f"ensemble says '{canvas_kind(asked.member)}'; run `foldpack search` again")
        if self.net is not None and self.info is not None and same_shape(self.info, info):
            self.net.load_state_dict(weights)
        else:
            self.net = restore_net(weights, info, asked.role, self.task.build,
                                   self.networks.get(info.net.arch)).to(self.device)
            self.tuned = None
        self.info = info
        check_golden(self.net, info, self.device, self.task.probe)
        size = self.batch_sizes.get(info.run, BATCH_IMAGES[self.device.type])
        precision = self.precisions.get(str(self.device), "fp32")
        if self.tuned is None:
            self.tuned = self.tune(asked, info.net, size, precision)
        shown = [self.views[name] for name in asked.member.views]
        self.forward = Forward(self.tuned, info.net, shown, self.device, size, precision, self.task.predict)

    def tune(self, asked: Unit, config: NetConfig, size: int, precision: Precision) -> nn.Module:
        """The network in its fastest form. On the CPU it stays as it is: the out-of-fold predictions' form."""
        assert self.net is not None
        if self.device.type == "cpu":
            return self.net
        units = sum(other.member.run == asked.member.run for other in self.units)
        batches = units * len(asked.member.views) * len(self.pixels[canvas_kind(asked.member)]) / size
        with reduced_precision(self.device, precision):
            sample = normalise(golden_pixels(config).to(self.device), config)
            chosen = tune_net(self.net, sample[:1].expand(size, -1, -1, -1).clone(), batches)
        print(f"{asked.role} on {self.device}: {chosen.text()}", flush=True)
        return TunedNet(self.net, chosen.form)

    def predict(self, unit: int, start: int, stop: int, views: int, check: Callable[[], None]) -> Rows:
        """The first `views` views, merged; a streamed image that has no pixels is lost. Raises PredictError."""
        asked = self.units[unit]
        first, end = (start, stop) if self.starts is None else map(int, self.starts[[start, stop]])
        if first == end:  # empty pages
            return self.no_boxes(stop - start)
        rows = self.task.merge_views(self.view_rows(unit, first, end, views, check), asked.member.merge, self.outputs)
        lost = np.zeros(end - first, dtype=bool)
        lost[[row - first for row in self.pixels[canvas_kind(asked.member)].lost_rows(first, end)]] = True
        if self.starts is None:
            return replace(rows, lost=lost)
        starts = self.starts[start : stop + 1] - first
        pages = np.repeat(np.arange(stop - start), np.diff(starts))
        return replace(rows, starts=starts, lost=np.bincount(pages, lost, stop - start) > 0)

    def view_rows(self, unit: int, first: int, end: int, views: int, check: Callable[[], None]) -> list[Rows]:
        """Items `first` to before `end`, by view. Raises PredictError."""
        assert self.forward is not None and self.info is not None
        asked = self.units[unit]
        self.forward.use_views([self.views[name] for name in asked.member.views[:views]])
        pixels = self.pixels[canvas_kind(asked.member)]
        found = finite_rows(self.forward, pixels, first, end, lambda done: check(), asked.role)
        self.batch_sizes[self.info.run] = self.forward.batch_size
        return found

    def no_boxes(self, pages: int) -> Rows:
        """The rows of pages that have no box."""
        empty = whole_images([], [])
        columns = self.task.fallback(self.outputs, empty).columns
        return Rows(columns, np.zeros(pages + 1, dtype=np.int64), lost=np.zeros(pages, dtype=bool))


def same_shape(first: CheckpointInfo, second: CheckpointInfo) -> bool:
    """Whether two checkpoints are of the same network but for the weights."""
    return (first.net, first.n_classes) == (second.net, second.n_classes)
