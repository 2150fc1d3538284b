"""One stage of a kernel: it predicts unit after unit, and fuses and hands in what is finished."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

import torch

from foldpack.data.depth import depth_warning
from foldpack.data.geometry import CanvasKind, canvas_kind, input_share
from foldpack.data.items import Items, whole_images
from foldpack.data.rows import Rows
from foldpack.engine.cost import CostModel
from foldpack.engine.deadline import OutOfTime
from foldpack.engine.engine import Engine, EngineHooks, UnitError
from foldpack.engine.pool import START_METHOD, InlinePool, ProcessPool
from foldpack.engine.store import UnitStore, unit_key
from foldpack.engine.units import Unit, plan_units
from foldpack.engine.work import Begun, ShardFailed, UnitWork, WorkPool, failure_reason
from foldpack.ensemble.finished_units import FinishedUnits, Fuser, Level2
from foldpack.errors import DataError
from foldpack.kernel.decoded_images import open_canvases
from foldpack.kernel.policy import items_digest, script_digest
from foldpack.kernel.session import KernelSession
from foldpack.predict.canvas import CanvasSet
from foldpack.predict.crops import CropStream
from foldpack.predict.device import BATCH_IMAGES
from foldpack.predict.golden import library_versions
from foldpack.predict.pixel_source import PixelSource
from foldpack.predict.room import find_places, own_folder, temp_parents
from foldpack.settings.stages import Decision, StageSpec
from foldpack.tasks.predictor import StagePredictor
from foldpack.tasks.protocol import Task

SHARD_BATCHES = 4  # batches that a worker gets at a time

HandIn = Callable[[Rows, Decision], None]  # the rows of a stage, and what to decide of them


class StageRunner:
    """Predicts one stage: unit after unit while time lasts; what is finished is fused and handed in at once."""

    def __init__(self, kernel: KernelSession, stage: StageSpec, task: Task, items: Items, hand_in: HandIn) -> None:
        """items: of this stage; hand_in: what becomes of an answer."""
        self.task = task
        self.kernel = kernel
        self.stage = stage
        self.items = items
        self.hand_answer_in = hand_in
        self.log = kernel.log
        self.deadline = kernel.deadline.part(stage.share)
        self.images = len(items.ids)
        self.units: list[Unit] = [unit for unit in plan_units(stage) if unit.headers <= kernel.files.keys()]
        self.whole: set[int] = set()  # finished units that are in the store for good
        fuser = task.fuser(stage, items, kernel.open_sealed)
        self.level2 = self.with_level2(fuser)
        self.finished = FinishedUnits(self.level2 or fuser, self.units, self.rows_of)
        spare = next((own_folder(parent, kernel.scratch) / "units" for parent in temp_parents()), None)
        self.store = UnitStore(kernel.units / stage.name, task.layout(stage.outputs, items), spare)
        self.unit_keys: list[str] = []
        self.pages = whole_images(items.ids, items.images, reader=items.reader)  # the engine counts images
        self.canvases = CanvasSet(self.pages, [])  # `run` knows the kinds
        self.answer: Rows | None = None  # as handed in

    @property
    def is_last(self) -> bool:
        """Whether its answer is handed in."""
        return self.stage is self.kernel.spec.last

    def identity(self) -> dict[str, object]:
        """What decides the predictions of all units."""
        return {"code": script_digest(), "items": items_digest(self.items), "versions": library_versions(),
                  "device": [self.kernel.devices[0].title, self.kernel.devices[0].precision],
                  "stage": [self.stage.name, self.stage.task, self.stage.outputs.model_dump(mode="json")]}

    def identities(self) -> list[str]:
        """What every unit's predictions are kept under: everything that decides them."""
        common = self.identity()
        return [unit_key({**common, "role": unit.role, "header": unit.fold.header, "views": unit.member.views,
                          "merge": unit.member.merge, "canvas": str(canvas_kind(unit.member))})
                for unit in self.units]

    def run(self) -> Rows | None:
        """The answer of what is finished; None where that is nothing, or where no image is asked for."""
        if not self.images:
            return None
        devices = self.kernel.devices
        frozen_key = unit_key({**self.identity(), "frozen": self.stage.model_dump(mode="json")})
        if not self.is_last and (frozen := self.store.frozen(frozen_key)) is not None:
            self.log.say(f"{self.stage.name}: finished by a process before this one")
            return frozen
        self.unit_keys = self.identities()
        self.store.remove_halves(self.unit_keys)
        earlier = [index for index, key in enumerate(self.unit_keys) if self.store.finished(key)]
        if not earlier and self.is_last:
            self.kernel.forget_kept()
        where = ", ".join(device.title for device in devices)
        self.log.say(f"{self.stage.name}: {self.images} items, {len(self.units)} units ({len(earlier)} finished "
                     f"before) on {where}")
        shared = self.kernel.workers > 0 or len(devices) > 1
        kinds = Counter(canvas_kind(unit.member) for unit in self.units)
        places = find_places(self.kernel.scratch, shared, self.store.bytes_of(len(self.units)))
        self.canvases = open_canvases(self.pages, kinds, places, len(devices), self.log)
        with ExitStack() as closing:
            closing.callback(self.kernel.remove_empty)
            closing.callback(self.store.remove_halves, self.unit_keys)
            closing.callback(self.close_canvases)
            pool = self.open_pool(shared)
            closing.callback(pool.close)
            self.canvases.start(os.cpu_count() or 1)
            self.work(pool, self.take_earlier(earlier))
        if not self.is_last and self.finished.added:
            self.answer = self.finished.fuser.result()[0]
            self.store.freeze(frozen_key, self.answer)
        if self.level2 is not None and self.level2.stale:
            self.deadline.reserve(0.0)  # it was too slow to answer after every unit
            self.hand_in(last=True)
        return self.answer

    def with_level2(self, fuser: Fuser) -> Level2 | None:
        """Level 2 on top of a fuser, where the ensemble has it and all of it is there."""
        if self.kernel.level2 is None:
            return None
        try:
            return self.kernel.level2(
                self.kernel.spec, self.stage, fuser, self.kernel.files, self.kernel.found_keys)
        except Exception as failure:
            self.level2_failed(failure)
            return None

    def close_canvases(self) -> None:
        """No image is needed any more: say how they were."""
        self.canvases.close()
        self.kernel.counts = self.canvases.counts()
        self.log.note("images", **self.kernel.counts)
        for reason in self.canvases.reasons(most=5):
            self.log.say(f"  {reason}")
        if warning := depth_warning(self.canvases.report.largest.values()):
            self.log.say(f"warning: {warning}")

    def open_pool(self, with_processes: bool) -> WorkPool:
        """A process for each device, or this one."""
        names = [device.name for device in self.kernel.devices]
        predictor = StagePredictor(self.task, self.stage.outputs, self.units, self.kernel.files,
                                   self.kernel.found_keys, self.pixels(),
                                   None if self.items.box is None else self.items.starts,
                                   {device.name: device.precision for device in self.kernel.devices},
                                   self.kernel.views, self.kernel.networks)
        if not with_processes:
            return InlinePool(predictor, self.store, self.unit_keys, names[0], self.deadline.check)
        threads = max(1, torch.get_num_threads() // len(names))
        return ProcessPool(predictor, self.store, self.unit_keys, names, START_METHOD, threads, self.log.say)

    def pixels(self) -> dict[CanvasKind, PixelSource]:
        """What the units read: canvases of whole images, or crops of boxes."""
        items, pixels = self.items, dict(self.canvases.pixels)
        for kind in [kind for kind in pixels if kind.geometry.kind == "box"]:
            pixels[kind] = CropStream(items, kind)
        return pixels

    def work(self, pool: WorkPool, earlier: set[int]) -> None:
        """Let the engine run over the units."""
        costs = CostModel({unit.member.run: unit.member.seconds_per_image for unit in self.units})
        work = [UnitWork(unit.role, unit.member.run, len(unit.member.views), self.view_costs(unit))
                for unit in self.units]
        rows = SHARD_BATCHES * BATCH_IMAGES[self.kernel.devices[0].name.partition(":")[0]]
        hooks = EngineHooks(begin=self.begin, finish=self.finish, failed=self.unit_failed,
                            rows_ready=self.rows_ready, images_left=self.canvases.seconds_left)
        engine = Engine(work, self.images, rows, pool, costs, self.deadline, hooks, self.log, earlier)
        try:
            engine.run()
        except OutOfTime:
            self.log.note("deadline", inside=True)

    def view_costs(self, unit: Unit) -> tuple[float, ...]:
        """What each view of a unit costs: the more pixels it shows to the network, the more."""
        return tuple(input_share(unit.member, self.kernel.views[name].side) for name in unit.member.views)

    def rows_ready(self, rows: int, seconds: float) -> bool:
        """Whether the first `rows` images are decoded. Raises DataError once it is known that no image can be read."""
        ready = self.canvases.wait(rows, seconds)
        if self.canvases.counts()["prior"] == self.images:
            raise DataError(f"{self.items.images[0].parent}: not one of the {self.images} test images can be read; "
                            f"{self.canvases.reasons(most=1)[0]}; attach the whole test folder that belongs to "
                            f"{self.kernel.submission.fallback.sample.name}")
        return ready

    def begin(self, unit: int) -> Begun:
        """Room for a unit's predictions."""
        begun = self.store.begin(self.unit_keys[unit])
        if begun.folder != self.store.folder:
            self.log.say(f"{self.units[unit].role}: no room for its predictions in {self.store.folder}; they go to "
                         f"{begun.folder}, where a restart does not look for them")
        return begun

    def unit_failed(self, event: ShardFailed) -> None:
        """One unit cannot be predicted: an error, or the others go on without it."""
        if not self.kernel.stands:
            raise event.failure or UnitError(event.reason)
        self.kernel.failed += 1
        with suppress(OSError):  # what cannot be removed stays
            self.store.drop(self.unit_keys[event.shard.unit])

    def level2_failed(self, failure: Exception) -> None:
        """Level 2 cannot answer: an error, or the blend stands without it."""
        if not self.kernel.stands:
            raise failure
        self.log.note("level 2 failed", reason=failure_reason(failure))
        self.level2 = None

    def rows_of(self, unit: int) -> Rows:
        """The rows of a finished unit; for images that were lost those of the fallback, with their marks."""
        rows = self.store.finish(self.unit_keys[unit], unit in self.whole)
        lost = self.canvases.broken if rows.lost is None else self.canvases.broken | rows.lost
        return replace(rows.filled(lost, self.task.fallback(self.stage.outputs, self.items)), lost=lost)

    def take_earlier(self, earlier: list[int]) -> set[int]:
        """Blend what a process before this one has finished, when it is known which images are broken. Returns it."""
        while earlier and self.deadline.left() > 0 and not self.rows_ready(self.images, 1.0):
            pass
        for unit in earlier:
            try:
                self.finish(unit, True)
            except Exception as failure:
                if not self.kernel.stands:
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
        finally:
            self.kernel.done[self.stage.name] = [self.units[other].role for other in self.finished.added]
        self.deadline.bind()
        self.log.say(f"unit {len(self.finished.added)} {self.units[unit].role}: in the submission after "
                     f"{time.monotonic() - started:.1f} s, {self.deadline.left():.0f} s left")

    def hand_in(self, last: bool) -> None:
        """Hand in the blend, then level 2's answer where it is ready and there is time for it; of the last stage."""
        if not self.finished.added or not self.is_last:
            return
        self.answer, decision = self.finished.fuser.result()
        self.hand_answer_in(self.answer, decision)
        if self.level2 is None:
            return
        try:
            better = self.level2.better(self.deadline.left(), last)
        except Exception as failure:
            return self.level2_failed(failure)
        if better is not None:
            self.answer = better[0]
            self.hand_answer_in(*better)
            self.deadline.reserve(1.5 * self.level2.seconds)
