"""What is not worth decoding, whatever the format: files and pictures that are too large; and one big one at a time."""

from __future__ import annotations

import stat
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from foldpack.data.decode_bytes import UnfitBytes

MAX_PIXELS = 89_000_000  # more are refused before decoding; Pillow itself warns from 89,478,485 on
MAX_FILE_BYTES = 512 * 2**20
BIG_IMAGE = 16_000_000  # pixels; larger images are decoded one at a time, however many threads there are
ONE_BIG_IMAGE = threading.Lock()


def read_image_bytes(path: Path) -> bytes:
    """The whole file. Raises OSError, or UnfitBytes for what is no ordinary file or too large to be an image."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnfitBytes("not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise UnfitBytes(f"a file of {status.st_size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
    return path.read_bytes()


def check_pixels_count(width: int, height: int, channels: int) -> None:
    """Raises UnfitBytes for more pixels than are decoded. channels: of the image, or asked for, if those are more."""
    limit = MAX_PIXELS * 3 // max(3, channels)
    if width * height > limit:
        raise UnfitBytes(f"{width} x {height} pixels; the limit is {limit:,}")


def one_big_image(width: int, height: int) -> AbstractContextManager[object]:
    """Around the decoding of an image of so many pixels."""
    return ONE_BIG_IMAGE if width * height > BIG_IMAGE else nullcontext()
