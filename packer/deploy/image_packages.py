"""What the test images need to be decoded on Kaggle beside the package of their reader: codecs that its image lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from foldpack.data.image_place import image_file
from foldpack.data.items import Items
from foldpack.data.readers.dicom import DECODERS_OF_SYNTAX, DicomReader
from foldpack.data.readers.tiff import TiffReader, first_series
from packer.image.image import Image

LOOKED_AT = 50  # images, evenly spread
# Compressions of TIFF that tifffile undoes without imagecodecs: none, deflate, PackBits, LZMA.
PLAIN_COMPRESSIONS = (1, 8, 32773, 32946, 34925, 50013)


def missing_codecs(items: Items, brought: Collection[str], image: Image) -> list[tuple[bool, str, str]]:
    """(whether it is most images, what is wrong, what to do) of packages that some need and a kernel will not have.

    brought: distributions that the kernel carries or installs. Looks at the headers of some of the images.
    """
    there = [path for path in dict.fromkeys(items.images) if image_file(path)]
    chosen = there[:: max(1, len(there) // LOOKED_AT)][:LOOKED_AT]
    lacking: Counter[tuple[str, ...]] = Counter()
    example: dict[tuple[str, ...], Path] = {}
    for path in chosen:
        needed = needed_packages(items.reader, path)
        if needed and not any(name in image.versions or name in brought for name in needed):
            lacking[needed] += 1
            example.setdefault(needed, path)
    return [(2 * count > len(chosen),
             f"{example[names]}: the Kaggle image of {image.date} has not what decodes it, {' or '.join(names)}; so "
             f"are {count} of the {len(chosen)} test images that were looked at, and their rows would get the prior",
             f"put wheels of {together(names[0])} into a dataset and name it with `wheels:` in the ensemble")
            for names, count in lacking.items()]


def together(name: str) -> str:
    """A package with what it is a part of: wheels are installed without dependencies."""
    return f"pylibjpeg and {name}" if name.startswith("pylibjpeg-") else name


def needed_packages(reader: object, path: Path) -> tuple[str, ...]:
    """Distributions of which one is needed to decode an image; none where its reader alone will do, or where its header
    cannot be read."""
    try:
        if isinstance(reader, DicomReader):
            from pydicom import dcmread

            return DECODERS_OF_SYNTAX.get(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID, ())
        if isinstance(reader, TiffReader):
            from tifffile import TiffFile

            with TiffFile(path) as file:
                return () if first_series(file).keyframe.compression in PLAIN_COMPRESSIONS else ("imagecodecs",)
    except Exception:  # a damaged file, which the kernel will tell of
        return ()
    return ()
