"""`runs/<run>/fold<k>.state/`: where the training of a fold stands, kept until the fold is finished.

    state.safetensors       all that training changes, after the last epoch, or within one that takes long
    best<e>.safetensors     the best epoch so far: weights, predictions, gallery; the state says which it is

Each is written before what was there is removed, so a process may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foldpack.data.image_place import image_file
from foldpack.settings.label_kinds import QueriesConfig
from foldpack.settings.strict_model import StrictModel
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import FoldResult
from foldpack.train.loop.state import restored_result, result_state
from foldpack.train.loop.state_file import StateError, read_state, write_state

# What decides the numbers of a training, as they are installed.
LIBRARIES = ("accelerate", "albumentations", "numpy", "pillow", "pytorch-metric-learning", "timm", "torch",
             "torchvision")
MISFITS = {"config_sha256": "another configuration", "folds_sha256": "other folds",
           "data_sha256": "other labels or images", "images_sha256": "images whose files have other sizes",
           "reader": "another reader of images"}


class StateInfo(StrictModel):
    """Whose state it is: it only fits what is alike in all of these."""

    version: Literal[2] = 2  # of the format
    run: str
    fold: int
    config_sha256: str
    folds_sha256: str  # of folds.csv
    data_sha256: str  # of labels and the list of images
    images_sha256: str | None = None  # of the sizes of their files; None: written before it was told
    reader: str | None  # of the images
    libraries: dict[str, str]  # and their versions
    device: str = "cpu"  # or "cuda"
    processes: int = 1
    ways: dict[str, bool | int | str] = {}  # to compute: others come to the same but for rounding

    def misfit(self, here: StateInfo) -> str | None:
        """What is not alike, in words; None where all is."""
        for name, text in MISFITS.items():
            there = getattr(self, name)
            if there != getattr(here, name) and not (name == "images_sha256" and there is None):
                return text
        if self.libraries != here.libraries:
            changed = [f"{name} {old} (here {here.libraries.get(name)})" for name, old in sorted(self.libraries.items())
                       if old != here.libraries.get(name)]
            return ", ".join(changed) or "other libraries"
        if (self.device, self.processes) != (here.device, here.processes):
            return f"{self.processes} x {self.device} (here {here.processes} x {here.device})"
        alike = self.model_copy(update={"ways": here.ways, "images_sha256": here.images_sha256})
        return None if alike == here else "another run or fold"

    def other_ways(self, here: StateInfo) -> str:
        """How this training computes in another way, in words; empty where it does not."""
        return ", ".join(f"{name} {here.ways.get(name)} (before: {old})" for name, old in self.ways.items()
                         if old != here.ways.get(name))


def data_digest(data: TrainingSet) -> str:
    """Hex SHA-256 over the ids of the items, in order, their labels, folds, weights and groups."""
    digest = hashlib.sha256(repr((data.task, data.none, data.classes, data.ids, data.answer)).encode())
    if data.queries != QueriesConfig():  # they decide which epoch is best
        digest.update(repr(data.queries).encode())
    for name, column in [("targets", data.targets), ("fold", data.fold), *sorted(data.numbers.items())]:
        digest.update(f"{name} {column.dtype} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def sizes_digest(images: Iterable[Path]) -> str:
    """Hex SHA-256 over the sizes of image files, in order: it tells of nearly every picture that was replaced, costs a
    look into the folder, and is the same of a copy."""
    sizes: dict[Path, str] = {}
    digest = hashlib.sha256()
    for path in images:
        file = image_file(path) or path
        if file not in sizes:
            sizes[file] = str(file.stat().st_size) if file.exists() else "missing"
        digest.update(f"{sizes[file]}\n".encode())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Of those that decide what a training comes to."""
    return {name: version(name) for name in LIBRARIES}


class FoldStates:
    """The saved states of one fold. Only one process may use them at a time."""

    def __init__(self, folder: Path, info: StateInfo, say: Callable[[str], None],
                 anew: Callable[[], None] = lambda: None) -> None:
        """folder: `state_folder` of a run and its fold; info: of this training; anew: called where it begins without a
        state, to remove what an earlier one has left elsewhere."""
        self.folder = folder
        self.info = info
        self.say = say
        self.anew = anew
        self.best_there: int | None = None  # the best epoch that this process has written or read
        self.reached = ""  # how far the state on the disk is, for eyes

    def place(self, device: str, processes: int, ways: dict[str, bool | int | str]) -> None:
        """What the training runs on, "cpu" or "cuda", and how."""
        self.info = self.info.model_copy(update={"device": device, "processes": processes, "ways": ways})

    def write(self, state: dict[str, Any], best: FoldResult | None) -> None:
        """Save a state. Raises StateError for one that cannot be."""
        if best is not None and best.epoch != self.best_there:  # a file may be there of a process that was killed
            write_state(self.best(best.epoch), self.info.model_dump(), result_state(best))
            self.best_there = best.epoch
        write_state(self.state, self.info.model_dump(), {"best": None if best is None else best.epoch, **state})
        self._reach(state)
        for path in self.folder.iterdir():
            if path != self.state and (best is None or path != self.best(best.epoch)):
                path.unlink()

    def read(self) -> tuple[dict[str, Any], FoldResult | None] | None:
        """The state to go on from and the best epoch so far; None where there is none, or one that does not fit, which
        is told and removed."""
        if not self.state.exists():
            self._begin_anew()
            return None
        try:
            (there, state), best = self._read(self.state), None
            self.best_there = epoch = state.pop("best")
            if epoch is not None:
                best = restored_result(self._read(self.best(epoch))[1])
            self._reach(state)
            if others := there.other_ways(self.info):
                self.say(f"warning: {self.info.run} fold {self.info.fold} goes on with {others}; it will not be the "
                         "same to the bit as without a break")
            return state, best
        except StateError as failure:
            self.say(f"{self.info.run} fold {self.info.fold}: {failure}; the fold starts anew")
            self._begin_anew()
            return None

    def _reach(self, state: dict[str, Any]) -> None:
        epoch, batch = (state["progress"][name] for name in ("epoch", "batch"))
        self.reached = f"batch {batch} of epoch {epoch}" if batch else f"the start of epoch {epoch}"

    def remove(self) -> None:
        """The fold is finished."""
        self.reached = ""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin_anew(self) -> None:
        self.best_there = None
        self.remove()
        self.anew()

    def best(self, epoch: int) -> Path:
        """The file of a best epoch."""
        return self.folder / f"best{epoch}.safetensors"

    @property
    def state(self) -> Path:
        """The file of the state."""
        return self.folder / "state.safetensors"

    def _read(self, path: Path) -> tuple[StateInfo, dict[str, Any]]:
        """Whose a file is, and its tree. Raises StateError where it cannot be read, or is of another training."""
        info, tree = read_state(path)
        try:
            there = StateInfo(**info)
            misfit = there.misfit(self.info)
        except ValueError:
            misfit = "another version of foldpack"
        if misfit:
            raise StateError(f"what {self.folder} keeps is of {misfit}")
        return there, tree


def state_folder(folder: Path, fold: int) -> Path:
    """Where the state of a fold lies. folder: of the run."""
    return folder / f"fold{fold}.state"
