"""Small pictures that show their label, and a folder to write a made-up competition into."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

SPLITS = ("train", "test")


@dataclass
class Made:
    """A competition that is being written. The same arguments make the same bytes."""

    root: Path
    train: int = 60
    test: int = 20
    dice: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))

    def items(self, classes: int) -> Iterator[tuple[str, int, int]]:
        """(split, number, class), classes in turn."""
        for split, count in (("train", self.train), ("test", self.test)):
            for number, k in enumerate(self.dice.permutation(np.arange(count) % classes).tolist()):
                yield split, number, k

    def name(self, length: int = 8) -> str:
        """Letters and digits that begin with a 0, as hashes sometimes do."""
        return "0" + "".join("0123456789abcdef"[i] for i in self.dice.integers(0, 16, length - 1))

    def table(self, name: str, rows: Sequence[dict[str, Any]], **options: Any) -> pd.DataFrame:
        """Write a CSV and return it as text cells."""
        frame = pd.DataFrame(rows)
        frame.to_csv(self.root / name, index=False, **options)
        return frame.astype(str)

    def json(self, name: str, content: Any) -> None:
        """Write JSON."""
        (self.root / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def path(self, name: str) -> Path:
        """Where a file goes; its folder is made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name: str, pixels: np.ndarray, mode: str | None = None) -> None:
        """Write an image in the format of its ending."""
        picture = Image.fromarray(pixels)
        (picture.convert(mode) if mode else picture).save(self.path(name), quality=95)

    def sample(self, perfect: pd.DataFrame, name: str = "sample_submission.csv", **blank: Any) -> pd.DataFrame:
        """Write the sample submission: the perfect answer with some columns blanked. Returns the perfect answer."""
        perfect.assign(**blank).to_csv(self.root / name, index=False)
        return perfect


def colour_of(k: int, classes: int) -> np.ndarray:
    """(3,) uint8, a hue a class."""
    return np.round(255 * np.array(colorsys.hsv_to_rgb(k / classes, 0.9, 0.95))).astype(np.uint8)


def backdrop(dice: np.random.Generator, height: int = 48, width: int = 64) -> np.ndarray:
    """(height, width, 3) uint8 of dull noise."""
    return dice.integers(70, 110, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)


def picture(dice: np.random.Generator, k: int, classes: int, height: int = 48, width: int = 64) -> np.ndarray:
    """(height, width, 3) uint8: a large patch of the hue of a class."""
    pixels = backdrop(dice, height, width)
    top, left = int(dice.integers(0, height // 4)), int(dice.integers(0, width // 4))
    pixels[top : top + 3 * height // 4, left : left + 3 * width // 4] = colour_of(k, classes)
    return pixels


def many(dice: np.random.Generator, ks: Sequence[int], classes: int, side: int = 64) -> np.ndarray:
    """(side, side, 3) uint8: a patch of each of some classes, each at its own place."""
    pixels, columns = backdrop(dice, side, side), int(np.ceil(np.sqrt(classes)))
    step = side // columns
    for k in ks:
        top, left = k // columns * step, k % columns * step
        pixels[top + 1 : top + step - 1, left + 1 : left + step - 1] = colour_of(k, classes)
    return pixels


def scene(dice: np.random.Generator, ks: Sequence[int], classes: int, height: int = 64,
          width: int = 80) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A picture with a patch for each class of a list, in different cells of a grid, and their boxes x, y, w, h."""
    pixels, boxes = backdrop(dice, height, width), []
    for k, cell in zip(ks, dice.permutation(9).tolist(), strict=False):
        wide, high = width // 3 - 6, height // 3 - 6
        x, y = cell % 3 * (width // 3) + int(dice.integers(1, 5)), cell // 3 * (height // 3) + int(dice.integers(1, 5))
        pixels[y : y + high, x : x + wide] = colour_of(k, classes)
        boxes.append((x, y, wide, high))
    return pixels, boxes


def box_mask(boxes: Sequence[tuple[int, int, int, int]], height: int, width: int) -> np.ndarray:
    """(height, width) bool: the inside of boxes x, y, w, h."""
    mask = np.zeros((height, width), dtype=bool)
    for x, y, wide, high in boxes:
        mask[y : y + high, x : x + wide] = True
    return mask


def run_lengths(mask: np.ndarray) -> str:
    """Kaggle's usual run lengths: from 1 on, down the columns."""
    flat = np.r_[False, mask.ravel(order="F"), False]
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return " ".join(f"{start} {stop - start}" for start, stop in edges.reshape(-1, 2).tolist())
