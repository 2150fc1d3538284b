"""Where an image lies: in a file of its own, or with many others in one, where its path goes on: `train.json/17`."""

from __future__ import annotations

import os
from pathlib import Path


def image_file(path: Path) -> Path | None:
    """The file that holds an image, its own or one of many; None where there is none. Whether the image is in it, its
    reader finds out."""
    for file in (path, path.parent):
        if os.path.isfile(file):
            return file
    return None
