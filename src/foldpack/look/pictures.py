"""Small pictures of items for a page, with what is known of them drawn in."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.protocol import Reader
from foldpack.look.objects import Drawing
from foldpack.settings.network import Geometry

SIDE = 320  # pixels, of the longer side
LONG = Geometry(kind="long")
COLOURS = ("#e4572e", "#17a398", "#f3a712", "#5b5fd6", "#c2185b", "#3b8b3b", "#00838f", "#8d6e63")


def picture_of(path: Path, drawing: Drawing, reader: Reader, channels: int = 3, side: int = SIDE) -> str:
    """A data URI of one image, small, as networks see it: upright, 8 bits; "" for one that cannot be decoded.

    drawing: what is drawn in, a frame a box and a veil a mask, in a colour a class; channels: that networks get. Of
    other numbers than 1 and 3 the first is shown, of 4 and more the first three. side: the longer one, pixels.
    """
    kind = CanvasKind(side, geometry=LONG, channels=channels)
    decoded = decode_item(path, [kind], reader)
    if decoded.state == "fallback":
        return ""
    pixels = decoded.pixels[kind]
    image = Image.fromarray(pixels[..., :3] if channels >= 3 else pixels[..., 0]).convert("RGB")
    if drawing.mask is not None:
        image = with_mask(image, drawing.mask)
    if drawing.boxes is not None and drawing.labels is not None:
        height, width = decoded.size
        draw_boxes(image, drawing.boxes * np.array([image.width / width, image.height / height] * 2), drawing.labels)
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
