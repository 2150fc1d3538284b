"""What all stages of one run of a kernel share: its inputs, its devices, its clock, and the submission so far."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch

from foldpack.competitions.protocol import AskedCompetition
from foldpack.data.rows import Rows
from foldpack.engine.deadline import Deadline
from foldpack.engine.units import plan_units
from foldpack.ensemble.finished_units import OpenLevel2
from foldpack.kernel.fallback import Fallback
from foldpack.kernel.inputs import InputError, find_keys, find_sealed, missing_text
from foldpack.kernel.start import KernelStart
from foldpack.kernel.submission import Submission
from foldpack.models.classifier import MakeNet
from foldpack.predict.device import ProbedDevice, cpu_device, probe_devices
from foldpack.predict.view import View
from foldpack.sealed.container import load_sealed_tensors
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec, SealedPart, sealed_parts
from foldpack.settings.stages import Decision


class KernelSession:
    """One run of the kernel: what was found, what is finished, and the submission so far."""

    def __init__(self, spec: EnsembleSpec, keys: dict[str, str], start: KernelStart, deadline: Deadline,
                 fallback: Fallback, adapter: AskedCompetition, views: Mapping[str, View],
                 networks: Mapping[str, MakeNet], level2: OpenLevel2 | None = None) -> None:
        """start: options and log; fallback: the submission until there is a better one; adapter: of the competition;
        views: of all members, by name; networks: of the project's own, by `arch`; level2: where there is one."""
        self.spec = spec
        self.keys = keys
        self.views = views
        self.networks = networks
        self.level2 = level2  # opens it
        self.input: Path = start.options.input
        self.scratch: Path = start.options.scratch
        self.units = self.scratch / "units"  # finished units, a folder a stage
        self.workers: int = start.options.workers
        self.deadline = deadline
        self.log = start.log
        self.stands = start.stands  # after an error go on with what there is
        self.submission = Submission(spec, fallback, adapter)
        self.items = self.submission.items
        self.rows: Rows | None = None  # as handed in
        self.planned = [unit.role for stage in spec.stages for unit in plan_units(stage)]
        self.done: dict[str, list[str]] = {}  # stage -> roles of its finished units
        self.files: dict[str, Path] = {}  # sealed files by header hash
        self.found_keys: dict[str, DataKey] = {}  # by file id
        self.devices: list[ProbedDevice] = []
        self.counts = {"decoded": 0, "repaired": 0, "prior": 0}  # images of the last stage that was begun
        self.began = deadline.elapsed()  # seconds after the start of the process
        self.failed = 0  # units
        self.kept = False  # the submission of a process before this one

    def first_submission(self) -> None:
        """The prior, unless a process before this one was cut off and has left a valid submission, perhaps better.

        The first part of a packed script has done so already, but for the look at what is answered.
        """
        self.kept = self.submission.fallback.stand(self.units / self.spec.last.name, self.submission.is_valid)
        for note in self.items.notes:
            self.log.say(f"warning: {note}")

    def forget_kept(self) -> None:
        """The submission that was kept is not of these very weights."""
        if self.kept:
            self.submission.fallback.write()

    def find_inputs(self) -> None:
        """Keys and sealed files. What is missing is named before any work; then the rest goes on only if it may."""
        self.found_keys = find_keys(self.input, self.spec, self.keys)
        wanted = {part.header: part.role for part in sealed_parts(self.spec)}
        self.files, missing, damaged = find_sealed(self.input, wanted)
        if missing and not (self.stands and self.files):
            raise InputError(missing_text(missing, self.input, damaged))
        if missing:
            self.log.note("inputs missing", missing=missing, damaged=damaged)

    def open_sealed(self, part: SealedPart) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Tensors and metadata of a sealed file that was found. Raises SealedError."""
        key = self.found_keys[Path(part.file).stem]
        return load_sealed_tensors(self.files[part.header], key, part.role, part.header)

    def find_devices(self) -> None:
        """Try the GPUs, or take as many CPU processes as were asked for. Work begins here."""
        self.began = self.deadline.elapsed()
        self.devices = [cpu_device()] * self.workers if self.workers else probe_devices()

    def hand_in(self, rows: Rows, decision: Decision) -> None:
        """Replace the submission. rows: of the last stage."""
        self.submission.write(rows, decision)
        self.rows = rows  # what could not be written was not handed in

    def tidy(self) -> None:
        """Nothing is left for a restart to take up."""
        shutil.rmtree(self.units, ignore_errors=True)
        self.remove_empty()

    def remove_empty(self) -> None:
        """Remove our folders where nothing is left in them."""
        for folder in (self.units, self.scratch):
            with suppress(OSError):
                folder.rmdir()

    def close(self) -> None:
        """The last words: what is in the submission, and what is not."""
        done = {role for roles in self.done.values() for role in roles}
        holds = "the blend of what is finished" if self.rows is not None else self.submission.fallback.holds()
        self.log.note("end", rows=len(self.items.answer_ids), **self.counts,
                      units=f"{len(done)} of {len(self.planned)}", submission=holds,
                      left_out=[role for role in self.planned if role not in done], warnings=self.items.notes)
