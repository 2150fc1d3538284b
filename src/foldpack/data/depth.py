"""How many of their 16 bits deep images use: cameras and scanners of 10 or 12 bits write files of 16."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image, ImageFile

FEW_BITS = 14  # a set that uses no more loses at least three quarters of the 256 levels


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether an opened file, not yet decoded, has more than 8 bits a channel."""
    return image.mode.startswith("I") or any(";16" in str(tile[-1]) for tile in image.tile)


def largest_value(rgb: Image.Image) -> int:
    """The largest value, 0 to 65535, of a 16-bit file that became `rgb`: exact for grey, else its upper 8 bits."""
    return int(rgb.info.get("largest", (int(np.asarray(rgb).max(initial=0)) << 8) + 255))


def depth_warning(largest: Collection[int]) -> str:
    """A line on a set of 16-bit images that use few of their bits; "" for one that uses them, or has no such images.

    largest: the largest value of each 16-bit image.
    """
    top = max(largest, default=65535)
    bits = max(1, top.bit_length())
    if bits > FEW_BITS:
        return ""
    return (f"{len(largest)} images have 16 bits a channel but use only {bits} of them (largest value {top:,} of "
            f"65,535): divided by 257 they keep {round(top / 257) + 1} of 256 levels; set the competition's "
            f"`images.range` to [0, {2 ** bits - 1}]")
