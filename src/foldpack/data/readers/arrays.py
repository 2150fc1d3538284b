"""Images that are arrays of numbers: what all readers of such files share, from the values to the canvases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.geometry import CanvasKind, fit_planes
from foldpack.data.readers.limits import check_pixels_count, one_big_image
from foldpack.data.readers.protocol import ReadImage
from foldpack.data.readers.stretch import Span, stretch

USUAL_CHANNELS = (1, 3, 4)  # by which sides of an array are told apart
MOST_CHANNELS = 64


@dataclass(frozen=True)
class ArrayImage:
    """The upright image of a file. values: (H, W, C), real numbers or booleans; span: what becomes 0 and 255.

    alpha: the last of four channels is opacity. inverted: the least value is white. deep: 16 bits a channel, and nobody
    said how many of them are used.
    """

    values: np.ndarray
    span: Span
    alpha: bool = False
    inverted: bool = False
    deep: bool = False


@dataclass(frozen=True)
class ArrayFile:
    """A file whose header was read. load: reads the values."""

    height: int
    width: int
    channels: int
    load: Callable[[], ArrayImage]


@dataclass(frozen=True)
class ArrayReader:
    """What readers of arrays have in common; each has an `open`."""

    channels: int = 3
    range: Span | None = None

    def open(self, path: Path) -> ArrayFile:
        """Read the header. Raises UnfitBytes, OSError, or whatever the format's code stumbles over."""
        raise NotImplementedError

    def canvases(self, path: Path, kinds: Sequence[CanvasKind]) -> ReadImage:
        """`Reader.canvases`. The decoder of a kind is Pillow's affair, so it makes no difference here."""
        planes, size, largest = self.all_planes(path, {kind.channels for kind in kinds})
        return ReadImage({kind: fit_planes(planes[kind.channels], kind, *size) for kind in kinds}, size, [], largest)

    def planes(self, path: Path, channels: int) -> list[Image.Image]:
        """`Reader.planes`."""
        return self.all_planes(path, {channels})[0][channels]

    def all_planes(self, path: Path, channels: set[int]) \
            -> tuple[dict[int, list[Image.Image]], tuple[int, int], int]:
        """Planes for each number of channels, (height, width), and `ReadImage.largest`."""
        file = self.open(path)
        if not (file.height > 0 and file.width > 0 and 0 < file.channels <= MOST_CHANNELS):
            raise UnfitBytes(f"{file.width} x {file.height} pixels of {file.channels} channels are no image")
        check_pixels_count(file.width, file.height, max(file.channels, *channels))
        with one_big_image(file.width, file.height):
            image = file.load()
            values = stretch(image.values, image.span)
            if image.inverted:
                values = 255 - values
            largest = int(image.values.max(initial=0)) if image.deep else -1
            return ({count: channel_planes(values, count, image.alpha) for count in channels}, values.shape[:2],
                    largest)


def channel_planes(values: np.ndarray, channels: int, alpha: bool = False) -> list[Image.Image]:
    """(H, W, C) uint8 -> one image of 1 or 3 channels, or one a channel. alpha: of four channels the last is opacity.

    Grey becomes colour and colour grey, as Pillow does it. Raises UnfitBytes for any other number of channels.
    """
    there = values.shape[2]
    if there == 4 and alpha and channels in (1, 3):
        layer = Image.fromarray(np.ascontiguousarray(values))
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        colour = Image.alpha_composite(white, layer).convert("RGB")
        return [colour if channels == 3 else colour.convert("L")]
    if (there, channels) not in ((1, 3), (3, 1)) and there != channels:
        raise UnfitBytes(f"{there} {'channel' if there == 1 else 'channels'}, and {channels} are asked for; set "
                         "`images.channels` and `net.channels` to what the files have")
    if there == 3 and channels in (1, 3):
        colour = Image.fromarray(np.ascontiguousarray(values))
        return [colour if channels == 3 else colour.convert("L")]
    planes = [Image.fromarray(np.ascontiguousarray(values[..., k])) for k in range(there)]
    return [planes[0].convert("RGB")] if channels == 3 else planes


def channel_side(shape: Sequence[int], channels: int) -> int:
    """Which side of a three-sided array the channels are, 0 or 2: the one that is as long as `channels` says, else as
    usual, else the shorter one. Raises UnfitBytes where neither can be."""
    for fitting in ((channels,), USUAL_CHANNELS):
        for side in (2, 0):
            if shape[side] in fitting:
                return side
    side = 0 if shape[0] < shape[2] else 2
    if shape[side] > MOST_CHANNELS:
        raise UnfitBytes(f"an array of {' x '.join(map(str, shape))}: none of its outer sides are channels, at most "
                         f"{MOST_CHANNELS}")
    return side
