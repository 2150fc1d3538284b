"""What foldpack asks of a reader: it turns what a path names into planes of 8 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from foldpack.data.geometry import CanvasKind
from foldpack.errors import DataError


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

    @property
    def channels(self) -> int:
        """How many of them images have for eyes, hashes and whatever is not told another number."""

    def prepare(self, images: Sequence[Path]) -> None:
        """Called once before the first image: what takes long and serves all. Raises DataError where a package is
        missing that it needs."""

    def canvases(self, path: Path, kinds: Sequence[CanvasKind]) -> ReadImage:
        """The canvases of one image, read once. Raises UnfitBytes, or whatever the format's code stumbles over."""

    def planes(self, path: Path, channels: int) -> list[Image.Image]:
        """The upright image as one of 1 or 3 channels, or one a channel, as `fit_planes` takes it. Raises likewise."""


def reader_record(reader: Reader, usual: Reader) -> str | None:
    """What a run says of how its images were read, to be compared later; None for the usual reader. The number of
    channels is left out: a run's network says it."""
    alike = [dataclasses.replace(each, channels=1) for each in (reader, usual)]  # type: ignore[type-var]
    return None if alike[0] == alike[1] else repr(alike[0])


def missing_package(images: Sequence[Path], reader: str, package: str) -> DataError:
    """What to say of a package that a reader needs. The extra of foldpack has the reader's name."""
    return DataError(f"{images[0] if images else 'images'}: reader '{reader}' needs {package}; install it with: "
                     f"pip install 'foldpack[{reader}]'")
