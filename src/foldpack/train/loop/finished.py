"""When a fold counts as finished: its predictions are whole, finite, of its checkpoint, and of the training at hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldpack.data.rows import Rows
from foldpack.data.runs import checkpoint_path
from foldpack.models.checkpoint import CheckpointInfo
from foldpack.train.loop.states import MISFITS, FoldStates, StateInfo


def fold_fault(info: CheckpointInfo, here: StateInfo, views: Sequence[Rows], shapes: list[tuple[int, int]],
               oof_sha256: str) -> str | None:
    """Why a fold that has weights and predictions is not finished all the same; None where it is.

    info: of the weights; here: of the training at hand; shapes: that the predictions by view must have; oof_sha256: of
    those that are there. What older checkpoints do not tell is not asked.
    """
    for name, text in MISFITS.items():
        there = getattr(info, name)
        if there != getattr(here, name) and not (name == "data_sha256" and there is None):
            return f"with {text}"
    columns = [column for view in views for column in view.columns.values()]
    if [column.shape for column in columns] != shapes:
        return "its predictions are of other items or views"
    if info.oof_sha256 not in (None, oof_sha256):
        return "its predictions were changed since, or are those of other weights"
    return None if all(np.isfinite(column).all() for column in columns) else "some of its predictions are not finite"


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
