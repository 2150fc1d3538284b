"""Flipped images as identities of their own: a whale's left side is no other's right side, and a mirrored character is
another one. Only training knows of them (Kaggle's whales of 2018 and 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from foldpack.data.geometry import CanvasKind
from foldpack.predict.pixel_source import gather_canvases
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.images.picked import JoinedPixels, PickedPixels, TrainingPixels

FLIPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hflip": lambda image: image[:, ::-1],
    "vflip": lambda image: image[::-1],
    "turn": lambda image: image[::-1, ::-1],
}
LEARNED = -1  # as fold of a row: always learned from, never predicted


class FlippedPixels:
    """The rows of another source, each flipped. Nothing is decoded ahead for it."""

    def __init__(self, whole: TrainingPixels, flip: str) -> None:
        """flip: a key of FLIPS."""
        self.whole, self.flip = whole, flip

    @property
    def kind(self) -> CanvasKind:
        """`PixelSource.kind`."""
        return self.whole.kind

    def __len__(self) -> int:
        return len(self.whole)

    def row(self, row: int) -> np.ndarray:
        """`TrainingPixels.row`."""
        return np.ascontiguousarray(FLIPS[self.flip](self.whole.row(row)))

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """`PixelSource.take`."""
        return gather_canvases(self.kind, stop - start, (self.row(row) for row in range(start, stop)))

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        return self.whole.frames(start, stop)

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """`PixelSource.lost_rows`."""
        return self.whole.lost_rows(start, stop)

    def expect(self, start: int, stop: int) -> None:
        """`PixelSource.expect`."""

    def expect_rows(self, rows: Sequence[int]) -> None:
        """`TrainingPixels.expect_rows`."""

    def close(self) -> None:
        """`PixelSource.close`."""


def learned_set(config: RunConfig, data: TrainingSet, fold: int) -> TrainingSet:
    """What a fold learns from: what other runs add, and `augment.identity_flips`.

    For each flip there is a row more of every item with an identity outside the fold, behind all others, of identity
    `len(classes)` + identities x (place of the flip) + its own.
    """
    data, flips = data.of_fold(fold), config.augment.identity_flips
    if not flips:
        return data
    rows = np.flatnonzero((data.fold != fold) & (data.targets < data.identities))
    sources = [data.pixels, *(FlippedPixels(PickedPixels(data.pixels, rows), flip) for flip in flips)]
    again = np.concatenate([np.arange(len(data.ids)), *([rows] * len(flips))])
    offsets = [len(data.classes) + data.identities * place + data.targets[rows] for place in range(len(flips))]
    return replace(data, ids=[data.ids[row] for row in again], pixels=JoinedPixels(sources), flips=len(flips),
                   targets=np.concatenate([data.targets, *offsets]),
                   fold=np.concatenate([data.fold, np.full(len(rows) * len(flips), LEARNED, data.fold.dtype)]),
                   numbers={name: column[again] for name, column in data.numbers.items()},
                   answer=None if data.answer is None else [data.answer[row] for row in again])
