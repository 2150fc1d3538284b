"""Values of any kind become 8 bits: the ends of a range 0 and 255, what is beyond is cut, between it is linear."""

from __future__ import annotations

import numpy as np
from PIL import Image

from foldpack.data.decode_bytes import UnfitBytes

Span = tuple[float, float]  # the values that become 0 and 255
BYTE_SPAN: Span = (0.0, 255.0)


def stretch(values: np.ndarray, span: Span) -> np.ndarray:
    """Real numbers or booleans of any shape -> uint8, rounded; not a number becomes 0. span: low below high."""
    if values.dtype == np.uint8 and span == BYTE_SPAN:
        return values
    if values.dtype in (np.uint8, np.uint16):  # a table for the few values there are
        return _stretched(np.arange(np.iinfo(values.dtype).max + 1), span)[values]
    return _stretched(values, span)


def _stretched(values: np.ndarray, span: Span) -> np.ndarray:
    low, high = span
    scaled = np.clip(values, low, high).astype(np.float64)
    scaled -= low
    scaled *= 255.0  # first, so that ties are exact
    scaled /= high - low
    return np.nan_to_num(scaled.round(), nan=0.0, copy=False).astype(np.uint8)


def stretch_bytes(image: Image.Image, span: Span | None) -> Image.Image:
    """An 8-bit image with its colours stretched, unless the range goes beyond 8 bits: then it is for deeper files."""
    if span is None or span[1] > 255 or span == BYTE_SPAN:
        return image
    table = stretch(np.arange(256, dtype=np.uint8), span).tolist()
    return image.point(table * len(image.getbands()))


def usual_span(dtype: np.dtype, bits: int = 0) -> Span:
    """The range of values of a kind that has an agreed one: booleans, and whole numbers from 0 on of at most 16 bits.

    bits: how many of them a file says are used, 0 where it does not say. Raises UnfitBytes for other kinds.
    """
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return 0.0, float(2 ** (bits or 8 * dtype.itemsize) - 1)
    raise UnfitBytes(f"{dtype} values have no agreed range; give the competition's `images.range`")
