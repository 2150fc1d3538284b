"""`foldpack predict`: what the models of each fold say of the test items, or of the training items, fold by fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.protocol import require_images
from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.data.runs import checkpoint_path
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import DataError
from foldpack.files import sha256_file
from foldpack.models.checkpoint import read_checkpoint, restore_net
from foldpack.models.own_network import own_network
from foldpack.predict.device import BATCH_IMAGES, ProbedDevice, probe_devices
from foldpack.predict.golden import check_golden
from foldpack.predict.loop import finite_rows, usual_forward
from foldpack.settings.outputs import Classes
from foldpack.tasks.registry import TASKS
from foldpack.train.extra_labels.labels_file import OOF_DOUBT, FoldMakers, LabelsInfo, Maker, write_labels
from foldpack.train.extra_labels.sources import Source, Sources, read_sources, require_fold
from foldpack.train.images.picked import PickedPixels, TrainingPixels
from foldpack.train.images.source import Say, open_images
from foldpack.train.load import CACHE


@dataclass
class Asked:
    """Images, and their pixels at each size that a network wants."""

    items: Items
    cache: Path
    say: Say
    pixels: dict[CanvasKind, TrainingPixels] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)  # without pixels

    def of(self, kind: CanvasKind) -> TrainingPixels:
        """Decoded when they are first asked for."""
        if kind not in self.pixels:
            opened = open_images(self.items, kind, "auto", self.cache, self.say)
            self.pixels[kind] = opened.pixels
            self.lost |= set(opened.report.fallback)
            for line in opened.broken:
                self.say(f"warning: {line}; nothing is said of it")
        return self.pixels[kind]


def predict_folds(names: list[str], items: str, out: Path, root: Path, runs: Path, fitted: bool = False,
                  say: Say = print) -> LabelsInfo:
    """Write what the models of each fold say, apart. items: "test"; "train", where each fold's models say something of
    all training items, those that they learned from too; "oof", of each training item what its own fold's said.

    names, fitted: as of `read_sources`; root: the competition's folder. Raises FoldpackError.
    """
    sources = read_sources(names, runs, fitted)
    first = sources.members[0].run
    folds = [fold.fold for fold in first.meta.folds]
    made = [FoldMakers(fold=fold, makers=[maker(source, fold) for source in sources.members]) for fold in folds]
    doubts = [*([OOF_DOUBT] if items == "oof" else []), *sources.doubts]
    ids, lost = first.ids, []
    if items == "oof":
        arrays = {"oof": blended(sources, [stored(source) for source in sources.members])}
    else:
        asked = Asked(items_of(sources, items, root), runs / CACHE, say)
        device = probe_devices(limit=1)[0]
        arrays = {}
        for fold in folds:
            told = [said_by(source, fold, asked, device) for source in sources.members]
            merged = [merged_views(source, views, source.views) for source, views in
                      zip(sources.members, told, strict=True)]
            arrays[f"fold{fold}"] = whole_answers(asked, blended(sources, merged))
            if first.meta.task == "regress":
                arrays[f"spread{fold}"] = spread_of(merged, sources.members[0], told[0])
            say(f"{out.name}: fold {fold}: {len(asked.items)} {items} items, by {', '.join(names)}")
        ids, lost = asked.items.ids, sorted(asked.lost)
    info = LabelsInfo(content="predictions", items=items, competition=first.meta.competition,  # type: ignore[arg-type]
                      task=first.meta.task, classes=first.meta.classes,  # type: ignore[arg-type]
                      folds_sha256=first.meta.folds_sha256, ids=ids, lost=lost, made=made, doubts=doubts)
    write_labels(out, info, arrays)
    for doubt in doubts:
        say(f"warning: out-of-fold scores of a run that learns from {out} may be too good: {doubt}")
    return info


def items_of(sources: Sources, items: str, root: Path) -> Items:
    """The images. Raises DataError for missing ones of the training."""
    first = sources.members[0].run
    competition = find_adapter(first.meta.competition)
    if items == "test":
        return competition.test(root)
    found = competition.train(root).take(first.ids, first.folder / "oof.csv").items
    require_images(found, first.folder / "oof.csv")
    return found


def maker(source: Source, fold: int) -> Maker:
    """Whose word it is. Raises DataError for a checkpoint that has changed since its run was finished."""
    path, meta = checkpoint_path(source.run.folder, fold), source.run.meta
    told = next(each.sha256 for each in meta.folds if each.fold == fold)
    if not path.exists() or sha256_file(path) != told:
        raise DataError(f"{path}: missing or changed since the run was finished; train the run again")
    info = read_checkpoint(path)[1]
    require_fold(info, source, fold, path)
    return Maker(run=source.name, fold=info.fold, sha256=told, weight=source.weight)


def said_by(source: Source, fold: int, asked: Asked, device: ProbedDevice) -> list[Rows]:
    """Rows of each view, of all items; of those without pixels zeros."""
    path = checkpoint_path(source.run.folder, fold)
    weights, info = read_checkpoint(path)
    task = TASKS["regress" if source.run.meta.task == "regress" else "classify"]
    where = torch.device(device.name)
    net = restore_net(weights, info, str(path), task.build, own_network(info.net)).to(where)
    check_golden(net, info, where, task.probe)
    pixels = asked.of(canvas_kind(info.net))
    good = np.setdiff1d(np.arange(len(asked.items)), sorted(asked.lost))
    if not len(good):
        raise DataError(f"{asked.items.images[0] if len(asked.items) else asked.cache}: no image can be decoded, so "
                        "there is nothing to predict")
    forward = usual_forward(net, info.net, source.views, where, BATCH_IMAGES[where.type], task.predict,
                            device.precision)
    picked = PickedPixels(pixels, good)
    try:
        views = finite_rows(forward, picked, 0, len(good), source=f"{source.name} fold {fold}")
    finally:
        picked.close()
    return [spread_out(rows, good, len(asked.items)) for rows in views]


def spread_out(rows: Rows, good: np.ndarray, count: int) -> Rows:
    """Rows of some items in their places among all; zeros elsewhere."""
    whole = {}
    for name, column in rows.columns.items():
        whole[name] = np.zeros((count, *column.shape[1:]), dtype=column.dtype)
        whole[name][good] = column
    return Rows(whole)


def stored(source: Source) -> np.ndarray:
    """(n, C) float32: a run's out-of-fold predictions."""
    return merged_views(source, source.run.views(), source.run.meta.views)


def merged_views(source: Source, views: list[Rows], names: list[str]) -> np.ndarray:
    """(n, C) float32: one answer out of those views that a source takes. names: of all views."""
    meta = source.run.meta
    task = TASKS["regress" if meta.task == "regress" else "classify"]
    taken = [views[names.index(name)] for name in source.views]
    [column] = task.merge_views(taken, source.merge, meta.outputs).columns.values()
    return np.asarray(column, dtype=np.float32)


def blended(sources: Sources, merged: list[np.ndarray]) -> np.ndarray:
    """(n, C) float32: one answer out of all sources."""
    outputs = sources.members[0].run.meta.outputs
    exclusive = isinstance(outputs, Classes) and outputs.exclusive
    return blend_probs(merged, [source.weight for source in sources.members], sources.rule, exclusive)


def whole_answers(asked: Asked, values: np.ndarray) -> np.ndarray:
    """(n, C): images that are answered together all say their mean."""
    groups = asked.items.groups
    if groups is None:
        return values
    lost = np.zeros(len(values), dtype=bool)
    lost[sorted(asked.lost)] = True
    spread = np.empty_like(values)
    spread[groups.order] = np.repeat(groups.mean(values, lost), np.diff(groups.starts), axis=0)
    return spread


def spread_of(merged: list[np.ndarray], source: Source, views: list[Rows]) -> np.ndarray:
    """(n, T) float32: how far the models of one fold are apart: the standard deviation over the runs, of one run over
    its views; of one view not a number. Never over folds: that others agree says what these have learned."""
    parts = merged if len(merged) > 1 else [np.asarray(rows.columns["value"]) for rows in views]
    if len(parts) < 2:
        return np.full_like(merged[0], np.nan)
    return np.std(np.stack(parts), axis=0).astype(np.float32)
