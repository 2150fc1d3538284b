"""Which images are answered together, and the mean of what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.errors import DataError


@dataclass(frozen=True, eq=False)
class AnswerGroups:
    """The images of each answer. Answers come in the order of their first images."""

    names: list[str]  # of the m answers, each once
    order: np.ndarray  # (n,) int64: images, those of an answer behind each other
    starts: np.ndarray  # (m + 1,) int64: where those of each answer begin in `order`

    def __len__(self) -> int:
        """Number of answers."""
        return len(self.names)

    @property
    def first(self) -> np.ndarray:
        """(m,) int64: the first image of each answer."""
        return self.order[self.starts[:-1]]

    def parted(self, values: np.ndarray) -> str | None:
        """The first answer whose images differ in (n, ...) values; None where those of each are alike."""
        counts, table = np.diff(self.starts), values.reshape(len(values), -1)
        differ = (table[self.order] != np.repeat(table[self.first], counts, axis=0)).any(axis=1)
        if not differ.any():
            return None
        return self.names[int(np.searchsorted(self.starts, differ.argmax(), "right")) - 1]

    def truth(self, targets: np.ndarray, source: Path) -> np.ndarray:
        """(n, ...) targets of images -> (m, ...) of answers. source: the file that they are of. Raises DataError where
        images of one answer have different labels."""
        if parted := self.parted(targets):
            raise DataError(f"{source}: the images of answer '{parted}' have different labels; give them one label, or "
                            "each an answer of its own")
        return targets[self.first]

    def part(self, answers: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images of some answers, and (k + 1,) where those of each begin among them."""
        chosen = np.arange(len(self))[answers]
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(counts)])
        places = np.repeat(self.starts[chosen] - starts[:-1], counts) + np.arange(starts[-1])
        return self.order[places], starts

    def mean(self, values: np.ndarray, lost: np.ndarray | None = None) -> np.ndarray:
        """(n, C) float32 of images -> (m, C) of answers: `mean_of_images`."""
        return mean_of_images(values[self.order], self.starts, None if lost is None else lost[self.order])


def answer_groups(answer: Sequence[str] | None) -> AnswerGroups | None:
    """The groups of images that name the same answer; None where none names another's. answer: one an image."""
    if answer is None or len(set(answer)) == len(answer):
        return None
    place = {name: number for number, name in enumerate(dict.fromkeys(answer))}
    number = np.array([place[name] for name in answer])
    starts = np.concatenate([[0], np.cumsum(np.bincount(number))])
    return AnswerGroups(list(place), np.argsort(number, kind="stable"), starts)


def mean_of_images(values: np.ndarray, starts: np.ndarray, lost: np.ndarray | None = None) -> np.ndarray:
    """(n, C) float32 -> (m, C) float32: of each answer the mean of its images, without those that are lost.

    starts: (m + 1,) where the images of each answer begin; none is empty. lost: (n,) bool; of an answer whose images
    are all lost the first counts.
    """
    if not len(values):
        return values
    counted = np.ones(len(values), dtype=np.float32)
    if lost is not None:
        counted[lost] = 0
        counted[starts[:-1][np.add.reduceat(counted, starts[:-1]) == 0]] = 1
    sums = np.add.reduceat(values * counted[:, None], starts[:-1], axis=0)
    return sums / np.add.reduceat(counted, starts[:-1])[:, None]
