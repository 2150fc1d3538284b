"""What foldpack asks of a reader: it turns what a path names into planes of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from foldpack.data.geometry import CanvasKind


@dataclass(frozen=True)
class ReadImage:
    """One image that was read. pixels: the canvas of each kind, (H, W, C) uint8; notes: what had to be mended.

    largest: the largest value of a file that has 16 bits a channel, before they became 8; -1 for others. size: height
    and width, upright.
    """

    pixels: dict[CanvasKind, np.ndarray]
    size: tuple[int, int]
    notes: list[str] = field(default_factory=list)
    largest: int = -1


class Reader(Protocol):
    """How the images of a competition are read. It travels with the items, to worker processes too: a frozen dataclass
    of plain values, whose `repr` is the expression that makes it."""

    def require(self) -> None:
        """Raises DataError where a package is missing that it needs. Called once, before the first image."""

    def canvases(self, path: Path, kinds: Sequence[CanvasKind]) -> ReadImage:
        """The canvases of one image, read once. Raises UnfitBytes, or whatever the format's code stumbles over."""

    def planes(self, path: Path, channels: int) -> list[Image.Image]:
        """The upright image as one of 1 or 3 channels, or one a channel, as `fit_planes` takes it. Raises likewise."""
