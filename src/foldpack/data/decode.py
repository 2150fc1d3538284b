"""The one decoder: training, OOF and the kernel see the same pixels, and a damaged file is never taken for a sound one.

Colours, the same for every decoder: EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to
8 bit, palettes, 1-bit and CMYK images become RGB, the first frame of an animation counts.
"""

from __future__ import annotations

import stat
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from foldpack.data.decode_bytes import (
    GuardedBytes,
    ImageBytes,
    Restarts,
    UnfitBytes,
    check_image_bytes,
    restart_jpegs,
)
from foldpack.data.depth import has_16_bits, largest_value
from foldpack.errors import DataError, did_you_mean

WHITE = (255, 255, 255)
MAX_PIXELS = 89_000_000  # more are refused before decoding; Pillow itself warns from 89,478,485 on
MAX_FILE_BYTES = 512 * 2**20
BIG_IMAGE = 16_000_000  # pixels; larger images are decoded one at a time, however many threads there are
DECODERS = {
    "pillow": "full resolution",
    "pillow-draft": "JPEGs at 1/2, 1/4 or 1/8 where that still covers the wanted size: quicker, other pixels",
}
ORIENTATION_TAG = 0x0112  # EXIF
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ONE_BIG_IMAGE = threading.Lock()


class ImageError(DataError):
    """An image that cannot be decoded."""


@dataclass(frozen=True)
class Decoded:
    """One file, decoded once. pixels: size -> (size, size, 3) uint8 RGB, black for a fallback.

    state: "decoded": sound; "repaired": something was wrong, at least half of the rows are the file's own; "fallback":
    no pixels. reason: one line with the path, "" where all was well. largest: the largest value of a file that has
    16 bits a channel, before they became 8; -1 for others.
    """

    pixels: dict[int, np.ndarray]
    state: str
    reason: str
    largest: int = -1


def decode_item(path: Path, sizes: list[int], decoder: str = "pillow") -> Decoded:
    """Read a file once and decode it once, stretched to a square of each size with an antialiased bilinear filter.

    decoder: a name from DECODERS. Whatever is wrong with the file is told in the answer, never raised. The pixels of a
    size do not depend on the other sizes: "pillow-draft" decodes again where sizes want different reductions.
    """
    if decoder not in DECODERS:
        raise DataError(f"unknown decoder '{decoder}': {did_you_mean(decoder, list(DECODERS))}")
    try:
        source = check_image_bytes(read_image_bytes(path))
        pixels, notes, largest = decode_sizes(source, sizes, decoder)
    except Exception as failure:  # readers raise whatever their format's code stumbles over, MemoryError too
        black = {size: np.zeros((size, size, 3), dtype=np.uint8) for size in sizes}
        what = str(failure) or type(failure).__name__
        if isinstance(failure, UnidentifiedImageError):  # its own message names an object in memory
            what = "it begins like no image that can be read"
        return Decoded(black, "fallback", f"{path}: cannot decode the image ({what.splitlines()[0]})")
    if notes:
        return Decoded(pixels, "repaired", f"{path}: repaired ({'; '.join(notes)})", largest)
    return Decoded(pixels, "decoded", "", largest)


def decode_image(path: Path, size: int, decoder: str = "pillow") -> np.ndarray:
    """`decode_item` for one size: (size, size, 3) uint8 RGB. Raises ImageError where it has no pixels."""
    decoded = decode_item(path, [size], decoder)
    if decoded.state == "fallback":
        raise ImageError(decoded.reason)
    return decoded.pixels[size]


def read_image_bytes(path: Path) -> bytes:
    """The whole file. Raises OSError, or UnfitBytes for what is no ordinary file or too large to be an image."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnfitBytes("not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise UnfitBytes(f"a file of {status.st_size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
    return path.read_bytes()


def decode_sizes(source: ImageBytes, sizes: list[int], decoder: str) -> tuple[dict[int, np.ndarray], list[str], int]:
    """Pixels by size, what had to be mended, and `Decoded.largest`. Raises what Pillow raises, and UnfitBytes."""
    pixels: dict[int, np.ndarray] = {}
    notes: list[str] = []
    largest = -1
    with Image.open(GuardedBytes(source.content, None)) as image:
        width, height = image.size
        deep = has_16_bits(image)
        reducible = decoder == "pillow-draft" and image.format in ("JPEG", "MPO")
    if width * height > MAX_PIXELS:
        raise UnfitBytes(f"{width} x {height} pixels; the limit is {MAX_PIXELS:,}")
    scales = {size: jpeg_reduction(width, height, size) if reducible else 1 for size in sizes}
    with ONE_BIG_IMAGE if width * height > BIG_IMAGE else nullcontext():
        for scale in dict.fromkeys(scales.values()):
            rgb, said = decode_rgb(source, scale)
            notes += [note for note in said if note not in notes]
            largest = largest_value(rgb) if deep else -1
            for size in [size for size in sizes if scales[size] == scale]:
                same = rgb.size == (size, size)
                pixels[size] = np.asarray(rgb if same else rgb.resize((size, size), Image.Resampling.BILINEAR))
    return pixels, notes, largest


def jpeg_reduction(width: int, height: int, size: int) -> int:
    """The largest of 1, 2, 4, 8 by which both sides can be divided and still be at least `size`."""
    return next((scale for scale in (8, 4, 2) if min(width, height) // size >= scale), 1)


def decode_rgb(source: ImageBytes, scale: int = 1) -> tuple[Image.Image, list[str]]:
    """The whole image in RGB, upright, missing rows filled, and what had to be mended."""
    image, rows, notes = load_rows(source, scale)
    rgb = fill_rows(to_rgb(image), rows)
    try:
        turn = ORIENTATIONS.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # whatever a damaged EXIF block makes Pillow raise
        return rgb, [*notes, "its EXIF data cannot be read, taken as upright"]
    return rgb if turn is None else rgb.transpose(turn), notes


def load_rows(source: ImageBytes, scale: int) -> tuple[Image.Image, int, list[str]]:
    """Decode -> the image, how many of its rows are its own, and what is wrong with it.

    Raises what Pillow raised when fewer than half of the rows came out.
    """
    image, rows, failure, passed = _try_load(source.content, source.guard, scale)
    uncertain = ""
    if source.retry is not None and rows < image.height <= rows + 16:  # at most one row of blocks waits for the end
        again, all_rows, error, _ = _try_load(source.retry, None, scale)
        if error is None:
            uncertain = f", rows from {rows} on are uncertain"
            image, rows, failure = again, all_rows, None
    forgiven = source.forgivable and failure is None
    notes = [source.damage + uncertain] if source.damage and not forgiven else []
    if source.restarts is not None and (broken := _broken_restarts(source.restarts)):
        if 2 * broken > len(source.restarts.data):
            raise UnfitBytes(f"{broken} of {len(source.restarts.data)} restart intervals are damaged")
        notes.append(f"{broken} of {len(source.restarts.data)} restart intervals are damaged")
    if failure is None and source.guard is not None and not passed:
        notes.append("data of pixels are left over")
    if failure is not None:
        if 2 * rows < image.height:
            raise failure
        notes.append(f"{rows} of {image.height} rows were decoded, the rest has their mean colour")
    return image, rows, notes


def _broken_restarts(restarts: Restarts) -> int:
    """How many restart intervals hold more or less than their blocks. Costs a decode at an eighth of the size."""
    broken = 0
    for part in restart_jpegs(restarts):
        _, _, failure, passed = _try_load(part.content, part.guard, 8)
        broken += failure is not None or not passed
    return broken


def _try_load(content: bytes, guard: int | None, scale: int) -> tuple[Image.Image, int, Exception | None, bool]:
    """Decode as far as it goes -> image, rows, what stopped it, whether the guard was passed."""
    file = GuardedBytes(content, guard)
    image = Image.open(file)
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    try:
        image.load()
    except Exception as failure:
        if image.format not in ("JPEG", "MPO", "PNG") or image.info.get("interlace"):
            raise
        image.tile = []  # what is there counts as loaded
        return image, _rows_with_pixels(image), failure, file.passed
    return image, image.height, None, file.passed


def _rows_with_pixels(image: Image.Image) -> int:
    """Rows up to the last that is not all 0: undecoded rows are, and black ones at the edge count as undecoded."""
    try:
        table = np.asarray(image)
    except Exception:  # nothing was decoded, not even a row
        return 0
    used = np.flatnonzero(table.reshape(len(table), -1).any(axis=1))
    return int(used[-1]) + 1 if len(used) else 0


def fill_rows(rgb: Image.Image, rows: int) -> Image.Image:
    """Give the rows from `rows` on the mean colour of those above."""
    if rows >= rgb.height:
        return rgb
    mean = np.asarray(rgb.crop((0, 0, rgb.width, rows))).mean(axis=(0, 1), dtype=np.float64)
    rgb.paste(tuple(int(value) for value in mean.round()), (0, rows, rgb.width, rgb.height))
    return rgb


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: transparency on white, 16-bit grey scaled (Pillow alone would clip it).

    Raises UnfitBytes for pixels without an agreed range: floats, and whole numbers beyond 16 bits.
    """
    if image.mode == "F":
        raise UnfitBytes("float pixels have no agreed range; save them with 8 or 16 bits")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.size and (int(deep.min()) < 0 or int(deep.max()) > 65535):
            raise UnfitBytes(f"grey values from {deep.min()} to {deep.max()}; the limit is 16 bits, 0 to 65535")
        table = (np.arange(65536) / 257.0).round().astype(np.uint8)
        rgb = Image.fromarray(table[deep]).convert("RGB")
        rgb.info["largest"] = int(deep.max(initial=0))  # for `largest_value`
        return rgb
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(background, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
