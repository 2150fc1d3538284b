"""Noise is written as each reader reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.tiff import TiffReader
from packer.rehearse.noise import noise_file


@pytest.mark.parametrize(("reader", "channels"), [
    (PillowReader(), 3), (PillowReader(), 5), (PillowReader(range=(0.0, 4095.0)), 1), (DicomReader(), 1),
    (DicomReader(window="file"), 3), (DicomReader(window=(128.0, 256.0)), 1), (TiffReader(), 3),
    (TiffReader(5, (-1.0, 1.0)), 5), (TiffReader(2), 2), (NumpyReader(), 1), (NumpyReader(2, (-40.0, 10.0)), 2),
], ids=str)
def test_the_reader_sees_the_noise(tmp_path: Path, reader: Reader, channels: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8))
    (tmp_path / "a").write_bytes(noise_file(reader, image, channels, ".png"))
    kind = CanvasKind((9, 11), channels=channels)
    decoded = decode_item(tmp_path / "a", [kind], reader)
    assert decoded.state == "decoded", decoded.reason
    grey = np.asarray(image.convert("L"))
    wanted = np.asarray(image) if channels == 3 else np.repeat(grey[..., None], channels, axis=2)
    assert np.abs(decoded.pixels[kind].astype(int) - wanted).max() <= 1
