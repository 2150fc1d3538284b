"""When a fold counts as finished: its predictions are whole, finite, of its checkpoint, and of the training at hand."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from foldpack.data.rows import Rows
from foldpack.data.runs import checkpoint_path
from foldpack.models.checkpoint import CheckpointInfo
from foldpack.train.loop.states import MISFITS, FoldStates, StateInfo

TOLD_LATER = ("data_sha256", "images_sha256")  # that older checkpoints do not tell
WITH = "with "  # begins the fault of a fold that is whole, and of another training
JOINED = ("meta.json", "oof", "oof.npy", "oof.csv", "targets.npy")  # of all folds, beside what is of one
COPIED = ("config.yml", "log.jsonl")


def fold_fault(info: CheckpointInfo, here: StateInfo, views: Sequence[Rows], shapes: list[tuple[int, int]],
               oof_sha256: str) -> str | None:
    """Why a fold that has weights and predictions is not finished all the same; None where it is.

    info: of the weights; here: of the training at hand; shapes: that the predictions by view must have; oof_sha256: of
    those that are there. What older checkpoints do not tell is not asked.
    """
    for name, text in MISFITS.items():
        there = getattr(info, name)
        if there != getattr(here, name) and not (name in TOLD_LATER and there is None):
            return f"{WITH}{text}"
    columns = [column for view in views for column in view.columns.values()]
    if [column.shape for column in columns] != shapes:
        return "its predictions are of other items or views"
    if info.oof_sha256 not in (None, oof_sha256):
        return "its predictions were changed since, or are those of other weights"
    return None if all(np.isfinite(column).all() for column in columns) else "some of its predictions are not finite"


def tell_and_keep(run: str, folder: Path, changed: str, lost: dict[int, str | None]) -> Iterator[str]:
    """Lines on what was finished and counts no more; weights of another training are moved out of the way, not lost.

    folder: of the run; changed: settings that are not as they were; lost: why the folds that are to be trained are not
    finished.
    """
    if changed:
        yield f"{run}: begun with another configuration, which counts no more: {changed}"
    for fold, fault in lost.items():
        if fault:
            yield f"{run} fold {fold}: finished before, but {fault}; it is trained anew"
    others = [fold for fold, fault in lost.items() if fault and fault.startswith(WITH)]
    if place := set_aside(folder, None if changed else others):
        yield f"{run}: the finished folds of before are kept in {place}; remove it when you need them no more"


def set_aside(folder: Path, folds: Sequence[int] | None) -> Path | None:
    """Move finished folds, with what was joined of them, into a folder of their own below the run's. folds: None for
    all. Returns where; None where none is finished."""
    of_fold = {path: int(found[1]) for path in folder.glob("fold*.*") if path.suffix != ".state"
               and (found := re.match(r"fold(\d+)\.", path.name))}
    finished = [fold for path, fold in of_fold.items() if path == checkpoint_path(folder, fold)
                and (folds is None or fold in folds)]
    if not finished:
        return None
    place = next(path for number in count(1) if not (path := folder / f"before{number}").exists())
    place.mkdir()
    for name in COPIED:
        if (folder / name).exists():
            shutil.copy2(folder / name, place / name)
    for path in [*(path for path, fold in of_fold.items() if fold in finished), *(folder / name for name in JOINED)]:
        if path.exists():
            path.rename(place / path.name)
    return place


def remove_rests(folder: Path, fold: int) -> None:
    """Remove what a process that was killed has left half written of a fold. folder: of the run."""
    for path in folder.glob(f".fold{fold}.*.tmp"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def what_is_kept(folder: Path, folds: Sequence[int], begun: dict[int, FoldStates]) -> str:
    """What is kept of some folds, for eyes. folder: of the run; begun: those whose training was begun."""
    finished = [str(fold) for fold in folds if checkpoint_path(folder, fold).exists()]
    parts = [f"finished folds {', '.join(finished)}"] if finished else []
    parts += [f"fold {fold} up to {begun[fold].reached}" for fold in folds if fold in begun and begun[fold].reached]
    return f"kept: {', '.join(parts)}" if parts else "nothing was there to be kept"
