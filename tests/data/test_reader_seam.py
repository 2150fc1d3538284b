"""The reader of the items reads wherever their pixels are made; and an image in a file of many exists."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foldpack.competitions.protocol import Labelled, require_images
from foldpack.data.decode import decode_crops, decode_item, decode_picture
from foldpack.data.geometry import CanvasKind, fit_planes
from foldpack.data.image_hash import hash_images
from foldpack.data.image_place import image_file
from foldpack.data.items import Items, boxes_of, whole_images
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.protocol import ReadImage
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.kernel.policy import items_digest
from foldpack.predict.canvas import decode_items
from foldpack.predict.crops import CropStream
from foldpack.predict.page_stream import PageStream
from foldpack.predict.room import Place
from foldpack.predict.scratch import keep_canvases
from foldpack.settings.network import Geometry
from packer.rehearse.images import SampleImages

KIND = CanvasKind(8)
BOXES = CanvasKind(8, geometry=Geometry(kind="box"))


@dataclass(frozen=True)
class FlatReader:
    """Every image is one colour, whatever its file says."""

    grey: int
    package: str = ""

    channels: int = 3

    def prepare(self, images: Sequence[Path]) -> None:
        if self.package:
            raise DataError(f"reader 'flat' needs {self.package}")

    def planes(self, path: Path, channels: int) -> list[Image.Image]:
        return [Image.new("RGB", (16, 16), (self.grey,) * 3)]

    def canvases(self, path: Path, kinds: Sequence[CanvasKind]) -> ReadImage:
        return ReadImage({kind: fit_planes(self.planes(path, 3), kind, 16, 16) for kind in kinds}, (16, 16))


@pytest.fixture
def items(tmp_path: Path) -> Items:
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    return whole_images([path.stem for path in paths], paths, reader=FlatReader(77))


def test_whoever_makes_pixels_asks_the_items_reader(items: Items, tmp_path: Path) -> None:
    assert (decode_item(items.images[0], [KIND], items.reader).pixels[KIND] == 77).all()
    assert (decode_items(items, KIND, 2).pixels == 77).all()
    kept = keep_canvases(items, {KIND: 1}, [Place(tmp_path / "kept", 1 << 30)], 1, print)[0]
    streamed = keep_canvases(items, {KIND: 1}, [], 1, print)[0]
    assert (pickle.loads(pickle.dumps(streamed[KIND])).take(0, 3) == 77).all()  # as a worker process gets it
    assert (kept[KIND].take(0, 3) == 77).all()  # nothing was put in: by its stream
    assert (PageStream(items.images, KIND, 1, items.reader).take(1, 2) == 77).all()
    crops = decode_crops(items.images[0], BOXES, np.array([[0, 0, 4, 4]]), items.reader)
    assert crops is not None and (crops == 77).all()


def test_boxes_and_taken_rows_keep_the_reader(items: Items) -> None:
    rows = Rows({"box": np.zeros((3, 4), np.float32), "score": np.ones(3)}, np.array([0, 1, 2, 3]))
    boxes = boxes_of(items, rows, 5)
    assert boxes.reader == FlatReader(77) and (CropStream(boxes, BOXES).take(0, 3) == 77).all()
    labelled = Labelled(Path("train.csv"), items, np.zeros(3, np.int64), ["a"], {})
    assert labelled.take(["2", "0"], Path("folds.csv")).items.reader == FlatReader(77)


def test_near_duplicates_are_sought_by_the_items_reader(items: Items) -> None:
    pytest.importorskip("imagehash")
    _, reasons = hash_images(items.images, items.reader, 1, lambda share: None)
    assert reasons == ["", "", ""]  # there are no such files, but the reader does not mind
    with pytest.raises(DataError, match="needs nothing"):
        hash_images(items.images, FlatReader(1, "nothing"), 1, lambda share: None)


def test_a_missing_package_is_told_before_the_first_image(items: Items) -> None:
    lacking = whole_images(items.ids, items.images, reader=FlatReader(1, "pyflat"))
    with pytest.raises(DataError, match="needs pyflat"):
        decode_items(lacking, KIND, 1)
    with pytest.raises(DataError, match="needs pyflat"):
        PageStream(lacking.images, KIND, 1, lacking.reader).take(0, 1)


def test_an_image_in_a_file_of_many_exists(tmp_path: Path) -> None:
    (tmp_path / "test.bson").write_bytes(b"many")
    own = tmp_path / "x.png"
    own.write_bytes(b"one")
    inside = tmp_path / "test.bson" / "4711.2"
    assert image_file(inside) == tmp_path / "test.bson" and image_file(own) == own
    assert image_file(tmp_path / "y.png") is None and image_file(tmp_path) is None
    require_images(whole_images(["a", "b"], [inside, own]), tmp_path / "train.csv")
    with pytest.raises(DataError, match="id 'c' has no image at .*y.png"):
        require_images(whole_images(["c"], [tmp_path / "y.png"]), tmp_path / "train.csv")


def test_images_in_a_file_of_many_are_known_by_file_and_place(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_bytes(b"many")
    seen = {items_digest(whole_images(["a"], [tmp_path / "test.json" / place])) for place in ("0", "1")}
    (tmp_path / "test.json").write_bytes(b"many more")
    seen.add(items_digest(whole_images(["a"], [tmp_path / "test.json" / "0"])))
    seen.add(items_digest(whole_images(["a"], [tmp_path / "gone.json" / "0"])))
    assert len(seen) == 4


def test_a_rehearsal_breaks_only_images_with_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_bytes(b"many")
    (tmp_path / "x.png").write_bytes(b"one")
    inside = {str(row): [tmp_path / "test.json" / str(row)] for row in range(3)}
    sample = SampleImages(tmp_path, None, inside)  # type: ignore[arg-type]
    assert sample.with_broken([]).broken == ""
    one = SampleImages(tmp_path, None, {**inside, "x": [tmp_path / "test.json/3", tmp_path / "x.png"]}).with_broken([])  # type: ignore[arg-type]
    assert one.broken == "x" and one.broken_image == tmp_path / "x.png" and one.count(["0", "x", "gone"]) == 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels_has_colours_for_eyes_and_hashes(tmp_path: Path, channels: int) -> None:
    pytest.importorskip("imagehash")
    values = np.random.default_rng(0).integers(0, 256, (64, 64, channels), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    reader = NumpyReader(channels)
    decoded, colours = decode_picture(tmp_path / "a.npy", CanvasKind(64), reader)
    assert decoded.state == "decoded" and colours.shape == (64, 64, 3) and (colours[..., 0] == values[..., 0]).all()
    assert hash_images([tmp_path / "a.npy"], reader, 1, lambda share: None)[1] == [""]
