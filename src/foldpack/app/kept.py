"""Networks and galleries of an ensemble's runs, read once and kept in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.data.runs import checkpoint_path, gallery_path
from foldpack.engine.units import Unit
from foldpack.ensemble.retrieve.retriever import Retriever
from foldpack.models.checkpoint import read_tensors
from foldpack.models.classifier import normalise
from foldpack.models.gallery import Gallery, read_gallery
from foldpack.models.own_network import own_network
from foldpack.predict.batch import Batch
from foldpack.predict.device import probe_devices
from foldpack.predict.pixel_source import HeldPixels
from foldpack.predict.view_pixels import grey_pixels
from foldpack.predict.views import parse_view
from foldpack.settings.ensemble import SealedPart, gallery_role
from foldpack.settings.network import NetConfig
from foldpack.settings.stages import StageSpec
from foldpack.tasks.embed import NeighbourFuser
from foldpack.tasks.predictor import LoadedWeights, StagePredictor
from foldpack.tasks.protocol import Task

KEPT_BYTES = 4 << 30  # of networks; of more the one that was not asked for longest is read again


class PlainPredictor(StagePredictor):
    """The kernel's predictor of one unit, whose weights are not sealed. files: by role."""

    def load(self, unit: int) -> LoadedWeights:
        """Raises ModelError."""
        return read_tensors(self.files[self.units[unit].role])


class KeptNetworks:
    """The networks of a stage, each built when it is first asked."""

    def __init__(self, task: Task, stage: StageSpec, runs: Path) -> None:
        self.task, self.outputs, self.runs = task, stage.outputs, runs
        self.device = probe_devices(limit=1)[0]
        self._kept: dict[str, PlainPredictor] = {}

    def predictor(self, unit: Unit) -> PlainPredictor:
        """With its network on the device. Raises ModelError, GoldenError, CanvasMismatchError."""
        made = self._kept.pop(unit.role, None) or self.built(unit)
        self._kept[unit.role] = made  # behind those that were not asked for longer
        while len(self._kept) > 1 and sum(map(net_bytes, self._kept.values())) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        return made

    def built(self, unit: Unit) -> PlainPredictor:
        """Read, built and checked as in the kernel."""
        member, files = unit.member, {unit.role: checkpoint_path(self.runs / unit.member.run, unit.fold.fold)}
        make = None if member.network is None else own_network(NetConfig(arch=member.network, size=member.size))
        made = PlainPredictor(self.task, self.outputs, [unit], files, {}, {}, None,
                              {self.device.name: self.device.precision},
                              {name: parse_view(name) for name in member.views},
                              {} if make is None else {str(member.network): make})
        made.open(self.device.name)
        made.pixels = {}
        return made

    def view_rows(self, unit: Unit, pixels: HeldPixels) -> list[Rows]:
        """What a unit says of one image, by view. Raises PredictError."""
        made = self.predictor(unit)
        made.pixels = {pixels.kind: pixels}
        if made.net is None:
            made.build(0, made.load(0))
        return made.view_rows(0, 0, 1, len(unit.member.views), lambda: None)

    def picture(self, unit: Unit, name: str, pixels: HeldPixels) -> np.ndarray:
        """(C, h, w) float32, normalised: what the network gets of a view."""
        made = self.predictor(unit)
        assert made.info is not None  # it was asked
        config, view = made.info.net, parse_view(name)
        canvas = torch.from_numpy(np.array(pixels.row(0)))[None]
        grey = normalise(grey_pixels(canvas), config) if view.grey else None
        [(_, shown)] = Batch(normalise(canvas, config), config, grey).shown([view])
        return shown[0].float().numpy()

    def config(self, unit: Unit) -> NetConfig:
        """Of a network that was asked."""
        info = self.predictor(unit).info
        assert info is not None
        return info.net


def net_bytes(made: StagePredictor) -> int:
    """Of the weights."""
    return 0 if made.net is None else sum(each.nbytes for each in made.net.state_dict().values())


@dataclass(frozen=True, eq=False)
class Known:
    """A gallery, as it lies on the disk and as it is compared with."""

    gallery: Gallery
    retriever: Retriever


class KeptGalleries:
    """The galleries of a stage of task embed, each read when it is first asked."""

    def __init__(self, stage: StageSpec, runs: Path) -> None:
        self.stage, self.runs = stage, runs
        self.paths = {gallery_role(member.run, fold.fold): gallery_path(runs / member.run, fold.fold)
                      for member in stage.members for fold in member.folds}
        self._kept: dict[str, Known] = {}

    def open(self, part: SealedPart) -> LoadedWeights:
        """What a kernel would open sealed. Raises ModelError."""
        return read_tensors(self.paths[part.role])

    def fuser(self, items: Items) -> NeighbourFuser:
        """The kernel's, with galleries that are kept."""
        return KeptFuser(self.stage, items, self)

    def known(self, unit: Unit, make: NeighbourFuser) -> Known:
        """The gallery of a unit. make: reads it. Raises ModelError."""
        if unit.role not in self._kept:
            gallery = read_gallery(gallery_path(self.runs / unit.member.run, unit.fold.fold), unit.fold.sha256)
            self._kept[unit.role] = Known(gallery, NeighbourFuser.retriever(make, unit))
        return self._kept[unit.role]

    def asked(self, unit: Unit) -> Known:
        """That of a unit which was asked already."""
        return self._kept[unit.role]


class KeptFuser(NeighbourFuser):
    """The kernel's fuser, whose galleries are read once for all images."""

    def __init__(self, stage: StageSpec, items: Items, kept: KeptGalleries) -> None:
        super().__init__(stage, items, kept.open)
        self._kept = kept

    def retriever(self, unit: Unit) -> Retriever:
        """`NeighbourFuser.retriever`."""
        return self._kept.known(unit, self).retriever
