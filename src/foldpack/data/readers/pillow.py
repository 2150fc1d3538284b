"""Images by Pillow: PNG, JPEG, WebP, TIFF, BMP, GIF and whatever else it reads; a damaged file is never taken for a
sound one.

EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bit, palettes, 1-bit and CMYK images
become RGB, the first frame of an animation counts. Other numbers of channels: `to_planes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from foldpack.data.decode_bytes import (
    GuardedBytes,
    ImageBytes,
    Restarts,
    UnfitBytes,
    check_image_bytes,
    restart_jpegs,
)
from foldpack.data.depth import has_16_bits, largest_value
from foldpack.data.geometry import CanvasKind, fit_planes, place_image
from foldpack.data.readers.limits import check_pixels_count, one_big_image, read_image_bytes
from foldpack.data.readers.protocol import ReadImage
from foldpack.data.readers.stretch import Span, stretch, stretch_bytes

WHITE = (255, 255, 255)
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
LYING = [ORIENTATIONS[tag] for tag in (5, 6, 7, 8)]  # height and width change places


@dataclass(frozen=True)
class PillowReader:
    """The default: an image a file. range: of deep grey, see `to_rgb`."""

    channels: int = 3
    range: Span | None = None

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`: Pillow is always there."""

    def content(self, path: Path) -> bytes:
        """The encoded image. Raises OSError or UnfitBytes."""
        return read_image_bytes(path)

    def canvases(self, path: Path, kinds: Sequence[CanvasKind]) -> ReadImage:
        """`Reader.canvases`. An image is decoded once for each reduction that the kinds want, which differ for
        "pillow-draft" only."""
        try:
            return decode_kinds(check_image_bytes(self.content(path)), kinds, self.range)
        except UnidentifiedImageError:  # its own message names an object in memory
            raise UnfitBytes("it begins like no image that can be read") from None

    def planes(self, path: Path, channels: int) -> list[Image.Image]:
        """`Reader.planes`."""
        return decode_planes(check_image_bytes(self.content(path)), 1, {channels}, self.range)[0][channels]


def decode_kinds(source: ImageBytes, kinds: Sequence[CanvasKind], span: Span | None = None) -> ReadImage:
    """The canvases of an encoded image. span: see `to_rgb`. Raises what Pillow raises, and UnfitBytes."""
    pixels: dict[CanvasKind, np.ndarray] = {}
    notes: list[str] = []
    largest = -1
    with Image.open(GuardedBytes(source.content, None)) as image:
        width, height = image.size
        deep = span is None and has_16_bits(image)
        reducible = image.format in ("JPEG", "MPO") and any(kind.decoder == "pillow-draft" for kind in kinds)
        lying = reducible and upright_turn(image)[0] in LYING  # a JPEG's header says it; others must be decoded first
    check_pixels_count(width, height, max(kind.channels for kind in kinds))
    upright = (width, height) if lying else (height, width)
    scales = {kind: jpeg_reduction(kind, *upright) if reducible and kind.decoder == "pillow-draft" else 1
              for kind in kinds}
    with one_big_image(width, height):
        for scale in dict.fromkeys(scales.values()):
            chosen = [kind for kind in kinds if scales[kind] == scale]
            planes, said, turn = decode_planes(source, scale, {kind.channels for kind in chosen}, span)
            notes += [note for note in said if note not in notes]
            upright = (width, height) if turn in LYING else (height, width)
            for kind in chosen:
                pixels[kind] = fit_planes(planes[kind.channels], kind, *upright)
            if deep:
                largest = max(largest_value(plane) for plane in next(iter(planes.values())))
    return ReadImage(pixels, upright, notes, largest)


def jpeg_reduction(kind: CanvasKind, height: int, width: int) -> int:
    """The largest of 1, 2, 4, 8 by which both sides can be divided and still hold all pixels that the canvas shows."""
    tall, broad = place_image(kind, height, width).extent
    return next((scale for scale in (8, 4, 2) if tall * scale <= height and broad * scale <= width), 1)


def upright_turn(image: Image.Image) -> tuple[Image.Transpose | None, list[str]]:
    """What turns an image upright, None for nothing; and a note where its EXIF data cannot be read."""
    try:
        return ORIENTATIONS.get(image.getexif().get(ORIENTATION_TAG, 1)), []
    except Exception:  # whatever a damaged EXIF block makes Pillow raise
        return None, ["its EXIF data cannot be read, taken as upright"]


def decode_planes(source: ImageBytes, scale: int, channels: set[int], span: Span | None = None) \
        -> tuple[dict[int, list[Image.Image]], list[str], Image.Transpose | None]:
    """Planes for each number of channels, upright, missing rows filled; what had to be mended; the turn."""
    image, rows, notes = load_rows(source, scale)
    turn, said = upright_turn(image)
    planes = {count: [fill_rows(plane, rows) for plane in to_planes(image, count, span)] for count in channels}
    if turn is not None:
        planes = {count: [plane.transpose(turn) for plane in several] for count, several in planes.items()}
    return planes, [*notes, *said], turn


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


def fill_rows(plane: Image.Image, rows: int) -> Image.Image:
    """Give the rows from `rows` on the mean colour of those above."""
    if rows >= plane.height:
        return plane
    mean = np.atleast_1d(np.asarray(plane.crop((0, 0, plane.width, rows))).mean(axis=(0, 1), dtype=np.float64))
    plane.paste(tuple(int(value) for value in mean.round()), (0, rows, plane.width, plane.height))
    return plane


def to_planes(image: Image.Image, channels: int, span: Span | None = None) -> list[Image.Image]:
    """A decoded image -> one image of 1 or 3 channels, or one a channel, so that each is resampled on its own.

    1: grey; 3: RGB; any other number: the pages of a TIFF of so many, each grey; 4: else RGBA, opaque where the file
    has no alpha. span: see `to_rgb`. Raises UnfitBytes for a file of another number of channels.
    """
    if channels in (1, 3):
        if channels == 1 and image.mode == "L" and "transparency" not in image.info:
            return [stretch_bytes(image, span)]
        rgb = to_rgb(image, span)
        return [rgb if channels == 3 else rgb.convert("L")]
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages == channels:
        return [to_rgb(page, span).convert("L") for page in ImageSequence.Iterator(image)]
    if channels == 4 and pages == 1:
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        *colours, opacity = (image if alpha else to_rgb(image)).convert("RGBA").split()
        return [*(stretch_bytes(colour, span) for colour in colours), opacity]
    raise UnfitBytes(f"{pages} {'page' if pages == 1 else 'pages'}, and {channels} channels are asked for: a TIFF of "
                     f"{channels} pages")


def to_rgb(image: Image.Image, span: Span | None = None) -> Image.Image:
    """Any Pillow mode -> RGB: transparency on white, 16-bit grey scaled (Pillow alone would clip it).

    span: the values of deep grey that become 0 and 255, and of 8 bits where it does not go beyond; None: what the
    format can hold. Raises UnfitBytes for pixels without an agreed range: floats, and whole numbers beyond 16 bits.
    """
    if span is not None and image.mode[0] in "FI":
        values = np.asarray(image)
        return Image.fromarray(stretch(values.astype(values.dtype.newbyteorder("=")), span)).convert("RGB")
    if image.mode == "F":
        raise UnfitBytes("float pixels have no agreed range; give the competition's `images.range`")
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
        return stretch_bytes(Image.alpha_composite(background, layer).convert("RGB"), span)
    return stretch_bytes(image if image.mode == "RGB" else image.convert("RGB"), span)  # which would copy it
