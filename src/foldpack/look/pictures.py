"""Small pictures of items for a page, with what is known of them drawn in."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from foldpack.data.decode import PILLOW, decode_picture
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.protocol import Reader
from foldpack.settings.network import Geometry

SIDE = 320  # pixels, of the longer side
SHOWN = CanvasKind(SIDE, geometry=Geometry(kind="long"))
COLOURS = ("#e4572e", "#17a398", "#f3a712", "#5b5fd6", "#c2185b", "#3b8b3b", "#00838f", "#8d6e63")


def picture_of(path: Path, boxes: np.ndarray | None = None, labels: np.ndarray | None = None,
               mask: np.ndarray | None = None, reader: Reader = PILLOW) -> str:
    """A data URI of one image, small, as networks see it: upright, 8 bits; "" for one that cannot be decoded.

    boxes: (k, 4) xyxy in pixels of the upright file, drawn in a colour a label; labels: (k,) int; mask: (H, W) int of
    the upright file, 0 for none, laid over in a colour a number.
    """
    decoded, colours = decode_picture(path, SHOWN, reader)
    if decoded.state == "fallback":
        return ""
    image = Image.fromarray(np.ascontiguousarray(colours))
    if mask is not None:
        image = with_mask(image, mask)
    if boxes is not None:
        height, width = decoded.size
        scale = np.array([image.width / width, image.height / height] * 2)
        draw_boxes(image, boxes * scale, labels if labels is not None else np.zeros(len(boxes), dtype=int))
    return data_uri(image)


def draw_boxes(image: Image.Image, boxes: np.ndarray, labels: np.ndarray) -> None:
    """Frames of two pixels. boxes: (k, 4) xyxy, pixels of the picture."""
    drawing = ImageDraw.Draw(image)
    for (x_min, y_min, x_max, y_max), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        corners = min(x_min, x_max), min(y_min, y_max), max(x_min, x_max), max(y_min, y_max)
        drawing.rectangle(corners, outline=COLOURS[label % len(COLOURS)], width=2)


def with_mask(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The picture with a mask laid over it, half through. mask: (H, W) int, 0 for none."""
    small = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST))
    table = np.array([(0, 0, 0), *(tuple(bytes.fromhex(colour[1:])) for colour in COLOURS)])
    colour = table[np.where(small > 0, (small - 1) % len(COLOURS) + 1, 0)]
    share = np.where(small > 0, 0.5, 0.0)[..., None]
    return Image.fromarray((np.asarray(image) * (1 - share) + colour * share).round().astype(np.uint8))


def data_uri(image: Image.Image) -> str:
    """A JPEG inside a page."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
