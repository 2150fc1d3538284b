"""Crops of known boxes, cut from one decode of each image. Rows are boxes, sorted by image."""

from __future__ import annotations

import numpy as np

from foldpack.data.decode import decode_crops
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items

CROP_BYTES = 32 * 2**20  # of the crops of one image that are held at a time


class CropStream:
    """The canvases of boxes: a `PixelSource` whose rows are items. For one reader, which may be another process."""

    def __init__(self, items: Items, kind: CanvasKind) -> None:
        """items: boxes."""
        assert items.box is not None
        self.kind = kind
        self._images, self._image, self._box, self._reader = items.images, items.image, items.box, items.reader
        self._lost: set[int] = set()  # rows
        self._held: tuple[int, int, np.ndarray] | None = None  # first row, and behind the last; their canvases

    def __len__(self) -> int:
        return len(self._image)

    def expect(self, start: int, stop: int) -> None:
        """`PixelSource.expect`: an image is decoded when the first of its boxes is taken."""

    def take(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.take`."""
        parts = [np.zeros((0, *self.kind.sides, self.kind.channels), dtype=np.uint8)]
        at, stop = start, min(stop, len(self))
        while at < stop:
            first, end, canvases = self._crops(at)
            parts.append(canvases[at - first : min(end, stop) - first])
            at = min(end, stop)
        return np.concatenate(parts)

    def _crops(self, row: int) -> tuple[int, int, np.ndarray]:
        """Of the image that a row is in, from the row on, as many crops as may be held."""
        if self._held is None or not self._held[0] <= row < self._held[1]:
            end = int(np.searchsorted(self._image, self._image[row], side="right"))
            end = min(end, row + max(1, CROP_BYTES // self.kind.most_bytes))
            canvases = decode_crops(self._images[self._image[row]], self.kind, self._box[row:end], self._reader)
            if canvases is None:
                self._lost |= set(range(row, end))
                canvases = np.zeros((end - row, *self.kind.sides, self.kind.channels), dtype=np.uint8)
            self._held = row, end, canvases
        return self._held

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`: a crop is no whole image, so nothing is known."""
        return np.tile(np.array([0, 0, 1, 1, 0, 0], dtype=np.float64), (stop - start, 1))

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """`PixelSource.lost_rows`."""
        return sorted(row for row in self._lost if start <= row < stop)

    def close(self) -> None:
        """`PixelSource.close`."""
        self._held = None
