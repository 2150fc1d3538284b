"""DICOM: what becomes black and white, by the file's bits, its window, ours, or a range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reader_files import HEIGHT, WIDTH, lost, noise, read, save_dicom

from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.dicom import DicomReader

SHAPE = (HEIGHT, WIDTH)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The definition: low and below 0, high and above 255, linear between, rounded."""
    return ((np.clip(values.astype(float), low, high) - low) * 255 / (high - low)).round().astype(np.uint8)


@pytest.mark.parametrize(("top", "dtype", "bits"), [(255, np.uint8, 8), (4095, np.uint16, 12), (65535, np.uint16, 16)])
def test_the_stored_bits_are_the_range(tmp_path: Path, top: int, dtype: type, bits: int) -> None:
    values = noise(SHAPE, top, dtype)
    path = save_dicom(tmp_path / "a.dcm", values, bits=bits)
    assert np.array_equal(read(DicomReader(), path, 1)[..., 0], scaled(values, 0, 2**bits - 1))
    colour = read(DicomReader(), path, 3)
    assert all(np.array_equal(colour[..., k], scaled(values, 0, 2**bits - 1)) for k in range(3))


def test_the_least_value_of_monochrome1_is_white(tmp_path: Path) -> None:
    values = noise(SHAPE, 4095, np.uint16)
    plain = read(DicomReader(), save_dicom(tmp_path / "2.dcm", values, bits=12), 1)
    inverted = save_dicom(tmp_path / "1.dcm", values, "MONOCHROME1", 12)
    assert np.array_equal(read(DicomReader(), inverted, 1), 255 - plain)


def test_signed_values_are_rescaled_before_a_range_is_taken(tmp_path: Path) -> None:
    values = noise(SHAPE, 3000, np.int16, low=-1024)
    path = save_dicom(tmp_path / "ct.dcm", values, bits=16, RescaleSlope="2", RescaleIntercept="-100")
    lungs = read(DicomReader(range=(-1350.0, 150.0)), path, 1)[..., 0]
    assert np.array_equal(lungs, scaled(values * 2.0 - 100, -1350, 150))
    assert np.array_equal(read(DicomReader(), path, 1)[..., 0], scaled(values * 2.0 - 100, -65636, 65434))


def test_a_slope_below_zero_turns_black_to_white(tmp_path: Path) -> None:
    values = noise(SHAPE, 255)
    path = save_dicom(tmp_path / "a.dcm", values, RescaleSlope="-1", RescaleIntercept="255")
    assert np.array_equal(read(DicomReader(), path, 1)[..., 0], 255 - values)
    windowed = read(DicomReader(window=(128.0, 256.0)), path, 1)[..., 0]
    assert np.array_equal(windowed, 255 - values)


def windowed(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """C.11.2.1.2 of the standard, as fractions of white."""
    return scaled((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def test_the_files_first_window_or_ours_is_taken(tmp_path: Path) -> None:
    values = noise(SHAPE, 2000, np.int16, low=-1000)
    path = save_dicom(tmp_path / "a.dcm", values, WindowCenter=["40", "-600"], WindowWidth=["400", "1500"])
    assert np.array_equal(read(DicomReader(window="file"), path, 1)[..., 0], windowed(values, 40, 400))
    assert np.array_equal(read(DicomReader(window=(-600.0, 1500.0)), path, 1)[..., 0], windowed(values, -600, 1500))
    inverted = save_dicom(tmp_path / "b.dcm", values, "MONOCHROME1", WindowCenter="40", WindowWidth="400")
    assert np.array_equal(read(DicomReader(window="file"), inverted, 1)[..., 0], 255 - windowed(values, 40, 400))
    none = save_dicom(tmp_path / "c.dcm", values)  # one that has no window is shown by its bits
    assert np.array_equal(read(DicomReader(window="file"), none, 1), read(DicomReader(), none, 1))


def test_a_sigmoid_window_is_followed_but_ours_is_a_line(tmp_path: Path) -> None:
    values = noise(SHAPE, 255)
    path = save_dicom(tmp_path / "a.dcm", values, WindowCenter="128", WindowWidth="100", VOILUTFunction="SIGMOID")
    expected = scaled(1 / (1 + np.exp(-4 * (values - 128.0) / 100)), 0, 1)
    assert np.array_equal(read(DicomReader(window="file"), path, 1)[..., 0], expected)
    assert np.array_equal(read(DicomReader(window=(128.0, 100.0)), path, 1)[..., 0], windowed(values, 128, 100))


def test_colours_are_shown_as_they_are_and_the_first_frame_counts(tmp_path: Path) -> None:
    colour = noise((*SHAPE, 3))
    path = save_dicom(tmp_path / "rgb.dcm", colour, "RGB")
    assert np.array_equal(read(DicomReader(window=(40.0, 80.0)), path, 3), colour)
    frames = noise((3, *SHAPE))
    assert np.array_equal(read(DicomReader(), save_dicom(tmp_path / "film.dcm", frames), 1)[..., 0], frames[0])


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    from pydicom.pixels import convert_color_space

    colour = noise((*SHAPE, 3))
    path = save_dicom(tmp_path / "a.dcm", colour, "YBR_FULL")
    assert np.array_equal(read(DicomReader(), path, 3), convert_color_space(colour, "YBR_FULL", "RGB"))


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    values, table = noise(SHAPE, 255), noise((3, 256), 65535, np.uint16, seed=1)
    fields = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")}
    data = {f"{name}PaletteColorLookupTableData": row.tobytes() for name, row in zip(("Red", "Green", "Blue"), table,
                                                                                     strict=True)}
    path = save_dicom(tmp_path / "a.dcm", values, "PALETTE COLOR", **fields, **data)
    assert np.array_equal(read(DicomReader(), path, 3), scaled(np.moveaxis(table[:, values], 0, 2), 0, 65535))


def test_compressed_pixels_are_decoded_or_the_package_is_named(tmp_path: Path) -> None:
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless

    values = noise(SHAPE)
    path = save_dicom(tmp_path / "a.dcm", values)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(read(DicomReader(), tmp_path / "rle.dcm", 1)[..., 0], values)
    dataset.PixelData = encapsulate([b"\xff\xd8 no stream at all"])
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(tmp_path / "sv1.dcm")
    assert lost(DicomReader(), tmp_path / "sv1.dcm").startswith("pydicom needs pylibjpeg-libjpeg or python-gdcm for ")
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(tmp_path / "j2k.dcm")
    assert "'JPEG 2000 Image Compression (Lossless Only)', cannot be decoded" in lost(DicomReader(),
                                                                                       tmp_path / "j2k.dcm")


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_bytes(b"no such thing" * 20)
    assert lost(DicomReader(), tmp_path / "text.dcm") == "it does not begin like DICOM"
    path = save_dicom(tmp_path / "a.dcm", noise(SHAPE))
    assert lost(DicomReader(), path, 2).startswith("1 channel, and 2 are asked for; set `images.channels`")
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-20])
    assert "cannot be decoded" in lost(DicomReader(), tmp_path / "cut.dcm")
    empty = save_dicom(tmp_path / "b.dcm", noise(SHAPE), Rows=0)
    assert "pixels" in lost(DicomReader(), empty)
    huge = save_dicom(tmp_path / "c.dcm", noise(SHAPE), Rows=20_000, Columns=20_000)
    assert lost(DicomReader(), huge) == "20000 x 20000 pixels; the limit is 89,000,000"
    flat = save_dicom(tmp_path / "d.dcm", noise(SHAPE), RescaleSlope="0", RescaleIntercept="1")
    assert lost(DicomReader(), flat) == "its values are rescaled by 0"


def test_few_of_16_stored_bits_are_noticed(tmp_path: Path) -> None:
    values = noise(SHAPE, 4095, np.uint16)
    kind = CanvasKind(8, channels=1)
    assert decode_item(save_dicom(tmp_path / "a.dcm", values), [kind], DicomReader()).largest == 4095
    assert decode_item(save_dicom(tmp_path / "b.dcm", values, bits=12), [kind], DicomReader()).largest == -1
    assert decode_item(tmp_path / "a.dcm", [kind], DicomReader(range=(0.0, 4095.0))).largest == -1
