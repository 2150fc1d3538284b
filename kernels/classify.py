"""Classify images with an ensemble of sealed fold models, inside a time limit.

On Kaggle it takes no arguments. Anywhere else `--input DIR --output DIR --hours H` replace /kaggle/input,
/kaggle/working and the budget of the spec, and `--probs FILE` saves the blended probabilities.
Exit codes: 0 only with a checked submission; 1 when no unit was finished in time (the submission is then the training
prior); 2 when an input is missing or does not fit.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foldpack.competitions.image_table import (
    ImageTable,
    check_submission,
    read_test_items,
    write_submission,
)
from foldpack.competitions.registry import get_competition
from foldpack.data.items import Items
from foldpack.ensemble.answers import answer_cells
from foldpack.ensemble.blend import merge_views
from foldpack.ensemble.member_blend import MemberBlend
from foldpack.errors import FoldpackError
from foldpack.models.checkpoint import parse_checkpoint_info, restore_net
from foldpack.predict.canvas import Canvas, decode_items
from foldpack.predict.deadline import Deadline, OutOfTime, process_age
from foldpack.predict.finder import find_competition, find_keys, find_sealed
from foldpack.predict.loop import pick_device, predict_logits
from foldpack.predict.units import Unit, plan_units
from foldpack.sealed import load_sealed_tensors
from foldpack.sealed_format import DataKey
from foldpack.sealed_prefetch import SealedPrefetch
from foldpack.spec import EnsembleSpec, parse_spec

BATCH_SIZE = {"cuda": 64, "cpu": 32}


@dataclass(frozen=True)
class KernelPaths:
    """Where the kernel reads and writes."""

    input: Path
    output: Path

    @property
    def submission(self) -> Path:
        """The file to hand in."""
        return self.output / "submission.csv"


class ClassifyKernel:
    """One run of the kernel: what was found, what is finished, and the submission so far."""

    def __init__(self, spec: EnsembleSpec, keys: dict[str, str], paths: KernelPaths, deadline: Deadline) -> None:
        self.spec = spec
        self.keys = keys
        self.paths = paths
        self.deadline = deadline
        self.layout: ImageTable = get_competition(spec.competition)
        self.root = find_competition(paths.input, self.layout, spec.slug)
        self.items: Items = read_test_items(self.layout, self.root)
        self.prior = np.asarray(spec.prior, dtype=np.float32)
        self.blend = MemberBlend(spec, len(self.items))
        self.canvases: dict[int, Canvas] = {}
        self.device = torch.device("cpu")
        self.found_keys: dict[str, DataKey] = {}  # by file id
        self.files: dict[str, Path] = {}  # sealed weights by header hash
        self.seconds: dict[str, float] = {}  # of the last unit of each run

    def say(self, text: str) -> None:
        """One line of the log, with the seconds since the start."""
        print(f"[{self.deadline.elapsed():7.1f} s] {text}", flush=True)

    def submit(self, probs: np.ndarray, threshold: float | list[float] | None) -> None:
        """Replace the submission. probs: (n, C)."""
        spec = self.spec
        answers = answer_cells(probs, spec.classes, spec.task, threshold, spec.min_labels, spec.max_labels)
        write_submission(self.paths.submission, self.layout, self.items.ids, answers)

    def submit_fallback(self) -> None:
        """The training prior for every item: valid from the first second."""
        self.submit(np.tile(self.prior, (len(self.items), 1)), self.spec.threshold)

    def canvas(self, size: int) -> Canvas:
        """All items decoded at this size, once."""
        if size not in self.canvases:
            started = time.monotonic()
            canvas = decode_items(self.items, size, os.cpu_count() or 1, lambda done: self.deadline.check())
            self.say(f"decoded {len(self.items)} images at {size} px in {time.monotonic() - started:.1f} s, "
                     f"{int(canvas.broken.sum())} broken (they get the prior)")
            for reason in canvas.reasons[:5]:
                self.say(f"  {reason}")
            self.canvases[size] = canvas
        return self.canvases[size]

    def load(self, unit: Unit) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Weights and metadata of one unit, decrypted in memory and verified."""
        key = self.found_keys[Path(str(unit.fold.file)).stem]
        return load_sealed_tensors(self.files[str(unit.fold.header)], key, unit.role, unit.fold.header)

    def predict(self, unit: Unit, weights: dict[str, torch.Tensor], metadata: dict[str, str]) -> np.ndarray:
        """(n, C) float32 probabilities of one unit."""
        info = parse_checkpoint_info(metadata, unit.role)
        net = restore_net(weights, info, unit.role).to(self.device)
        canvas = self.canvas(info.net.size)
        logits = predict_logits(net, info.net, canvas.pixels, unit.member.views, self.device,
                                BATCH_SIZE[self.device.type], lambda done: self.deadline.check())
        probs = merge_views(logits, self.spec.task)
        probs[canvas.broken] = self.prior
        return probs

    def run(self, units: list[Unit]) -> None:
        """Predict unit after unit while time lasts; every finished unit is in the submission at once."""
        self.found_keys = find_keys(self.paths.input, self.spec, self.keys)
        self.files = find_sealed(self.paths.input, {str(unit.fold.header): unit.role for unit in units})
        self.device = pick_device()
        self.say(f"{len(self.items)} items, {len(units)} units, on {self.device}")
        with SealedPrefetch(self.load) as prefetch:
            for number, unit in enumerate(units):
                expected = self.seconds.get(unit.member.run, 0.0)
                if expected > self.deadline.left():
                    self.say(f"left out {unit.role}: needs {expected:.0f} s, {self.deadline.left():.0f} s are left")
                    continue
                started = time.monotonic()
                loaded = prefetch.take(unit)
                if number + 1 < len(units):
                    prefetch.start(units[number + 1])  # decrypts while this one predicts
                try:
                    probs = self.predict(unit, *loaded)
                except OutOfTime:
                    self.say(f"stopped inside {unit.role}: the deadline has come")
                    return
                self.finish(unit, probs, time.monotonic() - started)

    def finish(self, unit: Unit, probs: np.ndarray, seconds: float) -> None:
        """Blend a finished unit and hand in what there is."""
        self.blend.add(unit.member.run, probs)
        self.submit(self.blend.result(), self.blend.rule().threshold)
        self.seconds[unit.member.run] = seconds
        self.say(f"unit {self.blend.parts} {unit.role}: {seconds:.1f} s, {self.deadline.left():.0f} s left")


def kernel_options(argv: list[str] | None, spec: EnsembleSpec) -> argparse.Namespace:
    """Paths and hours. On Kaggle arguments are ignored: a notebook's runner brings its own."""
    parser = argparse.ArgumentParser(description=f"{spec.name}: predict the test set and write submission.csv")
    inputs = Path(os.environ.get("FOLDPACK_REHEARSAL_INPUT", "/kaggle/input"))  # set only where a rehearsal must
    output = Path(os.environ.get("FOLDPACK_REHEARSAL_OUTPUT", "/kaggle/working"))
    parser.add_argument("--input", type=Path, default=inputs, help="folder with all inputs")
    parser.add_argument("--output", type=Path, default=output, help="folder for submission.csv")
    parser.add_argument("--hours", type=float, default=spec.budget.hours, help="time limit of the whole kernel")
    parser.add_argument("--probs", type=Path, help="also save the (n, C) float32 probabilities as .npy, to compare")
    return parser.parse_args([] if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else argv)


def main(spec: dict, keys: dict[str, str], argv: list[str] | None = None) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code."""
    ensemble = parse_spec(spec)
    options = kernel_options(argv, ensemble)
    deadline = Deadline(options.hours, ensemble.budget.margin, already_run=process_age())
    try:
        kernel = ClassifyKernel(ensemble, keys, KernelPaths(options.input, options.output), deadline)
        kernel.submit_fallback()
        units = plan_units(ensemble)
        if len(kernel.items):
            kernel.run(units)
        check_submission(kernel.paths.submission, kernel.layout, kernel.root, ensemble.classes)
    except FoldpackError as failure:
        print(f"error: {failure}", flush=True)
        return 2
    if len(kernel.items) and not kernel.blend.parts:
        kernel.say(f"no unit was finished in time; {kernel.paths.submission} holds the training prior")
        return 1
    if options.probs is not None and kernel.blend.parts:
        np.save(options.probs, kernel.blend.result())
    kernel.say(f"submission {kernel.paths.submission}: {len(kernel.items)} rows from {kernel.blend.parts} of "
               f"{len(units)} units")
    return 0
