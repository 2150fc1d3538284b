"""An ensemble that is asked about one image at a time: the kernel's own code, on the plain weights of its runs.

Decoding, canvases, views, their merge, retrieval, blend, level 2 and decision are those of the packed script. What is
different: weights are read as they lie in `runs/`, and stay in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.app.kept import KeptGalleries, KeptNetworks
from foldpack.competitions.adapters import find_adapter
from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.data.items import whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.data.rows import Rows
from foldpack.engine.units import Unit, plan_units
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.finished_units import Fuser, Level2
from foldpack.ensemble.level2 import BoosterFuser
from foldpack.errors import FoldpackError
from foldpack.predict.pixel_source import HeldPixels, gather_canvases
from foldpack.search.level2.files import booster_folder, read_boosters
from foldpack.settings.ensemble import read_spec
from foldpack.settings.stages import Decision, SpecError
from foldpack.tasks.registry import TASKS

ALL = "ensemble"  # instead of one member
QUERY = "image"  # what the one item is called


class UploadError(FoldpackError):
    """A file that nothing can be said of."""


@dataclass(frozen=True, eq=False)
class ViewSaid:
    """What one view alone comes to. picture: (C, h, w) float32, normalised, as a network got it; numbers: (C,)."""

    name: str
    picture: np.ndarray
    unit: Unit  # whose network got it
    numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class Said:
    """What is said of an image. numbers: (C,) float32 probabilities, values, or scores of identities; cells: those of
    its rows in the submission, by column; vectors: of task embed, by role of the unit, (D,) float32."""

    numbers: np.ndarray
    decision: Decision
    cells: dict[str, list[str]]
    views: list[ViewSaid]
    vectors: dict[str, np.ndarray]
    units: list[Unit]
    notes: list[str]


class AskedEnsemble:
    """An ensemble of one stage, open."""

    def __init__(self, path: Path, runs: Path, reader: Reader) -> None:
        """path: `ensembles/<name>.yml`; runs: folder that holds its runs, whose weights are those of the ensemble;
        reader: of the images. Raises SpecError for an ensemble that looks at more than whole images."""
        self.spec, self.runs, self.reader = read_spec(path), runs, reader
        self.stage = self.spec.last
        if len(self.spec.stages) > 1 or self.stage.task not in TASKS:
            raise SpecError(f"{path}: it has {len(self.spec.stages)} stages, the last of task '{self.stage.task}'; "
                            f"needed: one stage, of task {', '.join(TASKS)}; rehearse its kernel instead")
        self.task = TASKS[self.stage.task]
        self.adapter = find_adapter(self.spec.competition)
        self.units = plan_units(self.stage)
        self.networks = KeptNetworks(self.task, self.stage, runs)
        self.galleries = KeptGalleries(self.stage, runs)
        self.texts = [text for level2 in self.stage.level2 for _, text in read_boosters(booster_folder(path), level2)]
        self._one_at_a_time = threading.Lock()

    @property
    def choices(self) -> list[str]:
        """What can be asked: all members together, or each alone."""
        runs = list(dict.fromkeys(unit.member.run for unit in self.units))
        return [ALL, *runs] if len(runs) > 1 else [ALL]

    def ask(self, path: Path, chosen: str = ALL) -> Said:
        """What is said of an image. chosen: one of `choices`; of a member alone what a kernel hands in that has
        finished only its units.

        Raises UploadError for a file that cannot be decoded, and what the kernel raises.
        """
        with self._one_at_a_time:
            return self._ask(path, chosen)

    def _ask(self, path: Path, chosen: str) -> Said:
        units = [unit for unit in self.units if chosen in (ALL, unit.member.run)]
        pixels, notes = self.decoded(path, units)
        shown = {unit.role: self.networks.view_rows(unit, pixels[canvas_kind(unit.member)]) for unit in units}
        rows, decision = self.fused(units, lambda unit: shown[unit.role], self.with_level2)
        [numbers] = rows.columns.values()
        answers = answers_of(rows, decision, self.stage.outputs)
        sample = self.adapter.made_up([QUERY], self.stage)
        cells = self.adapter.fill(answers, [QUERY], sample).cells()
        vectors = {unit.role: self.merged(unit, shown[unit.role]).columns["vector"][0] for unit in units
                   if self.stage.task == "embed"}
        names = dict.fromkeys(name for unit in units for name in unit.member.views)
        views = [self.by_view(name, units, shown, pixels) for name in names]
        return Said(np.asarray(numbers[0]), decision, cells, views, vectors, units, [*notes, *self.differences()])

    def decoded(self, path: Path, units: list[Unit]) -> tuple[dict[CanvasKind, HeldPixels], list[str]]:
        """The image as the units want it, and what was odd about it. Raises UploadError."""
        kinds = list(dict.fromkeys(canvas_kind(unit.member) for unit in units))
        found = decode_item(path, kinds, self.reader)
        reason = found.reason.replace(str(path), path.name)
        if found.state == "fallback":
            raise UploadError(f"{reason}; choose a picture of a kind that this competition has")
        held = {kind: HeldPixels(kind, gather_canvases(kind, 1, [found.pixels[kind]])) for kind in kinds}
        for each in held.values():
            each.sizes[0] = found.size
        return held, [f"{reason}; a kernel would answer what it says here"] if reason else []

    def fused(self, units: list[Unit], rows_of: Callable[[Unit], list[Rows]],
              level2: Callable[[Fuser], Level2 | None] | None = None) -> tuple[Rows, Decision]:
        """The answer of some units, as the kernel fuses them. rows_of: of a unit, by view."""
        items = whole_images([QUERY], [Path(QUERY)])
        fuser: Fuser = self.galleries.fuser(items) if self.stage.task == "embed" else \
            self.task.fuser(self.stage, items, self.galleries.open)
        top = None if level2 is None else level2(fuser)
        fuser = top or fuser
        for unit in units:
            fuser.add(unit, fuser.answers(unit, self.merged(unit, rows_of(unit))))
        better = None if top is None else top.better(float("inf"), True)
        return better or fuser.result()

    def merged(self, unit: Unit, views: list[Rows]) -> Rows:
        """One answer out of some views of a unit."""
        return self.task.merge_views(views, unit.member.merge, self.stage.outputs)

    def with_level2(self, fuser: Fuser) -> Level2 | None:
        """Boosters on top, where the ensemble has them."""
        return BoosterFuser(self.stage, fuser, self.texts) if self.texts else None

    def by_view(self, name: str, units: list[Unit], shown: dict[str, list[Rows]],
                pixels: dict[CanvasKind, HeldPixels]) -> ViewSaid:
        """What a view alone comes to, blended over all units that have it, without level 2."""
        some = [unit for unit in units if name in unit.member.views]
        rows, _ = self.fused(some, lambda unit: [shown[unit.role][unit.member.views.index(name)]])
        [numbers] = rows.columns.values()
        picture = self.networks.picture(some[0], name, pixels[canvas_kind(some[0].member)])
        return ViewSaid(name, picture, some[0], np.asarray(numbers[0]))

    def differences(self) -> list[str]:
        """Why a kernel may answer otherwise; none usually."""
        reranks = [member.run for member in self.stage.members if member.retrieve is not None and
                   member.retrieve.rerank is not None and member.weight > 0]
        return [f"{', '.join(reranks)}: re-ranking looks at all test images together, and here there is one, so a "
                "kernel may answer otherwise"] if reranks else []
