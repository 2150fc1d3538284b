"""Files of noise in the format that a competition's reader reads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.data.readers.arrays import ArrayReader
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.tiff import TiffReader


def noise_file(reader: Reader, image: Image.Image, channels: int, suffix: str) -> bytes:
    """The file of an image with so many channels, each grey unless they are 3. suffix: decides between formats."""
    buffer = io.BytesIO()
    if isinstance(reader, DicomReader):
        return dicom_bytes(np.asarray(image if channels == 3 else image.convert("L")))
    if isinstance(reader, TiffReader):
        import tifffile

        tifffile.imwrite(buffer, values_in_range(reader, image, channels), photometric="minisblack",
                         planarconfig="contig")
    elif isinstance(reader, NumpyReader):
        np.save(buffer, values_in_range(reader, image, channels))
    elif channels in (1, 3, 4):
        image.save(buffer, format=Image.registered_extensions().get(suffix.lower(), "PNG"))
    else:  # what only the pages of a TIFF can be
        image.save(buffer, format="TIFF", save_all=True, append_images=[image] * (channels - 1))
    return buffer.getvalue()


def values_in_range(reader: ArrayReader, image: Image.Image, channels: int) -> np.ndarray:
    """(H, W, C) uint8, or float32 that fills the reader's range."""
    grey = np.asarray(image.convert("L"))[..., None]
    values = np.asarray(image) if channels == 3 else np.repeat(grey, channels, axis=2)
    if reader.range is None:
        return values
    low, high = reader.range
    return (low + values / 255 * (high - low)).astype(np.float32)


def dicom_bytes(values: np.ndarray) -> bytes:
    """A DICOM of (H, W) or (H, W, 3) uint8."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    dataset = FileDataset(Path("noise.dcm"), {}, file_meta=meta, preamble=bytes(128))
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if values.ndim == 3 else (1, "MONOCHROME2")
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = values.tobytes() + bytes(values.size % 2)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
