"""Small pictures of what networks get and of items, as many as a page may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from foldpack.data.readers.protocol import Reader
from foldpack.look.objects import Drawing
from foldpack.look.pictures import data_uri, picture_of
from foldpack.settings.network import NetConfig

SIDE = 192  # pixels, of the longer side
MOST_BYTES = 4_500_000  # of all pictures of a page, as text


class Thumbs:
    """Pictures for one page. What would not fit is left out, and `left_out` counts it."""

    def __init__(self, side: int = SIDE) -> None:
        """side: of files, the longer one, pixels."""
        self.side = side
        self.bytes = 0
        self.left_out = 0

    def of_tensor(self, image: torch.Tensor, net: NetConfig) -> str:
        """What the network gets -> a data URI. image: (C, h, w) float, normalised."""
        return self.kept(data_uri(shrunk(picture_of_tensor(image, net))))

    def of_file(self, path: Path, reader: Reader, channels: int) -> str:
        """An image of the competition, small; "" for one that is gone or broken."""
        return self.kept(picture_of(path, Drawing(), reader, channels, self.side))

    def kept(self, picture: str) -> str:
        """The picture, or "" where the page is full."""
        if self.bytes + len(picture) > MOST_BYTES:
            self.left_out += 1
            return ""
        self.bytes += len(picture)
        return picture


def picture_of_tensor(image: torch.Tensor, net: NetConfig) -> Image.Image:
    """The pixels behind normalised numbers. image: (C, h, w). Of other numbers than 1 and 3 channels the first is
    shown, of 4 and more the first three."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (net.mean, net.std))
    pixels = ((image.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(shown)).convert("RGB")


def shrunk(image: Image.Image) -> Image.Image:
    """At most SIDE at its longer side; one that is smaller stays as it is."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small
