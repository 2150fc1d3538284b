"""Readers by the names that `images.reader` of a competition takes."""

from __future__ import annotations

from collections.abc import Callable

from foldpack.data.readers.bson_documents import BsonReader
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.json_records import JsonReader
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.stretch import Span
from foldpack.data.readers.tiff import TiffReader
from foldpack.settings.competition import ImagesConfig
from foldpack.settings.item_sources import BsonSource, ItemSource


def pair(numbers: list[float] | None) -> Span | None:
    """Two numbers of the settings."""
    return None if numbers is None else (float(numbers[0]), float(numbers[1]))


def dicom_reader(images: ImagesConfig, source: ItemSource | None) -> Reader:
    """Its window is a pair, or what the files say."""
    window = images.window if isinstance(images.window, str) else pair(images.window)
    return DicomReader(images.channels, pair(images.range), window)


def bson_reader(images: ImagesConfig, source: ItemSource | None) -> Reader:
    """The source knows what the pictures are called."""
    named = {} if not isinstance(source, BsonSource) else {"pictures": source.pictures, "picture": source.picture}
    return BsonReader(images.channels, pair(images.range), **named)


def json_reader(images: ImagesConfig, source: ItemSource | None) -> Reader:
    """The settings see to it that a reader of JSON has all that it needs."""
    assert images.arrays is not None and images.shape is not None
    return JsonReader(images.channels, pair(images.range), tuple(images.arrays), (images.shape[0], images.shape[1]))


MakeReader = Callable[[ImagesConfig, ItemSource | None], Reader]  # source: of the items, which may hold the images
READERS: dict[str, MakeReader] = {
    "bson": bson_reader,
    "dicom": dicom_reader,
    "json": json_reader,
    "numpy": lambda images, source: NumpyReader(images.channels, pair(images.range)),
    "pillow": lambda images, source: PillowReader(images.channels, pair(images.range)),
    "tiff": lambda images, source: TiffReader(images.channels, pair(images.range)),
}


def make_reader(images: ImagesConfig, source: ItemSource | None = None) -> Reader:
    """The reader that a competition asks for. source: of the items, where their file holds the images too."""
    return READERS[images.reader](images, source)
