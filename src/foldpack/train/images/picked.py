"""Some rows of a source of pixels, in an order of their own: a fold of it, or what is not broken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from foldpack.data.geometry import CanvasKind
from foldpack.errors import DataError
from foldpack.predict.pixel_source import PixelSource, gather_canvases


class TrainingPixels(PixelSource, Protocol):
    """A source whose rows can be asked for in any order, in forked and spawned processes too."""

    def expect_rows(self, rows: Sequence[int]) -> None:
        """These rows, ascending, will be asked for next: they may be decoded ahead."""

    def row(self, row: int) -> np.ndarray:
        """(H, W, C) uint8 of one row; black where `lost_rows` names it."""


class PickedPixels:
    """Rows of another source. `waited`: seconds that were spent on getting them."""

    def __init__(self, whole: TrainingPixels, rows: np.ndarray) -> None:
        """rows: (n,) of `whole`, ascending."""
        self.whole = whole
        self.rows = rows
        self.waited = 0.0

    @property
    def kind(self) -> CanvasKind:
        """`PixelSource.kind`."""
        return self.whole.kind

    def __len__(self) -> int:
        return len(self.rows)

    def expect(self, start: int, stop: int) -> None:
        """`PixelSource.expect`."""
        self.expect_rows(range(start, min(stop, len(self))))

    def expect_rows(self, rows: Sequence[int]) -> None:
        """`TrainingPixels.expect_rows`."""
        self.whole.expect_rows([int(self.rows[row]) for row in rows])

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """`PixelSource.take`."""
        started = time.monotonic()
        inside = self.rows[start:stop]
        taken = gather_canvases(self.kind, len(inside), (self.whole.row(int(row)) for row in inside))
        self.waited += time.monotonic() - started
        return taken

    def row(self, row: int) -> np.ndarray:
        """`TrainingPixels.row`."""
        return self.whole.row(int(self.rows[row]))

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        parts = [self.whole.frames(int(row), int(row) + 1) for row in self.rows[start:stop]]
        return np.concatenate(parts) if parts else np.zeros((0, 6))

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """`PixelSource.lost_rows`."""
        return [place for place, row in enumerate(self.rows[start:stop], start)
                if self.whole.lost_rows(int(row), int(row) + 1)]

    def close(self) -> None:
        """`PixelSource.close`: nothing more is expected of these rows. The other source stays open."""
        self.whole.expect_rows(())


class JoinedPixels:
    """Rows of several sources of one kind, those of the first before those of the next."""

    def __init__(self, parts: Sequence[TrainingPixels]) -> None:
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in self.parts])])

    @property
    def kind(self) -> CanvasKind:
        """`PixelSource.kind`."""
        return self.parts[0].kind

    def __len__(self) -> int:
        return int(self.starts[-1])

    def place(self, row: int) -> tuple[TrainingPixels, int]:
        """The source of a row, and which of its rows it is."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[part], row - int(self.starts[part])

    def expect(self, start: int, stop: int) -> None:
        """`PixelSource.expect`."""
        self.expect_rows(range(start, min(stop, len(self))))

    def expect_rows(self, rows: Sequence[int]) -> None:
        """`TrainingPixels.expect_rows`."""
        for part, first, end in zip(self.parts, self.starts[:-1], self.starts[1:], strict=True):
            part.expect_rows([row - int(first) for row in rows if first <= row < end])

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """`PixelSource.take`."""
        return gather_canvases(self.kind, stop - start, (self.row(row) for row in range(start, stop)))

    def row(self, row: int) -> np.ndarray:
        """`TrainingPixels.row`."""
        part, own = self.place(row)
        return part.row(own)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        found = [part.frames(own, own + 1) for part, own in map(self.place, range(start, stop))]
        return np.concatenate(found) if found else np.zeros((0, 6))

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """`PixelSource.lost_rows`."""
        return [row for row in range(start, stop) for part, own in [self.place(row)] if part.lost_rows(own, own + 1)]

    def close(self) -> None:
        """`PixelSource.close`."""
        for part in self.parts:
            part.close()


def require_pixels(pixels: PixelSource, ids: Sequence[str], start: int, stop: int) -> None:
    """Raises DataError for rows that were taken and have no pixels any more: all of them had some before."""
    if lost := pixels.lost_rows(start, stop):
        raise DataError(f"image '{ids[lost[0]]}': it was decoded when the training began and cannot be now; was its "
                        "file changed, or is its disk gone? Start the training again")
