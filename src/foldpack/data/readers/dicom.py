"""DICOM by pydicom: what a device measured becomes what its display would show, or what a window makes of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.readers.arrays import ArrayFile, ArrayImage, ArrayReader
from foldpack.data.readers.limits import read_image_bytes
from foldpack.data.readers.protocol import missing_package
from foldpack.data.readers.stretch import Span, usual_span

OUTSIDE = 1e30  # beyond every window
# Packages of which each decodes a kind of compression; those that are not here need none but NumPy.
DECODERS_OF_SYNTAX = {
    "1.2.840.10008.1.2.4.50": ("pillow", "pylibjpeg-libjpeg", "python-gdcm"),  # JPEG Baseline
    "1.2.840.10008.1.2.4.51": ("pillow", "pylibjpeg-libjpeg", "python-gdcm"),  # JPEG Extended
    "1.2.840.10008.1.2.4.57": ("pylibjpeg-libjpeg", "python-gdcm"),  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": ("pylibjpeg-libjpeg", "python-gdcm"),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "pylibjpeg-libjpeg", "python-gdcm"),  # JPEG-LS
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "pylibjpeg-libjpeg", "python-gdcm"),
    "1.2.840.10008.1.2.4.90": ("pillow", "pylibjpeg-openjpeg", "python-gdcm"),  # JPEG 2000
    "1.2.840.10008.1.2.4.91": ("pillow", "pylibjpeg-openjpeg", "python-gdcm"),
    "1.2.840.10008.1.2.4.201": ("pylibjpeg-openjpeg",),  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": ("pylibjpeg-openjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg-openjpeg",),
}


@dataclass(frozen=True)
class DicomReader(ArrayReader):
    """The first frame of a file; the least value is black, of MONOCHROME1 white.

    Grey values are rescaled as the file says. Then window, centre and width in those units, or "file": the first that
    the file has; or range; or all that the stored bits can hold. Colours are shown as they are.
    """

    window: Literal["file"] | Span | None = None

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`."""
        try:
            import pydicom  # noqa: F401
        except ImportError:
            raise missing_package(images, "dicom", "pydicom") from None

    def open(self, path: Path) -> ArrayFile:
        """`ArrayReader.open`."""
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        try:
            dataset = dcmread(io.BytesIO(read_image_bytes(path)))
        except InvalidDicomError:
            raise UnfitBytes("it does not begin like DICOM") from None
        height, width = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
        channels = 3 if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else \
            whole_number(dataset, "SamplesPerPixel")
        return ArrayFile(height, width, channels, partial(self.load, dataset))

    def load(self, dataset: Any) -> ArrayImage:
        """The values of the first frame."""
        from pydicom.pixels import apply_color_lut, apply_modality_lut

        values = first_frame(dataset)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
            return ArrayImage(values, usual_span(values.dtype))
        if values.ndim == 3:
            return ArrayImage(values, usual_span(values.dtype, dataset.BitsStored))
        inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        rescaled = apply_modality_lut(values, dataset)
        windowed = self.windowed(rescaled, dataset)
        if windowed is not None:
            return ArrayImage(windowed[..., None], (0.0, 1.0), inverted=inverted)
        deep = self.range is None and values.dtype == np.uint16 and rescaled is values and dataset.BitsStored == 16
        return ArrayImage(rescaled[..., None], self.range or stored_span(dataset), inverted=inverted, deep=deep)

    def windowed(self, rescaled: np.ndarray, dataset: Any) -> np.ndarray | None:
        """Values from 0 to 1, as a window shows them; None where there is none."""
        if self.window is None:
            return None
        if self.window != "file":
            dataset = window_only(dataset, self.window)
        if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
            return None
        from pydicom.pixels import apply_windowing

        with np.errstate(over="ignore"):
            shown = apply_windowing(rescaled, dataset)
            dark, light = apply_windowing(np.array([-OUTSIDE, OUTSIDE]), dataset)
        if dark == light:
            raise UnfitBytes("its window shows one value only")
        return (shown - dark) / (light - dark)


def whole_number(dataset: Any, name: str) -> int:
    """The value of a field. Raises UnfitBytes where there is none."""
    value = dataset.get(name)
    if not isinstance(value, int):
        raise UnfitBytes(f"a DICOM without {name}, so without an image")
    return value


def first_frame(dataset: Any) -> np.ndarray:
    """(H, W) or (H, W, 3) stored values, YBR as RGB. Raises UnfitBytes where nothing decodes them."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        usable = get_decoder(syntax).is_available
    except NotImplementedError:
        raise UnfitBytes(f"pixels of transfer syntax '{syntax.name}' are not ones that pydicom decodes") from None
    if not usable:
        packages = " or ".join(DECODERS_OF_SYNTAX.get(syntax, ())) or "another package"
        raise UnfitBytes(f"pydicom needs {packages} for transfer syntax '{syntax.name}'")
    try:
        return pixel_array(dataset, index=0)
    except Exception as failure:  # whatever a damaged stream makes one of several decoders raise
        said = " ".join(str(failure).split()) or type(failure).__name__
        raise UnfitBytes(f"its pixels, '{syntax.name}', cannot be decoded: {said}") from None


def stored_span(dataset: Any) -> Span:
    """The least and the largest value that the stored bits can hold, rescaled."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, float(2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1)
    bits = dataset.get("BitsStored")
    if not isinstance(bits, int):
        raise UnfitBytes("float pixels have no agreed range; give the competition's `images.range`")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return float(low), float(high)
    ends = sorted(float(end * slope + intercept) for end in (low, high))
    if ends[0] == ends[1]:
        raise UnfitBytes("its values are rescaled by 0")
    return ends[0], ends[1]


def window_only(dataset: Any, window: Span) -> Any:
    """What `apply_windowing` reads of a dataset, with another window."""
    from pydicom import Dataset

    kept = Dataset()
    for name in ("PhotometricInterpretation", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
                 "ModalityLUTSequence"):
        if name in dataset:
            kept[name] = dataset[name]
    kept.WindowCenter, kept.WindowWidth = window
    return kept
