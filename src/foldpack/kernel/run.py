"""One run of a kernel: it finds its inputs, predicts unit after unit, and hands in the blend of what is finished."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch

from foldpack.data.depth import depth_warning
from foldpack.engine.cost import CostModel
from foldpack.engine.deadline import Deadline, OutOfTime
from foldpack.engine.engine import Engine, EngineHooks, UnitError, UnitWork
from foldpack.engine.pool import START_METHOD, InlinePool, ProcessPool
from foldpack.engine.store import UnitStore, has_finished_units, unit_key
from foldpack.engine.units import Unit, canvas_kind, plan_units
from foldpack.engine.work import ShardFailed, WorkPool, failure_reason
from foldpack.ensemble.finished_units import FinishedUnits
from foldpack.ensemble.level2 import read_booster_texts
from foldpack.errors import DataError
from foldpack.kernel.decoded_images import open_canvases
from foldpack.kernel.fallback import Fallback
from foldpack.kernel.inputs import InputError, find_keys, find_sealed, missing_text
from foldpack.kernel.policy import (
    items_digest,
    script_digest,
)
from foldpack.kernel.start import KernelStart
from foldpack.kernel.submission import Submission
from foldpack.predict.canvas import CanvasSet
from foldpack.predict.device import BATCH_IMAGES, ProbedDevice, cpu_device, probe_devices
from foldpack.predict.golden import library_versions
from foldpack.predict.room import find_places, own_folder, temp_parents
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec, sealed_parts
from foldpack.tasks.classify import ClassifyPredictor

SHARD_BATCHES = 4  # batches that a worker gets at a time


class KernelRun:
    """One run of the kernel: what was found, what is finished, and the submission so far."""

    def __init__(self, spec: EnsembleSpec, keys: dict[str, str], start: KernelStart, deadline: Deadline,
                 fallback: Fallback) -> None:
        """start: options and log; fallback: the submission until there is a better one."""
        self.spec = spec
        self.stage = spec.last
        self.keys = keys
        self.input: Path = start.options.input
        self.scratch: Path = start.options.scratch
        self.deadline = deadline
        self.log = start.log
        self.stands = start.stands  # after an error go on with what there is
        self.submission = Submission(spec, fallback)
        self.items = self.submission.items
        self.answer: np.ndarray | None = None  # (n, C), as handed in
        self.units: list[Unit] = plan_units(self.stage)
        self.planned = [unit.role for unit in self.units]
        self.whole: set[int] = set()  # finished units that are in the store for good
        self.files: dict[str, Path] = {}  # sealed files by header hash
        self.found_keys: dict[str, DataKey] = {}  # by file id
        self.finished = FinishedUnits(self.stage, len(self.items), [], self.probs_of)
        spare = next((own_folder(parent, self.scratch) / "units" for parent in temp_parents()), None)
        self.store = UnitStore(self.scratch / "units", len(self.items), len(self.stage.outputs.names), spare)
        self.unit_keys: list[str] = []
        self.devices: list[ProbedDevice] = []
        self.canvases = CanvasSet(self.items, [])  # `run` knows the kinds
        self.began = deadline.elapsed()  # seconds after the start of the process
        self.failed = 0  # units
        self.kept = False  # the submission of a process before this one

    def first_submission(self) -> None:
        """The prior, unless a process before this one was cut off and has left a valid submission, perhaps better.

        The first part of a packed script has done so already, but for the look at the classes.
        """
        self.kept = has_finished_units(self.store.folder) and self.submission.is_valid()
        self.submission.fallback.remove_halves()
        if not self.kept:
            self.submission.write_prior()
        for note in self.items.notes:
            self.log.say(f"warning: {note}")

    def tidy(self) -> None:
        """Nothing is left for a restart to take up."""
        self.store.remove()
        with suppress(OSError):  # something else lies there
            self.scratch.rmdir()

    def close(self) -> None:
        """The last words: what is in the submission, and what is not."""
        done = {self.units[unit].role for unit in self.finished.added}
        holds = "the blend of what is finished" if done else self.submission.fallback.holds()
        units = f"{len(done)} of {len(self.planned)}"
        self.log.note("end", rows=len(self.items), **self.canvases.counts(), units=units, submission=holds,
                      left_out=[role for role in self.planned if role not in done], warnings=self.items.notes)

    def find_inputs(self) -> None:
        """Keys and sealed files. What is missing is named before any work; then the rest goes on only if it may."""
        self.found_keys = find_keys(self.input, self.spec, self.keys)
        wanted = {part.header: part.role for part in sealed_parts(self.spec)}
        self.files, missing, damaged = find_sealed(self.input, wanted)
        if missing and not (self.stands and self.files):
            raise InputError(missing_text(missing, self.input, damaged))
        if missing:
            self.log.note("inputs missing", missing=missing, damaged=damaged)
            self.units = [unit for unit in self.units if unit.fold.header in self.files]
        self.finished.runs = [unit.member.run for unit in self.units]
        if self.spec.boosters and all(one.header in self.files for one in self.spec.boosters):
            try:
                self.finished.booster_texts = read_booster_texts(self.spec, self.files, self.found_keys)
            except Exception as failure:
                self.level2_failed(failure)

    def identities(self) -> list[str]:
        """What every unit's predictions are kept under: everything that decides them."""
        common = {"code": script_digest(), "items": items_digest(self.items), "versions": library_versions(),
                  "device": [self.devices[0].title, self.devices[0].precision],
                  "stage": [self.stage.name, self.stage.task, self.stage.outputs.link]}
        return [unit_key({**common, "role": unit.role, "header": unit.fold.header, "views": unit.member.views,
                          "merge": unit.member.merge, "canvas": [canvas_kind(unit).size, canvas_kind(unit).decoder]})
                for unit in self.units]

    def run(self, workers: int) -> None:
        """Predict unit after unit while time lasts; every finished unit is in the submission at once."""
        self.find_inputs()
        self.began = self.deadline.elapsed()
        self.devices = [cpu_device()] * workers if workers else probe_devices()
        self.store.remove_halves()
        self.unit_keys = self.identities()
        earlier = [index for index, key in enumerate(self.unit_keys) if self.store.finished(key)]
        if self.kept and not earlier:  # the submission that was kept is not of these very weights
            self.submission.write_prior()
        where = ", ".join(device.title for device in self.devices)
        self.log.say(f"{len(self.items)} items, {len(self.units)} units ({len(earlier)} finished before) on {where}")
        shared = workers > 0 or len(self.devices) > 1
        kinds = Counter(map(canvas_kind, self.units))
        places = find_places(self.scratch, shared, self.store.bytes_of(len(self.units)))
        self.canvases = open_canvases(self.items, kinds, places, len(self.devices), self.log)
        with ExitStack() as closing:
            closing.callback(self.store.remove_halves)
            closing.callback(self.close_canvases)
            pool = self.open_pool(shared)
            closing.callback(pool.close)
            self.canvases.start(os.cpu_count() or 1)
            self.work(pool, self.take_earlier(earlier))
        if self.finished.booster_texts and self.finished.level2_units < len(self.finished.added):
            self.deadline.reserve(0.0)  # it was too slow to answer after every unit
            self.hand_in(last=True)

    def close_canvases(self) -> None:
        """No image is needed any more: say how they were."""
        self.canvases.close()
        self.log.note("images", **self.canvases.counts())
        for reason in self.canvases.reasons(most=5):
            self.log.say(f"  {reason}")
        if warning := depth_warning(self.canvases.report.largest.values()):
            self.log.say(f"warning: {warning}")

    def open_pool(self, with_processes: bool) -> WorkPool:
        """A process for each device, or this one."""
        names = [device.name for device in self.devices]
        task = "multiclass" if self.stage.outputs.exclusive else "multilabel"
        predictor = ClassifyPredictor(self.units, self.files, self.found_keys, self.canvases.pixels, task,
                                      {device.name: device.precision for device in self.devices})
        if not with_processes:
            return InlinePool(predictor, self.store, self.unit_keys, names[0], self.deadline.check)
        threads = max(1, torch.get_num_threads() // len(names))
        return ProcessPool(predictor, self.store, self.unit_keys, names, START_METHOD, threads, self.log.say)

    def work(self, pool: WorkPool, earlier: set[int]) -> None:
        """Let the engine run over the units."""
        costs = CostModel({unit.member.run: unit.member.seconds_per_image for unit in self.units})
        work = [UnitWork(unit.role, unit.member.run, len(unit.member.views)) for unit in self.units]
        rows = SHARD_BATCHES * BATCH_IMAGES[self.devices[0].name.partition(":")[0]]
        hooks = EngineHooks(begin=self.begin, finish=self.finish, failed=self.unit_failed,
                            rows_ready=self.rows_ready, images_left=self.canvases.seconds_left)
        engine = Engine(work, len(self.items), rows, pool, costs, self.deadline, hooks, self.log, earlier)
        try:
            engine.run()
        except OutOfTime:
            self.log.note("deadline", inside=True)

    def rows_ready(self, rows: int, seconds: float) -> bool:
        """Whether the first `rows` items are decoded. Raises DataError once it is known that no image can be read."""
        ready = self.canvases.wait(rows, seconds)
        if self.canvases.counts()["prior"] == len(self.items):
            raise DataError(f"{self.items.images[0].parent}: not one of the {len(self.items)} test images can be read; "
                            f"{self.canvases.reasons(most=1)[0]}; attach the whole test folder that belongs to "
                            f"{self.submission.fallback.layout.sample_csv}")
        return ready

    def begin(self, unit: int) -> None:
        """Room for a unit's predictions."""
        folder = self.store.begin(self.unit_keys[unit])
        if folder != self.store.folder:
            self.log.say(f"{self.units[unit].role}: no room for its predictions in {self.store.folder}; they go to "
                         f"{folder}, where a restart does not look for them")

    def unit_failed(self, event: ShardFailed) -> None:
        """One unit cannot be predicted: an error, or the others go on without it."""
        if not self.stands:
            raise event.failure or UnitError(event.reason)
        self.failed += 1
        with suppress(OSError):  # what cannot be removed stays
            self.store.drop(self.unit_keys[event.shard.unit])

    def level2_failed(self, failure: Exception) -> None:
        """Level 2 cannot answer: an error, or the blend stands without it."""
        if not self.stands:
            raise failure
        self.log.note("level 2 failed", reason=failure_reason(failure))
        self.finished.booster_texts = []

    def probs_of(self, unit: int) -> np.ndarray:
        """(n, C) of a finished unit; broken images have the prior."""
        probs = np.array(self.store.finish(self.unit_keys[unit], unit in self.whole))
        probs[self.canvases.broken | np.isnan(probs).any(axis=1)] = self.submission.prior
        return probs

    def take_earlier(self, earlier: list[int]) -> set[int]:
        """Blend what a process before this one has finished, when it is known which images are broken. Returns it."""
        while earlier and self.deadline.left() > 0 and not self.rows_ready(len(self.items), 1.0):
            pass
        for unit in earlier:
            try:
                self.finish(unit, True)
            except Exception as failure:
                if not self.stands:
                    raise
                self.log.note("unit failed", unit=self.units[unit].role, reason=failure_reason(failure))
                with suppress(OSError):
                    self.store.drop(self.unit_keys[unit])
        return set(self.finished.added)

    def finish(self, unit: int, whole: bool) -> None:
        """Blend and hand in a unit, or raise without it. whole: with all its views, so that a restart may take it."""
        started = time.monotonic()
        if whole:
            self.whole.add(unit)
        try:
            self.finished.add(unit)
            self.hand_in(last=False)
        except Exception:
            self.whole.discard(unit)
            self.finished.drop(unit)
            raise
        self.log.say(f"unit {len(self.finished.added)} {self.units[unit].role}: in the submission after "
                     f"{time.monotonic() - started:.1f} s, {self.deadline.left():.0f} s left")

    def hand_in(self, last: bool) -> None:
        """Replace the submission by the blend, then by level 2's answer where it is ready and there is time for it."""
        if not self.finished.added:
            return
        self.answer, threshold = self.finished.blended()
        self.submission.write(self.answer, threshold)
        try:
            better = self.finished.level2(self.answer, self.deadline.left(), last)
        except Exception as failure:
            return self.level2_failed(failure)
        if better is not None:
            self.answer = better[0]
            self.submission.write(*better)
            self.deadline.reserve(1.5 * self.finished.level2_seconds)
