"""Image files that Pillow does not write: DICOM."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def save_dicom(path: Path, pixels: np.ndarray, inverted: bool = False) -> None:
    """Write (H, W) uint16 of 12 bits. inverted: as MONOCHROME1, where 0 is white."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{zlib.crc32(str(path).encode())}"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.Rows, file.Columns = "OT", *pixels.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.PixelData = (4095 - pixels if inverted else pixels).astype("<u2").tobytes()
    file.save_as(path, enforce_file_format=True)
