"""Labels, predictions and weights of other runs, joined with the training set of a run, for each fold its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldpack.competitions.protocol import Competition
from foldpack.data.items import Items, whole_images
from foldpack.data.runs import read_meta
from foldpack.errors import DataError
from foldpack.files import sha256_file
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.extra_labels.begin import require_begin, run_digest, start_doubts
from foldpack.train.extra_labels.labels_file import OOF_DOUBT, Content, LabelsInfo, read_labels, read_tensor
from foldpack.train.images.picked import JoinedPixels, PickedPixels, TrainingPixels
from foldpack.train.losses.distill import soften

OpenPixels = Callable[[Items], TrainingPixels]


def settle_labels(config: RunConfig) -> RunConfig:
    """The configuration with the hashes of what its folds learn from other runs. Raises ConfigError, DataError."""
    settled: dict[str, object] = {}
    for name in ("pseudo", "complete", "distill"):
        block = getattr(config, name)
        if block is None:
            continue
        if not Path(block.file).is_file():
            raise ConfigError(f"run '{config.run}': {name}.file {block.file} does not exist; paths are seen from here, "
                              f"{Path.cwd()}")
        digest = sha256_file(Path(block.file))
        require_digest(config, f"{name}.sha256", block.sha256, digest, block.file)
        settled[name] = block.model_copy(update={"sha256": digest})
    if config.begin is not None:
        meta = read_meta(Path(config.begin.folder))
        digest = run_digest(meta)
        require_digest(config, "begin.sha256", config.begin.sha256, digest, config.begin.folder)
        settled["begin"] = config.begin.model_copy(update={"sha256": digest, "start": meta.start})
    return config.model_copy(update=settled)


def require_digest(config: RunConfig, key: str, told: str | None, digest: str, place: str) -> None:
    """Raises ConfigError for other contents than those that the settings name."""
    if told not in (None, digest):
        raise ConfigError(f"run '{config.run}': {place} has SHA-256 {digest[:12]}..., and {key} wants {told[:12]}...; "
                          "bring back the old one, or take the line out to learn from this one")


@dataclass(frozen=True)
class FoldLabels:
    """What a run learns from others. Files are read again for each fold: they are large."""

    config: RunConfig
    infos: dict[str, LabelsInfo]  # by the key of the block
    doubts: list[str]
    items: Items | None  # of pseudo: those that some fold learns from
    pixels: TrainingPixels | None  # theirs

    def of_fold(self, data: TrainingSet, fold: int) -> TrainingSet:
        """What fold `fold` learns from. Its own items are those of `data`, whatever the files say of them.

        Raises DataError for a file that is not the one that the run began with.
        """
        for name in self.infos:
            path = self.path(name)
            if getattr(self.config, name).sha256 not in (None, sha256_file(path)):
                raise DataError(f"run '{self.config.run}': {name}.file {path} was changed after this run had begun "
                                "with it; bring the old one back, or start this run again")
        if "complete" in self.infos:
            data = self.completed(data, fold)
        if "distill" in self.infos:
            data = self.taught(data, fold)
        return self.with_pseudo(data, fold) if "pseudo" in self.infos else data

    def path(self, name: str) -> Path:
        """Of a block's file."""
        return Path(getattr(self.config, name).file)

    def completed(self, data: TrainingSet, fold: int) -> TrainingSet:
        """With labels that items of other folds lack."""
        info, path = self.infos["complete"], self.path("complete")
        name = "" if info.items == "oof" else str(fold)
        places = rows_of(data, info.ids)[read_tensor(path, f"rows{name}")]
        classes = read_tensor(path, f"classes{name}")
        learned = (places >= 0) & (data.fold[places] != fold)
        targets = data.targets.copy()
        targets[places[learned], classes[learned]] = True
        return replace(data, targets=targets)

    def taught(self, data: TrainingSet, fold: int) -> TrainingSet:
        """With what the teacher says. Of the items of the fold nothing is learned, so theirs may be anything."""
        info, path = self.infos["distill"], self.path("distill")
        assert self.config.distill is not None
        said = read_tensor(path, "oof" if info.items == "oof" else f"fold{fold}")
        place = {item: row for row, item in enumerate(info.ids)}
        said = said[[place[item] for item in data.ids]]
        if data.task != "regress":
            said = soften(said, self.config.distill.temperature, data.task == "multiclass")
        return replace(data, teacher=said.astype(np.float32))

    def with_pseudo(self, data: TrainingSet, fold: int) -> TrainingSet:
        """With the test items whose labels the models of this fold gave. They lie in no fold."""
        info, path, asked = self.infos["pseudo"], self.path("pseudo"), self.config.pseudo
        assert asked is not None and self.items is not None and self.pixels is not None
        labels, ids = read_tensor(path, f"labels{fold}"), [info.ids[row] for row in read_tensor(path, f"rows{fold}")]
        place = {item: row for row, item in enumerate(self.items.ids)}
        pixels = PickedPixels(self.pixels, np.array([place[item] for item in ids]))
        count, hard = len(data.ids), hard_labels(info, labels)
        soft = {count + row: one for row, one in enumerate(labels)} if asked.labels == "soft" else {}
        weights = asked.weight * read_tensor(path, f"weights{fold}")
        return replace(
            data, ids=[*data.ids, *ids], pixels=JoinedPixels([data.pixels, pixels]), soft=soft,
            targets=np.concatenate([data.targets, hard.astype(data.targets.dtype)]),
            fold=np.concatenate([data.fold, np.full(len(ids), -1)]),
            counts=np.concatenate([np.ones(count), weights]).astype(np.float32),
            answer=None if data.answer is None else [*data.answer, *(f"test item {item}" for item in ids)])


def hard_labels(info: LabelsInfo, labels: np.ndarray) -> np.ndarray:
    """(m,) classes, (m, C) bool or (m, T) values, of (m, C) float32."""
    if info.task == "multiclass":
        return labels.argmax(axis=1)
    return labels >= info.high if info.high is not None else labels


def rows_of(data: TrainingSet, ids: Sequence[str]) -> np.ndarray:
    """(n,) int64: the row of each id in the training set, -1 where it is none."""
    place = {item: row for row, item in enumerate(data.ids)}
    return np.array([place.get(item, -1) for item in ids], dtype=np.int64)


def attach_labels(config: RunConfig, data: TrainingSet, competition: Competition, root: Path, folds_csv: Path,
                  open_pixels: OpenPixels, say: Callable[[str], None]) -> TrainingSet:
    """The training set with what each fold learns from other runs. config: as `settle_labels` gives it.

    open_pixels: items -> their pixels. Raises DataError, ConfigError for what does not fit this run and its folds.
    """
    contents: dict[str, Content] = {"pseudo": "pseudo", "complete": "complete", "distill": "predictions"}
    infos = {name: read_labels(Path(getattr(config, name).file), content) for name, content in contents.items()
             if getattr(config, name) is not None}
    digest = sha256_file(folds_csv)
    folds = sorted(set(np.unique(data.fold).tolist() if config.folds is None else config.folds))
    doubts = start_doubts(config, folds, digest)
    if not infos and config.begin is None and not doubts:
        return data
    for name, info in infos.items():
        path = Path(getattr(config, name).file)
        require_same(data, info, f"run '{config.run}': {name}.file {path}", config.competition)
        if info.folds_sha256 != digest:
            raise DataError(f"run '{config.run}': {name}.file {path} is of models that were trained on other folds "
                            f"than those of {folds_csv}, so they may have seen the items of any fold; make it with "
                            "runs of these folds")
        if lacking := [fold for fold in folds if fold not in info.folds]:
            raise DataError(f"run '{config.run}': {name}.file {path} has nothing for fold {lacking[0]}, only for folds "
                            f"{info.folds}; train the runs that made it on all folds, or set folds")
        doubts += [*([OOF_DOUBT] if info.items == "oof" else []), *info.doubts]
    if config.begin is not None:
        doubts += require_begin(config, folds, digest, len(data.classes))
    items = pixels = None
    if "pseudo" in infos:
        items = test_items(config, infos["pseudo"], folds, competition.test(root))
        pixels = open_pixels(items)
    if "complete" in infos and data.task != "multilabel":
        raise ConfigError(f"run '{config.run}': complete is for several labels an item, and these are {data.task}")
    if "distill" in infos:
        require_taught(config, data, infos["distill"])
    doubts = list(dict.fromkeys(doubts))
    for doubt in doubts:
        say(f"warning: run '{config.run}': its out-of-fold score may be too good: {doubt}")
    return replace(data, more=FoldLabels(config, infos, doubts, items, pixels))


def require_taught(config: RunConfig, data: TrainingSet, info: LabelsInfo) -> None:
    """Raises DataError for a teacher that says nothing of some item."""
    file = f"run '{config.run}': distill.file {config.distill and config.distill.file}"
    if info.items == "test":
        raise DataError(f"run '{config.run}': distill.file is of test items; needed: `foldpack predict --items train`")
    if strange := sorted(set(data.ids) - set(info.ids)):
        raise DataError(f"{file} says nothing of training item '{strange[0]}' ({len(strange)} in all); make it of runs "
                        "of all these items")
    lost = {info.ids[row] for row in info.lost}
    if unseen := [item for item in data.ids if item in lost]:
        raise DataError(f"{file} says nothing of training item '{unseen[0]}' ({len(unseen)} in all), whose image could "
                        "not be decoded then; make it again")


def require_same(data: TrainingSet, info: LabelsInfo, where: str, competition: str) -> None:
    """Raises DataError for labels of something else."""
    for what, theirs, ours in (("competitions", info.competition, competition),
                               ("labels", info.task, data.task), ("classes", info.classes, data.classes)):
        if theirs != ours:
            shown = (theirs, ours) if isinstance(theirs, str) else (len(theirs), len(ours))
            raise DataError(f"{where} is of other {what} than the run: {shown[0]} there, {shown[1]} here; make it with "
                            "runs of the same")


def test_items(config: RunConfig, info: LabelsInfo, folds: Sequence[int], test: Items) -> Items:
    """The test items that some fold learns from. Raises DataError for one that the competition does not have."""
    assert config.pseudo is not None
    path = Path(config.pseudo.file)
    rows = np.unique(np.concatenate([read_tensor(path, f"rows{fold}") for fold in folds]))
    place = {item: row for row, item in enumerate(test.ids)}
    ids = [info.ids[row] for row in rows.tolist()]
    if strange := [item for item in ids if item not in place]:
        raise DataError(f"run '{config.run}': pseudo.file {path}: id '{strange[0]}' is no test item of the competition "
                        f"({len(strange)} of {len(ids)} are none); make it again")
    return whole_images(ids, [test.images[place[item]] for item in ids], reader=test.reader)

