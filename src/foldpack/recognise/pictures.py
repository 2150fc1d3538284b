"""How the images of a download are read: by which reader, with how many channels, from which range."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from math import ceil, isqrt, log2
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, UnidentifiedImageError

from foldpack.files import failure_words
from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.listing import Listing
from foldpack.recognise.findings import Findings
from foldpack.recognise.items import Told
from foldpack.settings.competition import ImagesConfig
from foldpack.settings.item_sources import BsonSource

LOOKED_AT = 32  # images
PLANAR = 284  # TIFF tag: 2 for a plane a channel
WIDE = ("I;16", "I;16B", "I;16L", "I", "F")  # modes of Pillow with more than 8 bits
MOST_UNUSED = 1 << 30  # a range is not looked for above


@dataclass(frozen=True)
class Pictures:
    """What was seen. side: median of the longer sides, pixels; 0 where none could be opened."""

    config: ImagesConfig
    side: int


@dataclass(frozen=True)
class Seen:
    """One image file. top: its highest value, None at 8 bits; channels: 1 grey, 3 colour."""

    side: int
    channels: int
    top: float | None = None
    low: float = 0.0
    odd: bool = False  # planes apart, several pages, or no format of Pillow's
    window: bool = False  # whether it says how it is to be shown


def find_pictures(listing: Listing, train: Told | None, test: Told, paths: list[str], findings: Findings) -> Pictures:
    """The reader for the images, and what it needs to know. paths: some of the images, below the download."""
    head = (train or test).head
    if isinstance(head.source, BsonSource):
        findings.recognise("images", "encoded images in BSON", f"field {head.source.pictures}[].{head.source.picture}")
        return Pictures(ImagesConfig(reader="bson"), 0)
    if head.arrays:
        return json_pictures(listing.root, head, findings)
    step = max(1, len(paths) // LOOKED_AT)
    chosen = paths[::step][:LOOKED_AT]
    reader = reader_of(chosen)
    seen, broken = [], []
    for path in chosen:
        try:
            seen.append(LOOKS[reader](listing.root / path))
        except ImportError:
            findings.guess("images", f"reader {reader}, grey", f"the files end in {os.path.splitext(path)[1]}; to look "
                           f"into them: pip install 'foldpack[{reader}]'")
            return Pictures(ImagesConfig(reader=reader, channels=1 if reader == "dicom" else 3), 0)  # type: ignore[arg-type]
        except (OSError, ValueError, UnidentifiedImageError, SyntaxError, AttributeError) as failure:
            broken.append(f"{path}: {failure_words(failure)}")
    if broken:
        findings.guess("images", f"{len(broken)} of {len(chosen)} that were looked at cannot be opened", broken[0])
    return described(reader, seen, findings)


def reader_of(paths: list[str]) -> str:
    """By the ending of most files."""
    endings = Counter(os.path.splitext(path)[1].lower() for path in paths)
    ending = endings.most_common(1)[0][0] if endings else ""
    return {".dcm": "dicom", ".dicom": "dicom", ".npy": "numpy"}.get(ending, "pillow")


def described(reader: str, seen: list[Seen], findings: Findings) -> Pictures:
    """From what single images are like to how all are read."""
    if not seen:
        return Pictures(ImagesConfig(), 0)
    channels = max(each.channels for each in seen)
    channels = channels if channels < 4 or reader == "numpy" else 3
    tops = [each.top for each in seen if each.top is not None]
    if reader == "pillow" and any(each.odd for each in seen):
        reader = "tiff"
        findings.recognise("images", "reader tiff", "some have planes apart, several pages or values beyond 8 bits")
    span, low = None, min(each.low for each in seen)
    if tops and reader != "dicom" and len(tops) > len(seen) / 2:
        high = max(tops)
        span = [low, high] if low < 0 or high != int(high) else [0.0, float(2 ** ceil(log2(max(high, 255) + 1)) - 1)]
        findings.guess("images", f"values from {span[0]:g} to {span[1]:g} become 0 to 255",
                       f"{low:g} to {high:g} were seen in {len(seen)} images")
    window = "file" if reader == "dicom" and all(each.window for each in seen) else None
    side = int(median(each.side for each in seen))
    findings.recognise("images", f"reader {reader}, {'grey' if channels == 1 else f'{channels} channels'}",
                       f"{len(seen)} looked at, longer sides {min(each.side for each in seen)} to "
                       f"{max(each.side for each in seen)} px" + ("; the files say their window" if window else ""))
    return Pictures(ImagesConfig(reader=reader, channels=channels, range=span, window=window), side)  # type: ignore[arg-type]


def look_pillow(path: Path) -> Seen:
    """Mode and size; of more than 8 bits the values too."""
    with Image.open(path) as image:
        tags = getattr(image, "tag_v2", {})
        odd = image.format == "TIFF" and (tags.get(PLANAR) == 2 or getattr(image, "n_frames", 1) > 1)
        grey = image.mode in (*WIDE, "L", "LA", "1")
        side = max(image.size)
        if image.mode not in WIDE:
            return Seen(side, 1 if grey else 3, odd=odd)
        values = np.asarray(image)
        return Seen(side, 1, float(values.max()), float(values.min()), odd or image.mode == "F")


def look_dicom(path: Path) -> Seen:
    """Size, colour, and whether there is a window."""
    import pydicom

    file = pydicom.dcmread(path, stop_before_pixels=True)
    return Seen(max(int(file.Rows), int(file.Columns)), int(file.get("SamplesPerPixel", 1)),
                window=file.get("WindowCenter") is not None and file.get("WindowWidth") is not None)


def look_numpy(path: Path) -> Seen:
    """Shape and values: (height, width), or with channels first or last, the smallest of three."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    channels = 1 if values.ndim == 2 else min(values.shape)
    plain = values.dtype == np.uint8
    if plain:
        return Seen(max(values.shape), channels)
    return Seen(max(values.shape), channels, float(values.max()), float(values.min()))


LOOKS = {"pillow": look_pillow, "dicom": look_dicom, "numpy": look_numpy}


def json_pictures(root: Path, head: Head, findings: Findings) -> Pictures:
    """Lists of numbers in JSON objects, a channel each; squares, where the length is one."""
    lengths = set(head.arrays.values())
    length = min(lengths)
    side = isqrt(length)
    low, high = array_range(root / head.file, list(head.arrays))
    findings.recognise("images", f"{len(head.arrays)} lists of {length} numbers in each object", ", ".join(head.arrays))
    findings.guess("images", f"{side} x {length // side} pixels", "a square fits" if side * side == length else
                   "no square fits")
    findings.guess("images", f"values from {low:g} to {high:g} become 0 to 255", "the lowest and highest seen")
    config = ImagesConfig(reader="json", channels=len(head.arrays), arrays=list(head.arrays),
                          shape=[side, length // side], range=[low, high])
    return Pictures(config, max(side, length // side))


def array_range(path: Path, names: list[str]) -> tuple[float, float]:
    """The lowest and highest number of the first objects, rounded outwards to whole ones."""
    import json

    with open(path, encoding="utf-8") as file:
        data = json.load(file)[:500]
    values = np.array([row[name] for row in data for name in names], dtype=float)
    return float(np.floor(values.min())), float(np.ceil(values.max()))
