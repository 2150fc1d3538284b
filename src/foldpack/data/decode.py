"""The one decoder: training, OOF and the kernel see the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from foldpack.errors import DataError

WHITE = (255, 255, 255)


class ImageError(DataError):
    """An image that cannot be decoded."""


def decode_image(path: Path, size: int) -> np.ndarray:
    """Decode a file to (size, size, 3) uint8 RGB, stretched to the square with an antialiased bilinear filter.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bit.
    Raises ImageError when the file is missing, broken or not an image.
    """
    try:
        with Image.open(path) as image:
            rgb = to_rgb(ImageOps.exif_transpose(image))
            if rgb.size != (size, size):
                rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except Exception as failure:  # Pillow's readers raise whatever their format's code stumbles over
        raise ImageError(f"{path}: cannot decode the image ({str(failure) or type(failure).__name__})") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: transparency on white, 16-bit grey scaled (Pillow alone would clip it)."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64)
        return Image.fromarray((grey / 257.0).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(background, layer).convert("RGB")
    return image.convert("RGB")
