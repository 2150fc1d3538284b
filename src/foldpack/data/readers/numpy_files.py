"""Arrays of NumPy: `.npy`, or the first array of an `.npz`."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.readers.arrays import ArrayFile, ArrayImage, ArrayReader, channel_side
from foldpack.data.readers.limits import MAX_FILE_BYTES, read_image_bytes
from foldpack.data.readers.stretch import usual_span

ZIP_START = b"PK"


@dataclass(frozen=True)
class NumpyReader(ArrayReader):
    """(H, W), (H, W, C) or (C, H, W). range: needed but for booleans and whole numbers from 0 on of at most 16 bits."""

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`: nothing."""

    def open(self, path: Path) -> ArrayFile:
        """`ArrayReader.open`."""
        content = read_image_bytes(path)
        if content.startswith(ZIP_START):
            content = first_member(content)
        shape, dtype = array_header(content)
        if dtype.kind not in "buif":
            raise UnfitBytes(f"an array of {dtype}; numbers or booleans are needed")
        if len(shape) not in (2, 3):
            raise UnfitBytes(f"an array of {len(shape)} sides; needed: height and width, and perhaps channels")
        side = channel_side(shape, self.channels) if len(shape) == 3 else 2
        height, width, channels = shape[1:] + shape[:1] if side == 0 else (*shape, 1)[:3]
        return ArrayFile(height, width, channels, partial(self.load, content, side))

    def load(self, content: bytes, side: int) -> ArrayImage:
        """The values. side: where the channels are."""
        values = np.load(io.BytesIO(content), allow_pickle=False)
        values = values[..., None] if values.ndim == 2 else np.moveaxis(values, side, 2)
        return ArrayImage(values, self.range or usual_span(values.dtype),
                          deep=self.range is None and values.dtype.itemsize == 2)


def first_member(content: bytes) -> bytes:
    """The first array of an `.npz`. Raises UnfitBytes where there is none, or one that is too large."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
        if not members:
            raise UnfitBytes("an archive without arrays")
        if members[0].file_size > MAX_FILE_BYTES:
            raise UnfitBytes(f"an array of {members[0].file_size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
        return archive.read(members[0])


def array_header(content: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of the values of an `.npy`. Raises UnfitBytes for what is none, and for one that ends early."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except Exception as failure:  # whatever a damaged header makes NumPy's parser raise
        raise UnfitBytes(f"it does not begin like an array of NumPy ({type(failure).__name__})") from None
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed > len(content) - file.tell():
        raise UnfitBytes(f"an array of {needed:,} bytes in a file that has {len(content) - file.tell():,} of them")
    return shape, dtype
