"""Arrays of NumPy: sides, ranges, archives, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reader_files import HEIGHT, WIDTH, lost, noise, read
from test_dicom import scaled

from foldpack.data.readers.numpy_files import NumpyReader

SHAPE = (HEIGHT, WIDTH)


def save(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_channels_stand_first_or_last(tmp_path: Path, channels: int, first: bool) -> None:
    values = noise((*SHAPE, channels))
    path = save(tmp_path / "a.npy", np.moveaxis(values, 2, 0) if first else values)
    assert np.array_equal(read(NumpyReader(channels), path, channels), values)


def test_grey_has_no_channels(tmp_path: Path) -> None:
    values = noise(SHAPE)
    colour = read(NumpyReader(), save(tmp_path / "a.npy", values), 3)
    assert all(np.array_equal(colour[..., k], values) for k in range(3))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int32, np.uint64, ">f4", ">u2"])
def test_a_range_is_for_numbers_of_every_kind(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.asarray(noise(SHAPE, 100, dtype), order=order)  # type: ignore[call-overload]
    path = save(tmp_path / "a.npy", values)
    assert np.array_equal(read(NumpyReader(range=(10.0, 90.0)), path, 1)[..., 0], scaled(values, 10, 90))
    if dtype != ">u2":
        assert "have no agreed range; give the competition's `images.range`" in lost(NumpyReader(), path, 1)


def test_whole_numbers_of_8_and_16_bits_and_booleans_have_a_range(tmp_path: Path) -> None:
    for name, values, span in (("a", noise(SHAPE), (0, 255)), ("b", noise(SHAPE, 65535, np.uint16), (0, 65535)),
                               ("c", noise(SHAPE, 1).astype(bool), (0, 1))):
        assert np.array_equal(read(NumpyReader(), save(tmp_path / f"{name}.npy", values), 1)[..., 0],
                              scaled(values, *span))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_the_first_array_of_an_archive_is_taken(tmp_path: Path, write) -> None:
    values = noise((*SHAPE, 3))
    write(tmp_path / "a.npz", image=values, other=np.zeros(3))
    assert np.array_equal(read(NumpyReader(), tmp_path / "a.npz", 3), values)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert lost(NumpyReader(), tmp_path / "pickle.npy") == "an array of object; numbers or booleans are needed"
    assert "an array of 4 sides" in lost(NumpyReader(), save(tmp_path / "four.npy", np.zeros((2, 2, 2, 2), np.uint8)))
    cube = save(tmp_path / "cube.npy", np.zeros((70,) * 3))
    assert "none of its outer sides are channels" in lost(NumpyReader(), cube)
    whole = save(tmp_path / "a.npy", noise(SHAPE)).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-1])
    assert lost(NumpyReader(), tmp_path / "cut.npy") == "an array of 192 bytes in a file that has 191 of them"
    (tmp_path / "text.npy").write_text("no array")
    assert "does not begin like an array of NumPy" in lost(NumpyReader(), tmp_path / "text.npy")
    np.savez(tmp_path / "none.npz")
    assert lost(NumpyReader(), tmp_path / "none.npz") == "an archive without arrays"
    save(tmp_path / "large.npy", np.zeros((12_000, 9_000), np.uint8))
    assert lost(NumpyReader(), tmp_path / "large.npy") == "9000 x 12000 pixels; the limit is 89,000,000"
