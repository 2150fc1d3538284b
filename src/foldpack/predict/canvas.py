"""Decode every item once, into one uint8 array that all networks of that size share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from foldpack.data.decode import ImageError, decode_image
from foldpack.data.items import Items


@dataclass(frozen=True)
class Canvas:
    """Decoded items, row by row."""

    pixels: np.ndarray  # (n, size, size, 3) uint8 RGB; a broken item is black
    broken: np.ndarray  # (n,) bool: could not be decoded
    reasons: list[str]  # one line for each broken item


def decode_items(
    items: Items, size: int, threads: int, on_item: Callable[[int], None] | None = None
) -> Canvas:
    """Decode all items with `threads` threads (the decoder releases the interpreter lock).

    `on_item` is called with the number of items done. Broken images are recorded, never raised.
    """
    pixels = np.zeros((len(items), size, size, 3), dtype=np.uint8)
    broken = np.zeros(len(items), dtype=bool)
    reasons: list[str] = []

    def decode_row(row: int) -> str | None:
        try:
            pixels[row] = decode_image(items.paths[row], size)
        except ImageError as failure:
            broken[row] = True
            return str(failure)
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, reason in enumerate(pool.map(decode_row, range(len(items))), 1):
            if reason is not None:
                reasons.append(reason)
            if on_item is not None:
                on_item(done)
    return Canvas(pixels, broken, reasons)
