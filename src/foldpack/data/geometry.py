"""How a whole image becomes a canvas: in numbers, in pixels, and back for points and boxes.

Coordinates are those of a continuous plane: 0 is the left or top edge, pixel i covers [i, i + 1). An image is shown
upright, as its EXIF data say. Resampling is Pillow's bilinear filter, antialiased where it shrinks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from foldpack.settings.network import SIDES_THAT_VARY, SQUASH, Geometry, height_width


class PixelSettings(Protocol):
    """The keys that decide pixels: of a network, of a run, of a member of an ensemble."""

    @property
    def size(self) -> int | list[int]: ...
    @property
    def canvas(self) -> int | list[int] | None: ...
    @property
    def decoder(self) -> str: ...
    @property
    def geometry(self) -> Geometry | None: ...
    @property
    def channels(self) -> int: ...


@dataclass(frozen=True)
class CanvasKind:
    """What decides the pixels of an image: equal kinds have equal pixels."""

    size: int | tuple[int, int]  # pixels: side of a square, or height and width; long, short: that side
    decoder: str = "pillow"
    geometry: Geometry = SQUASH
    channels: int = 3

    def __str__(self) -> str:
        size = f"{self.size} px" if isinstance(self.size, int) else f"{self.size[0]} x {self.size[1]} px"
        words = [size]
        if self.geometry != SQUASH:
            chosen = self.geometry.model_dump(exclude_defaults=True)
            words += [str(chosen.pop("kind")), *(f"{name} {value}" for name, value in chosen.items())]
        words += [] if self.channels == 3 else [f"{self.channels} channels" if self.channels > 1 else "grey"]
        return " ".join(words) + ("" if self.decoder == "pillow" else f" by {self.decoder}")

    @property
    def file_name(self) -> str:
        """For a file of such canvases."""
        return re.sub(r"[^a-z0-9]+", "-", str(self))

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of every canvas; of long and short that of a square image."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def varies(self) -> bool:
        """Whether canvases differ in shape."""
        return self.geometry.kind in SIDES_THAT_VARY

    @property
    def most_bytes(self) -> int:
        """Of one canvas, at most."""
        height, width = self.sides
        return height * (self.geometry.most or width) * self.channels


def canvas_kind(settings: PixelSettings) -> CanvasKind:
    """Which canvases a network sees."""
    height, width = height_width(settings.canvas or settings.size)
    return CanvasKind(height if height == width else (height, width), settings.decoder, settings.geometry or SQUASH,
                      settings.channels)


def input_shape(settings: PixelSettings, canvas: tuple[int, int], side: int | None = None) -> tuple[int, int]:
    """(height, width) of what a network is shown of a canvas of this height and width.

    side: in place of the network's own: of a rectangle the longer one, of long and short the one they are named after.
    """
    size, whole = height_width(settings.size), height_width(settings.canvas or settings.size)
    kind = canvas_kind(settings)
    above, below = (side or max(size), max(whole if kind.varies else size))
    multiple = kind.geometry.multiple
    high, wide = (max(1, round(length * above / (below * multiple))) * multiple
                  for length in (canvas if kind.varies else size))
    return high, wide


def input_share(settings: PixelSettings, side: int | None) -> float:
    """Pixels that a network is shown of a view at this side, as a share of those at its own. side: None for its own."""
    canvas = height_width(settings.canvas or settings.size)
    return math.prod(input_shape(settings, canvas, side)) / math.prod(input_shape(settings, canvas))


@dataclass(frozen=True)
class Placed:
    """Where an image of some height and width lies on its canvas. All pairs are (down, across), in pixels."""

    shape: tuple[int, int]  # of the canvas
    extent: tuple[float, float]  # of the whole image once it is scaled; larger than the canvas where it is cropped
    offset: tuple[float, float]  # of the image's corner; below 0 where it is cropped


def place_image(kind: CanvasKind, height: int, width: int) -> Placed:
    """The canvas of an image of so many pixels. One of 0 pixels, which could not be read, fills the canvas."""
    high, wide = kind.sides
    chosen = kind.geometry
    if chosen.kind in ("squash", "box") or not (height and width):
        return Placed((high, wide), (high, wide), (0, 0))
    if kind.varies:
        side, before = high, max(height, width) if chosen.kind == "long" else min(height, width)
        if chosen.most is not None and max(height, width) * side > chosen.most * before:
            side, before = chosen.most, max(height, width)
        shape = (max(1, round(height * side / (before * chosen.multiple))) * chosen.multiple,
                 max(1, round(width * side / (before * chosen.multiple))) * chosen.multiple)
        return Placed(shape, shape, (0, 0))
    full_height = (high * width <= wide * height) == (chosen.kind == "letterbox")  # else the width is filled exactly
    extent = (high, width * high / height) if full_height else (height * wide / width, wide)
    if chosen.kind == "letterbox":
        extent = (max(1, round(extent[0])), max(1, round(extent[1])))
        return Placed((high, wide), extent, (round((high - extent[0]) / 2), round((wide - extent[1]) / 2)))
    return Placed((high, wide), extent, ((high - extent[0]) / 2, (wide - extent[1]) / 2))


def crop_planes(planes: list[Image.Image], kind: CanvasKind, boxes: np.ndarray) -> np.ndarray:
    """(k, H, W, C) uint8: what lies in k boxes of an image, each squashed to the canvas of its kind.

    planes: as for `fit_planes`, of the file's own size; boxes: (k, 4) xyxy in its pixels. A box is widened to whole
    pixels and to one at least; what lies outside of the image is left out.
    """
    width, height = planes[0].size
    corners = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    first = np.clip(corners[:, :2], 0, (width - 1, height - 1)).astype(int)
    last = np.clip(corners[:, 2:], first + 1, (width, height)).astype(int)
    crops = [fit_planes([plane.crop((*start, *end)) for plane in planes], kind, end[1] - start[1], end[0] - start[0])
             for start, end in zip(first.tolist(), last.tolist(), strict=True)]
    return np.stack(crops) if crops else np.zeros((0, *kind.sides, kind.channels), dtype=np.uint8)


def fit_planes(planes: list[Image.Image], kind: CanvasKind, height: int, width: int) -> np.ndarray:
    """The canvas of an image: (H, W, C) uint8. The one place where pixels of training and kernel are made.

    planes: one image of all channels, or one a channel, perhaps decoded smaller than the file's height and width.
    """
    placed = place_image(kind, height, width)
    parts = [np.asarray(_fit_plane(plane, placed, kind.geometry.pad, height, width)) for plane in planes]
    pixels = parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _fit_plane(plane: Image.Image, placed: Placed, pad: int, height: int, width: int) -> Image.Image:
    (high, wide), (tall, broad), (top, left) = placed.shape, placed.extent, placed.offset
    box = None
    if top < 0 or left < 0:
        down, across = plane.height / tall, plane.width / broad
        box = (max(0.0, -left * across), max(0.0, -top * down),
               min((wide - left) * across, plane.width), min((high - top) * down, plane.height))
    shown = (min(wide, round(broad)), min(high, round(tall)))
    if box is not None or plane.size != shown:
        plane = plane.resize(shown, Image.Resampling.BILINEAR, box)
    if shown == (wide, high):
        return plane
    canvas = Image.new(plane.mode, (wide, high), (pad,) * len(plane.getbands()))
    canvas.paste(plane, (int(left), int(top)))
    return canvas


def image_frames(kind: CanvasKind, sizes: np.ndarray) -> np.ndarray:
    """(k, 2) height and width of files, upright -> (k, 6) float64: those, then scale and offset of the canvas.

    Scale and offset are (down, across) each: a point of the file lies on the canvas at point x scale + offset. A file
    that could not be read has height and width 0, scale 1 and offset 0.
    """
    frames = np.tile(np.array([0, 0, 1, 1, 0, 0], dtype=np.float64), (len(sizes), 1))
    for frame, (height, width) in zip(frames, sizes.tolist(), strict=True):
        if height and width:
            placed = place_image(kind, height, width)
            frame[:] = (height, width, placed.extent[0] / height, placed.extent[1] / width, *placed.offset)
    return frames


def to_canvas(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., 2) x, y or (..., 4) xyxy in pixels of the file -> float64, in pixels of its canvas. frame: (6,)."""
    scale, offset = _across_first(frame, points.shape[-1])
    return points * scale + offset


def to_file(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The inverse of `to_canvas`."""
    scale, offset = _across_first(frame, points.shape[-1])
    return (points - offset) / scale


def _across_first(frame: np.ndarray, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(frame[[3, 2]], numbers // 2), np.tile(frame[[5, 4]], numbers // 2)
