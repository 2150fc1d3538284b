"""The one way to an image's pixels: training, OOF and the kernel see the same, whatever reader the items bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldpack.data.geometry import CanvasKind, crop_planes
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import Reader
from foldpack.errors import DataError, did_you_mean

DECODERS = {
    "pillow": "full resolution",
    "pillow-draft": "JPEGs at 1/2, 1/4 or 1/8 where that still covers the wanted size: quicker, other pixels",
}
PILLOW = PillowReader()


@dataclass(frozen=True)
class Decoded:
    """One file, decoded once. pixels: the canvas of each kind, (H, W, C) uint8, black for a fallback.

    state: "decoded": sound; "repaired": something was wrong, at least half of the rows are the file's own; "fallback":
    no pixels. reason: one line with the path, "" where all was well. largest: the largest value of a file that has
    16 bits a channel, before they became 8; -1 for others. size: height and width, upright; 0 for a fallback.
    """

    pixels: dict[CanvasKind, np.ndarray]
    state: str
    reason: str
    largest: int = -1
    size: tuple[int, int] = (0, 0)


def decode_item(path: Path, kinds: Sequence[CanvasKind], reader: Reader = PILLOW) -> Decoded:
    """Read an image once and make its canvas of each kind.

    Whatever is wrong with the file is told in the answer, never raised; an unknown decoder is a DataError. The pixels
    of a kind do not depend on the other kinds.
    """
    for kind in kinds:
        if kind.decoder not in DECODERS:
            raise DataError(f"unknown decoder '{kind.decoder}': {did_you_mean(kind.decoder, list(DECODERS))}")
    try:
        read = reader.canvases(path, kinds)
    except Exception as failure:  # readers raise whatever their format's code stumbles over, MemoryError too
        what = (str(failure) or type(failure).__name__).splitlines()[0]
        return Decoded({kind: black_canvas(kind) for kind in kinds}, "fallback",
                       f"{path}: cannot decode the image ({what})")
    state, reason = ("repaired", f"{path}: repaired ({'; '.join(read.notes)})") if read.notes else ("decoded", "")
    return Decoded(read.pixels, state, reason, read.largest, read.size)


def decode_picture(path: Path, kind: CanvasKind, reader: Reader = PILLOW) -> tuple[Decoded, np.ndarray]:
    """An image as colours, for eyes, hashes and networks that others trained: what was decoded, in the reader's number
    of channels, and (H, W, 3) uint8 of it. kind: its channels do not matter."""
    own = replace(kind, channels=reader.channels)
    decoded = decode_item(path, [own], reader)
    return decoded, as_colours(decoded.pixels[own])


def as_colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 -> (H, W, 3): one channel is grey, two have their mean as blue, of more the first three count."""
    channels = pixels.shape[2]
    if channels == 2:
        mean = pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)
        return np.concatenate([pixels, mean], axis=2)
    return np.repeat(pixels, 3, axis=2) if channels == 1 else pixels[..., :3]


def decode_crops(path: Path, kind: CanvasKind, boxes: np.ndarray, reader: Reader = PILLOW) -> np.ndarray | None:
    """(k, H, W, C) uint8: the canvases of k boxes of one file, which is decoded once; None where it has no pixels.

    boxes: (k, 4) xyxy, pixels of the upright file.
    """
    try:
        return crop_planes(reader.planes(path, kind.channels), kind, boxes)
    except Exception:  # as in `decode_item`; the background pass says what is wrong with the file
        return None


def black_canvas(kind: CanvasKind) -> np.ndarray:
    """(H, W, C) uint8 of an image without pixels."""
    return np.zeros((*kind.sides, kind.channels), dtype=np.uint8)
