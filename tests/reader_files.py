"""Files of all kinds that readers read, made of known arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foldpack.data.decode import Decoded, decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.protocol import Reader

HEIGHT, WIDTH = 12, 16


def noise(shape: tuple[int, ...], top: int = 255, dtype: Any = np.uint8, seed: int = 0, low: int = 0) -> np.ndarray:
    """Whole numbers from `low` to `top`, both of them there."""
    values = np.random.default_rng(seed).integers(low, top + 1, shape)
    values.flat[0], values.flat[-1] = low, top
    return values.astype(dtype)


def kind_of(array: np.ndarray, channels: int) -> CanvasKind:
    """The canvas that shows every pixel of an (H, W) or (H, W, C) array as it is."""
    return CanvasKind((array.shape[0], array.shape[1]), channels=channels)


def read(reader: Reader, path: Path, channels: int, sides: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """(H, W, C) uint8 of a file whose image has these sides. Fails where it has no pixels."""
    kind = CanvasKind(sides, channels=channels)
    decoded = decode_item(path, [kind], reader)
    assert (decoded.state, decoded.reason) == ("decoded", "") and decoded.size == sides
    return decoded.pixels[kind]


def lost(reader: Reader, path: Path, channels: int = 3) -> str:
    """Why a file has no pixels, without its path. Fails where it has some."""
    decoded: Decoded = decode_item(path, [CanvasKind(8, channels=channels)], reader)
    assert decoded.state == "fallback" and "\n" not in decoded.reason and decoded.reason.startswith(f"{path}: ")
    return decoded.reason.removeprefix(f"{path}: cannot decode the image (").removesuffix(")")


def save_dicom(path: Path, values: np.ndarray, photometric: str = "MONOCHROME2", bits: int | None = None,
               **fields: Any) -> Path:
    """Write values (H, W), (H, W, 3) or (frames, H, W) as DICOM, uncompressed. fields: by their DICOM keywords."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["foldpack"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    frames = values.ndim == 3 and photometric.startswith("MONO")
    height, width = values.shape[1:] if frames else values.shape[:2]
    dataset.Rows, dataset.Columns, dataset.PhotometricInterpretation = height, width, photometric
    if frames:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel = 3 if values.ndim == 3 and not frames else 1
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def save_bson(path: Path, pictures: list[list[bytes]]) -> list[str]:
    """Write documents with lists of encoded pictures -> the places of all of them."""
    import bson

    content, places = b"", []
    for number, listed in enumerate(pictures):
        places += [f"{len(content)}.{k}" for k in range(len(listed))]
        content += bson.encode({"_id": number, "imgs": [{"picture": each} for each in listed], "category_id": 3})
    path.write_bytes(content)
    return places


def save_json(path: Path, bands: np.ndarray, lines: bool = False) -> Path:
    """Write (n, 2, H, W) numbers as records with `band_1` and `band_2`."""
    records = [{"id": str(row), "band_1": first.ravel().tolist(), "band_2": second.ravel().tolist(), "angle": "na"}
               for row, (first, second) in enumerate(bands)]
    path.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    return path


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    """An image as its file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()
