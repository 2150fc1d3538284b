"""Where decoded images come from: memory, a file, a stream. Readers take rows and do not know which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from foldpack.data.decode import black_canvas
from foldpack.data.geometry import CanvasKind, image_frames


class PixelSource(Protocol):
    """The canvases of all rows, of one kind. For one reader, in whatever process; pickled on its way there."""

    @property
    def kind(self) -> CanvasKind:
        """What decides the pixels."""

    def __len__(self) -> int:
        """Rows."""

    def expect(self, start: int, stop: int) -> None:
        """These rows will be taken next, in order."""

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """Rows from `start` to before `stop`: (k, H, W, C) uint8, or k of (H, W, C) where a kind's canvases vary."""

    def frames(self, start: int, stop: int) -> np.ndarray:
        """(k, 6) float64 of rows that were taken: `image_frames`. Of rows without pixels: height and width 0."""

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """Those of the rows that were taken and have no pixels; they are black."""

    def close(self) -> None:
        """Give back what it holds."""


class HeldPixels:
    """Canvases in the memory of this process."""

    def __init__(self, kind: CanvasKind, canvases: np.ndarray | list[np.ndarray]) -> None:
        """canvases: (n, H, W, C) uint8, or n of (H, W, C) where a kind's canvases vary."""
        self.kind = kind
        self.canvases = canvases
        self.sizes = np.zeros((len(canvases), 2), dtype=np.int32)  # height and width of the files, 0 where not known

    def __len__(self) -> int:
        return len(self.canvases)

    def put(self, row: int, canvas: np.ndarray, size: tuple[int, int], note: tuple[int, bool] = (-1, False)) -> bool:
        """Keep a row; whether it was kept. note: as `CanvasFile.put` keeps it."""
        self.canvases[row] = canvas
        self.sizes[row] = size
        return True

    def expect(self, start: int, stop: int) -> None:
        """`PixelSource.expect`: they are here."""

    def expect_rows(self, rows: Sequence[int]) -> None:
        """The same for rows that do not follow each other."""

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """`PixelSource.take`."""
        return self.canvases[start:stop]

    def row(self, row: int) -> np.ndarray:
        """(H, W, C) of one row."""
        return self.canvases[row]

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        return image_frames(self.kind, self.sizes[start:stop])

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """`PixelSource.lost_rows`: who put the rows in knows which have none."""
        return []

    def close(self) -> None:
        """`PixelSource.close`."""


def hold_pixels(kind: CanvasKind, count: int) -> HeldPixels:
    """Room in memory for so many canvases, black until they are put in. Raises MemoryError."""
    if kind.varies:
        return HeldPixels(kind, [black_canvas(kind)] * count)
    return HeldPixels(kind, np.zeros((count, *kind.sides, kind.channels), dtype=np.uint8))


def gather_canvases(kind: CanvasKind, count: int, canvases: Iterable[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """So many canvases as `PixelSource.take` gives them; one at a time is held twice."""
    if kind.varies:
        return list(canvases)
    pixels = np.empty((count, *kind.sides, kind.channels), dtype=np.uint8)
    for place, canvas in enumerate(canvases):
        pixels[place] = canvas
    return pixels
