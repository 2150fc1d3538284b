"""TIFFs by tifffile: any number of channels, whatever their order, 8 and 16 bits, floats, tiles, pyramids."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.readers.arrays import USUAL_CHANNELS, ArrayFile, ArrayImage, ArrayReader
from foldpack.data.readers.limits import check_pixels_count
from foldpack.data.readers.protocol import missing_package
from foldpack.data.readers.stretch import Span, usual_span

CHANNEL_AXES = "SC"  # as tifffile calls samples of a pixel, and channels
PIXEL_AXES = "YX"
UNKNOWN_AXES = "QI"  # of a shape that nobody explained, and of pages
WHITE_IS_ZERO, PALETTE = 0, 3  # photometric interpretations
LYING_TAGS = (5, 6, 7, 8)  # of orientation: height and width change places
OPACITIES = (1, 2)  # kinds of extra samples
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # of (H, W, C), by the tag of orientation
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values.swapaxes(0, 1)[:, ::-1],
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: values.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class TiffReader(ArrayReader):
    """The first image of a file, and of a pyramid its largest level. The file is not read whole.

    range: needed for floats, signed numbers and those beyond 16 bits.
    """

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`."""
        try:
            import tifffile  # noqa: F401
        except ImportError:
            raise missing_package(images, "tiff", "tifffile") from None

    def open(self, path: Path) -> ArrayFile:
        """`ArrayReader.open`."""
        from tifffile import TiffFile

        size = require_file(path)
        with TiffFile(path) as file:
            series = first_series(file)
            page = series.keyframe
            sides = plan_sides(series.axes, series.shape, self.channels)
            height, width, channels = sides.shape(series.shape)
            check_pixels_count(width, height, math.prod(series.shape) // max(1, height * width))
            check_pages(series, size)
            if page_tag(page, "Orientation") in LYING_TAGS:
                height, width = width, height
        return ArrayFile(height, width, 3 if page.photometric == PALETTE else channels, partial(self.load, path))

    def load(self, path: Path) -> ArrayImage:
        """The values."""
        from tifffile import TiffFile

        with TiffFile(path) as file:
            series = first_series(file)
            page = series.keyframe
            values = plan_sides(series.axes, series.shape, self.channels).arrange(series.asarray(maxworkers=1))
            if page.photometric == PALETTE and page.colormap is not None:
                colours = np.moveaxis(page.colormap, 0, 1)  # (values, 3), 16 bits
                values = (colours[np.minimum(values[..., 0], len(colours) - 1)] >> 8).astype(np.uint8)
            upright = UPRIGHT.get(page_tag(page, "Orientation"))
            alpha = values.shape[2] == 4 and tuple(page.extrasamples) in [(kind,) for kind in OPACITIES]
            return ArrayImage(values if upright is None else upright(values), self.span(values, page), alpha,
                              page.photometric == WHITE_IS_ZERO,
                              self.range is None and values.dtype == np.uint16 and page.bitspersample == 16)

    def span(self, values: np.ndarray, page: Any) -> Span:
        """What becomes 0 and 255."""
        if page.photometric == PALETTE:
            return usual_span(values.dtype)
        return self.range or usual_span(values.dtype, page.bitspersample if values.dtype.kind == "u" else 0)


@dataclass(frozen=True)
class TiffSides:
    """Which sides of an array are what. channels: None for grey. Of sides beside these the first part is taken."""

    down: int
    across: int
    channels: int | None

    def shape(self, whole: Sequence[int]) -> tuple[int, int, int]:
        """(H, W, C) of an array of this shape."""
        return whole[self.down], whole[self.across], 1 if self.channels is None else whole[self.channels]

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """(H, W, C) of an array."""
        kept = [side for side in (self.down, self.across, self.channels) if side is not None]
        first = values[tuple(slice(None) if side in kept else 0 for side in range(values.ndim))]
        placed = np.transpose(first, [sorted(kept).index(side) for side in kept])
        return placed if self.channels is not None else placed[..., None]


def plan_sides(axes: str, shape: Sequence[int], channels: int) -> TiffSides:
    """What the sides of an image are, by the letters that tifffile gives them; by their lengths where it knows none.

    channels: so many pages are taken as channels. Raises UnfitBytes for sides that cannot be told apart.
    """
    if not {*PIXEL_AXES} <= {*axes}:
        raise UnfitBytes(f"a TIFF of axes {axes}; needed: Y and X, and perhaps one of channels")
    down, across = axes.index("Y"), axes.index("X")
    others = [side for side, axis in enumerate(axes) if axis not in PIXEL_AXES and shape[side] > 1]
    named = [side for side in others if axes[side] in CHANNEL_AXES]
    if len(named) > 1:
        raise UnfitBytes(f"a TIFF of axes {axes}; needed: one of channels at most")
    if named or len(others) != 1:
        return TiffSides(down, across, named[0] if named else None)
    pages, lengths = others[0], (channels, *USUAL_CHANNELS)
    if shape[pages] in lengths:
        return TiffSides(down, across, pages)
    if axes[pages] in UNKNOWN_AXES and (pages, down) == (down - 1, across - 1) and shape[across] in lengths:
        return TiffSides(pages, down, across)  # each row of pixels was written as a page
    return TiffSides(down, across, None)


def first_series(file: Any) -> Any:
    """The first image of a file, of a pyramid the largest level. Raises UnfitBytes where there is none."""
    if not file.series:
        raise UnfitBytes("a TIFF without images")
    return file.series[0].levels[0]


def require_file(path: Path) -> int:
    """The size of an ordinary file, bytes. Raises OSError or UnfitBytes."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnfitBytes("not a file")
    return status.st_size


def page_tag(page: Any, name: str) -> int:
    """The number in a tag; 0 where there is none."""
    tag = page.tags.get(name)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 0


def check_pages(series: Any, size: int) -> None:
    """Raises UnfitBytes where parts of the pixels lie beyond the end of the file, of `size` bytes, or are missing: what
    is not there is read as 0. Likewise where a package is missing that can undo the compression."""
    if problem := codec_problem(series.keyframe.compression):
        raise UnfitBytes(problem)
    for one in series.pages:
        if one is None:  # its values follow those of the page before
            continue
        counts = one.databytecounts
        if not counts or any(not count or offset + count > size
                             for offset, count in zip(one.dataoffsets, counts, strict=False)):
            raise UnfitBytes("the file ends early, or parts of its pixels are missing")
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise UnfitBytes("the file ends early")


def codec_problem(compression: int) -> str:
    """What is missing to undo a compression of TIFF; "" where nothing is."""
    from tifffile import TIFF

    try:
        TIFF.DECOMPRESSORS[compression]
    except KeyError:
        return f"compression {compression} of TIFF needs the package imagecodecs, or is none that it knows"
    return ""
