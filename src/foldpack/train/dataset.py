"""The items of a competition as training reads them: an image and its target, augmented on the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from foldpack.data.answer_groups import AnswerGroups, answer_groups
from foldpack.data.folds import only_here
from foldpack.errors import FoldpackError
from foldpack.settings.label_kinds import QueriesConfig
from foldpack.settings.run import RunConfig
from foldpack.train.augment.image import Augmentation, crop_step
from foldpack.train.images.picked import PickedPixels, TrainingPixels, require_pixels


class MoreLabels(Protocol):
    """What the folds of a run learn from other runs."""

    @property
    def doubts(self) -> list[str]:
        """Why its out-of-fold score may be too good."""

    def of_fold(self, data: TrainingSet, fold: int) -> TrainingSet:
        """What one fold learns from; the rows of the training set come first, those of the fold as they were."""


@dataclass(frozen=True)
class TrainingSet:
    """All labelled items of a competition, as canvases of one kind."""

    ids: list[str]
    pixels: TrainingPixels  # n canvases
    targets: np.ndarray  # (n,) int64 classes or identities, (n, C) bool labels, or (n, T) float64 values
    fold: np.ndarray  # (n,) int64
    classes: list[str]  # of classes, identities, or columns of values
    task: str  # "multiclass", "multilabel", "regress" or "embed"
    none: bool = False  # embed: the last class stands for items that are of no identity
    answer: list[str] | None = None  # one an item: the answer that it belongs to; None: each is its own
    reader: str | None = None  # of the images, as `reader_record` says it
    numbers: dict[str, np.ndarray] = field(default_factory=dict)  # columns that the run names: (n,) float64, 0 or more
    more: MoreLabels | None = None  # that its folds learn from other runs
    soft: dict[int, np.ndarray] = field(default_factory=dict)  # row -> (C,) float32, in place of its target
    teacher: np.ndarray | None = None  # (n, C) float32: what a teacher says of each item
    counts: np.ndarray | None = None  # (n,) float32: how much each counts, times the weights of the run
    images_sha256: str | None = None  # of the sizes of the image files, those that were left out included
    queries: QueriesConfig = QueriesConfig()  # embed: what the test set asks for
    flips: int = 0  # embed: so many times all identities are there again, flipped, behind the classes

    def of_fold(self, fold: int) -> TrainingSet:
        """What a fold learns from: the same, and what other runs add."""
        return self if self.more is None else self.more.of_fold(self, fold)

    def groups(self, rows: np.ndarray) -> AnswerGroups | None:
        """Which of some rows are answered together; None where each is answered alone."""
        return None if self.answer is None else answer_groups([self.answer[row] for row in rows])

    def without(self, lost: Collection[int]) -> TrainingSet:
        """The same without some rows."""
        rows = np.setdiff1d(np.arange(len(self.ids)), list(lost))
        return replace(self, ids=[self.ids[row] for row in rows], pixels=PickedPixels(self.pixels, rows),
                       targets=self.targets[rows], fold=self.fold[rows],
                       numbers={name: column[rows] for name, column in self.numbers.items()},
                       answer=None if self.answer is None else [self.answer[row] for row in rows])

    @cached_property
    def truths(self) -> np.ndarray:
        """What each item is scored by: its target; but an item of an identity that no other fold has is like no other
        to the networks that predict it, so of `none` its truth is the last class."""
        if not self.none:
            return self.targets
        return np.where(only_here(self.targets, self.fold), len(self.classes) - 1, self.targets)

    @property
    def identities(self) -> int:
        """How many classes an item can be recognised as."""
        return len(self.classes) - self.none

    @property
    def learned_identities(self) -> int:
        """How many the loss has: those, and each flip of them."""
        return self.identities * (1 + self.flips)

    def target_row(self, row: int) -> np.ndarray:
        """What the loss gets of an item: (C,) float32, one-hot for multiclass; for embed () int64. With a teacher
        (2 C,): what it says comes behind."""
        target = self.label_row(row)
        return target if self.teacher is None else np.concatenate([target, self.teacher[row]])

    def label_row(self, row: int) -> np.ndarray:
        """The same without a teacher."""
        if row in self.soft:
            return self.soft[row]
        target = self.targets[row]
        if self.task == "embed":  # the loss knows no "none of these"
            return target if target < self.identities else target - self.none
        if self.targets.ndim == 2:
            return target.astype(np.float32)
        one_hot = np.zeros(len(self.classes), dtype=np.float32)
        one_hot[target] = 1
        return one_hot

    def prior(self) -> list[float]:
        """Share of the items that carry each class, rounded to 6 digits; of values their mean, to 6 places."""
        if self.targets.ndim == 1:
            own = self.targets[self.targets < len(self.classes)]
            shares = np.bincount(own, minlength=len(self.classes)) / len(own)
        elif self.task == "regress":
            return [float(f"{mean:.6g}") for mean in self.targets.mean(axis=0)]
        else:
            shares = self.targets.mean(axis=0)
        return [round(float(share), 6) for share in shares]


class AugmentedRows(Dataset):
    """Some rows of a training set: (epoch, position) -> ((H, W, C) uint8 tensor, its `target_row`).

    The epoch comes with every item, since worker processes that live on would never hear of a new one. A third number
    in a key says how often the item has come in its epoch: it is augmented anew. weights: (n,) float32 of all items,
    the last number of a target then, so that mixing mixes it too; a target is float32 with it.
    """

    def __init__(self, data: TrainingSet, rows: np.ndarray, augmentation: Augmentation, seed: int,
                 weights: np.ndarray | None = None) -> None:
        self.weights = weights
        self.data = data
        self.rows = rows
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, position, *again = key
        row = int(self.rows[position])
        pixels = self.data.pixels.row(row)
        require_pixels(self.data.pixels, self.data.ids, row, row + 1)
        image = self.augmentation(pixels, (self.seed, epoch, row, *again))
        return torch.from_numpy(np.require(image, requirements=["C", "W"])), torch.as_tensor(self.target(row))

    def target(self, row: int) -> np.ndarray:
        """With its weight, where items have one."""
        target = self.data.target_row(row)
        return target if self.weights is None else np.append(target, self.weights[row]).astype(np.float32)


class EpochOrder(Sampler[tuple[int, ...]]):
    """(epoch, position) of every item of an epoch, in order; of one that comes again (epoch, position, how often it has
    come), so that it is augmented anew. Set `epoch` before a pass, and `done` for one that goes on after so many."""

    def __init__(self, draw: Callable[[int], np.ndarray]) -> None:
        """draw: epoch -> (m,) positions, with the same m in every epoch."""
        self.draw = draw
        self.epoch = 0
        self.done = 0
        self.count = len(draw(0))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        seen: Counter[int] = Counter()
        for place, position in enumerate(self.draw(self.epoch).tolist()):
            if place >= self.done:
                yield (self.epoch, position, seen[position]) if seen[position] else (self.epoch, position)
            seen[position] += 1


Group = tuple[torch.Tensor, torch.Tensor]  # (b, H, W, C) uint8 and b of `target_row`


def group_shapes(items: list[Group]) -> list[Group]:
    """A batch -> its images and targets, stacked by shape: one group where all images have the same."""
    groups: dict[torch.Size, list[Group]] = {}
    for item in items:
        groups.setdefault(item[0].shape, []).append(item)
    return [(torch.stack([image for image, _ in group]), torch.stack([target for _, target in group]))
            for group in groups.values()]


def training_batches(data: TrainingSet, rows: np.ndarray, config: RunConfig, seed: int, order: EpochOrder,
                     weights: np.ndarray | None = None) -> DataLoader:
    """Batches of augmented rows as `group_shapes`, in an order whose `.epoch` is set before each pass.

    The same to the bit for every number of workers. The loader has a generator of its own, so that it takes nothing
    from the numbers that dropout and mixing draw from. weights: as of `AugmentedRows`.
    """
    items = AugmentedRows(data, rows, Augmentation(config.augment, crop_step(config)), seed, weights)
    return DataLoader(items, config.batch_size, sampler=order, drop_last=len(order) > config.batch_size,
                      num_workers=config.workers, collate_fn=group_shapes, persistent_workers=config.workers > 0,
                      generator=torch.Generator().manual_seed(seed))


def told_plainly(batches: Iterable[list[Group]]) -> Iterator[list[Group]]:
    """The same batches; an error of ours that a worker process met is told as it would be in this one."""
    try:
        yield from batches
    except FoldpackError as failure:
        kind = type(failure)
        raise kind(str(failure).splitlines()[-1].removeprefix(f"{kind.__module__}.{kind.__qualname__}: ")) from None
