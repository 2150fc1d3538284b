"""One image, decoded for one kind of canvas."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind


class ImageError(Exception):
    """An image that has no pixels."""


def decode_image(path: Path, kind: CanvasKind) -> np.ndarray:
    """`decode_item` for one kind: (H, W, C) uint8. Raises ImageError where it has no pixels."""
    decoded = decode_item(path, [kind])
    if decoded.state == "fallback":
        raise ImageError(decoded.reason)
    return decoded.pixels[kind]
