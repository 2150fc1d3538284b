"""Perceptual hashes: images that look alike have hashes that differ in few bits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.data.decode import decode_picture
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.protocol import Reader
from foldpack.errors import DataError

HASH_SIDE = 16  # a hash has HASH_SIDE ** 2 bits
HASH_BITS = HASH_SIDE**2
DECODED = CanvasKind(128)  # the hash looks at 64x64 of it
AT_ONCE = 256  # images in flight


def hash_images(paths: list[Path], reader: Reader, threads: int,
                report: Callable[[float], None]) -> tuple[np.ndarray, list[str]]:
    """The pHash of every image, and why images are broken, "" for those that are not.

    Returns (n, HASH_BITS / 64) uint64 and n reasons; the hash of a broken image is 0 and means nothing. The image is
    decoded as training does it, upright and stretched to a square; the hash is the sign of the lowest 16x16
    coefficients of the cosine transform of its brightness against their median (Zauner 2010), by the package imagehash.
    report: gets the share done. Raises DataError when imagehash is missing, or what the reader needs.
    """
    image_hash = _load_phash()
    reader.prepare(paths)

    def hash_one(path: Path) -> tuple[np.ndarray, str]:
        decoded, colours = decode_picture(path, DECODED, reader)
        if decoded.state == "fallback":
            return np.zeros(HASH_BITS // 64, dtype=np.uint64), decoded.reason
        bits = image_hash(Image.fromarray(np.ascontiguousarray(colours)), HASH_SIDE).hash
        return np.packbits(bits.ravel()).view(np.uint64), ""

    hashes = np.zeros((len(paths), HASH_BITS // 64), dtype=np.uint64)
    reasons = [""] * len(paths)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for start in range(0, len(paths), AT_ONCE):
            for row, (code, reason) in enumerate(pool.map(hash_one, paths[start : start + AT_ONCE]), start):
                hashes[row], reasons[row] = code, reason
            report(min(1.0, (start + AT_ONCE) / len(paths)))
    return hashes, reasons


def _load_phash() -> Callable:
    try:
        from imagehash import phash
    except ImportError:
        raise DataError("foldpack groups needs the package imagehash, got none; install the extra 'groups': "
                        "pip install -e '.[groups]'") from None
    return phash
