"""What decodes here and not on Kaggle is told before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pydicom
import tifffile
from PIL import Image as Picture
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless
from reader_files import noise, save_dicom

from foldpack.data.items import Items, whole_images
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.tiff import TiffReader
from packer.deploy.image_packages import PLAIN_COMPRESSIONS, missing_codecs, needed_packages
from packer.image.image import kaggle_image


def compressed(path: Path, syntax: str) -> Path:
    """A DICOM that says that its pixels are compressed so."""
    dataset = pydicom.dcmread(save_dicom(path, noise((8, 8))))
    dataset.PixelData = encapsulate([b"a stream"])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def items_of(paths: list[Path], reader: Reader) -> Items:
    return whole_images([path.stem for path in paths], paths, reader=reader)


def test_a_kind_of_compression_names_what_undoes_it(tmp_path: Path) -> None:
    plain = save_dicom(tmp_path / "plain.dcm", noise((8, 8)))
    assert needed_packages(DicomReader(), plain) == ()
    assert needed_packages(DicomReader(), compressed(tmp_path / "rle.dcm", RLELossless)) == ()
    assert "pillow" in needed_packages(DicomReader(), compressed(tmp_path / "j2k.dcm", JPEG2000Lossless))
    lossless = compressed(tmp_path / "sv1.dcm", JPEGLosslessSV1)
    assert needed_packages(DicomReader(), lossless) == ("pylibjpeg-libjpeg", "python-gdcm")
    assert needed_packages(PillowReader(), lossless) == ()
    assert needed_packages(DicomReader(), tmp_path / "none.dcm") == ()
    Picture.fromarray(noise((8, 8))).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    assert needed_packages(TiffReader(), tmp_path / "lzw.tif") == ("imagecodecs",)
    tifffile.imwrite(tmp_path / "zip.tif", noise((8, 8)), compression="zlib")
    assert needed_packages(TiffReader(), tmp_path / "zip.tif") == ()


def test_tifffile_itself_undoes_what_counts_as_plain() -> None:
    assert all(code in tifffile.TIFF.DECOMPRESSORS for code in PLAIN_COMPRESSIONS)


def test_what_the_image_lacks_is_told_unless_it_is_brought(tmp_path: Path) -> None:
    paths = [compressed(tmp_path / f"{row}.dcm", JPEGLosslessSV1) for row in range(3)]
    paths += [save_dicom(tmp_path / "a.dcm", noise((8, 8))), compressed(tmp_path / "b.dcm", JPEG2000Lossless)]
    items = items_of([*paths, tmp_path / "gone.dcm"], DicomReader())
    [(most, what, mend)] = missing_codecs(items, set(), kaggle_image())
    assert most and what.startswith(f"{paths[0]}: the Kaggle image of {kaggle_image().date} has not what decodes it, ")
    assert "pylibjpeg-libjpeg or python-gdcm; so are 3 of the 5 test images that were looked at" in what
    assert mend.startswith("put wheels of pylibjpeg and pylibjpeg-libjpeg into a dataset")
    assert missing_codecs(items, {"python-gdcm"}, kaggle_image()) == []
    [(most, _, _)] = missing_codecs(items_of(paths[2:], DicomReader()), set(), kaggle_image())
    assert not most


def test_no_more_than_some_images_are_looked_at(tmp_path: Path) -> None:
    path = compressed(tmp_path / "a.dcm", JPEGLosslessSV1)
    for row in range(230):
        (tmp_path / f"x{row}.dcm").hardlink_to(path)
    items = items_of([tmp_path / f"x{row}.dcm" for row in range(230)], DicomReader())
    assert "so are 50 of the 50 test images" in missing_codecs(items, set(), kaggle_image())[0][1]
