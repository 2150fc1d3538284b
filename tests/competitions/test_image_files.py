"""Where images lie: at the path that the template gives, or under another ending; what is missing, what is too much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_competition import competition_of, write_files

from foldpack.competitions.protocol import require_images
from foldpack.errors import DataError


def items_of(root: Path, image: str = "test/{id}.png", train: str = "train/{id}.png"):
    return competition_of(test__image=image, train__image=train).test(root)


def sample_of(root: Path, *ids: str) -> None:
    write_files(root, {"sample_submission.csv": "id,label\n" + "".join(f"{item},0\n" for item in ids)})


@pytest.mark.parametrize(
    ("suffix", "item", "there", "taken"),
    [
        (".png", "x", ["x.png", "x.jpg"], "x.png"),  # what the template says comes first
        (".png", "x", ["x.jpg"], "x.jpg"),
        (".png", "x", ["x.JPEG"], "x.JPEG"),
        (".jpg", "x", ["x.JPG", "x.png"], "x.JPG"),  # of several the one that differs in capitals only
        (".jpg", "x", ["x.png", "x.tif"], "x.jpg"),  # which of them is not known: none
        (".jpg", "x", ["x.webp", "x.txt", "x", "xx.png"], "x.webp"),
        (".jpg", "x", [".x.png", "x.csv"], "x.jpg"),
        (".png", "x.jpg", ["x.jpg"], "x.jpg"),  # the id has its ending already
        (".png", "x.jpg", ["x.png"], "x.png"),
        (".png", "1.5", ["1.5.tiff"], "1.5.tiff"),
        ("", "x.png", ["x.jpg"], "x.jpg"),
        ("", "x", ["x.bmp"], "x.bmp"),
        ("", "sub/x.png", ["sub/x.jpeg", "x.png"], "sub/x.jpeg"),
        (".png", "sub/x", ["sub/x.jpeg"], "sub/x.jpeg"),
        ("_green.png", "x", ["x_green.jpg", "x_red.png"], "x_green.jpg"),
        ("_green.png", "x", ["x.png", "x_red.png"], "x_green.png"),
        (".dcm", "x", ["x.png"], "x.png"),
        (".dcm", "x", ["x.dicom"], "x.dicom"),
        (".png", "../x", ["x.jpg"], "../x.png"),
    ],
)
def test_an_image_is_found_under_its_other_endings(tmp_path: Path, suffix, item, there, taken) -> None:
    write_files(tmp_path / "test", {}, *there)
    sample_of(tmp_path, item)
    assert items_of(tmp_path, f"test/{{id}}{suffix}").images == [tmp_path / "test" / taken]


def test_the_folder_is_listed_once(tmp_path: Path, monkeypatch) -> None:
    ids = [str(k) for k in range(50)]
    write_files(tmp_path / "test", {}, *(f"{item}.jpg" for item in ids))
    sample_of(tmp_path, *ids)
    listed: list[object] = []
    real = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: listed.append(folder) or real(folder))
    items = items_of(tmp_path)
    assert listed == [tmp_path / "test"] and items.images[7] == tmp_path / "test/7.jpg"
    assert items.notes == [f"{tmp_path / 'test'}: 50 of 50 images have another ending than expected and are taken, "
                           "such as '0.jpg' for '0.png'"]


def test_training_images_are_found_under_their_other_endings(tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": "id,label\na,1\nb,0\n"}, "train/a.png", "train/b.JPG")
    items = competition_of().train(tmp_path).items
    assert items.images == [tmp_path / "train/a.png", tmp_path / "train/b.JPG"]
    assert items.notes == [f"{tmp_path / 'train'}: 1 of 2 images have another ending than expected and are taken, such "
                           "as 'b.JPG' for 'b.png'"]


@pytest.mark.parametrize(
    ("there", "notes"),
    [
        (["x.png", "y.png"], []),
        (["x.png", "y.png", "z.png", "w.jpg", "notes.txt"],
         ["holds 2 images more than the 2 that sample_submission.csv asks for, such as 'w'; they are not answered, so "
          "take a newer sample if this one is stale"]),
        (["x.png", "x.jpg", "y.png"], []),  # the same image twice
        (["x.png"], ["1 images of the 2 that sample_submission.csv asks for are missing, such as 'y.png'; their rows "
                     "get the prior"]),
        ([], ["2 images of the 2 that sample_submission.csv asks for are missing, such as 'x.png'; their rows get the "
              "prior"]),
    ],
)
def test_more_or_fewer_images_than_the_sample_asks_for(tmp_path: Path, there: list[str], notes: list[str]) -> None:
    write_files(tmp_path / "test", {}, *there)
    sample_of(tmp_path, "x", "y", "x")
    assert items_of(tmp_path).notes == [f"{tmp_path / 'test'}: {note}" for note in notes]


def test_images_beside_the_one_of_an_item_are_no_surplus(tmp_path: Path) -> None:
    write_files(tmp_path / "test", {}, "x_green.png", "x_red.png", "y_red.png")
    sample_of(tmp_path, "x")
    assert items_of(tmp_path, "test/{id}_green.png").notes == []
    write_files(tmp_path / "test", {}, "y_green.png")
    [note] = items_of(tmp_path, "test/{id}_green.png").notes
    assert "holds 1 images more than the 1 that" in note and "'y_green'" in note
    # training images lie there too
    assert items_of(tmp_path, "test/{id}_green.png", "test/{id}_green.png").notes == []


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("id,label\na,1\nc,1\nd,2\n", "id 'c' has no image at {root}/train/c.png (2 of 3 are missing: c, d); complete"),
        ("id,label\n" + "".join(f"m{row},{row % 2}\n" for row in range(23)),
         "m18, m19 and 3 more); complete the download or drop these rows"),
        (f"id,label\n{'a' * 300},1\nb,2\n", "has no image at"),
        ("id,label\na\0b,1\nb,2\n", "has no image at"),
    ],
)
def test_a_training_image_that_is_not_there(tmp_path: Path, train: str, message: str) -> None:
    write_files(tmp_path, {"train.csv": train}, "train/a.png", "train/b.png")
    with pytest.raises(DataError) as caught:
        require_images(competition_of().train(tmp_path).items, tmp_path / "train.csv")
    assert message.format(root=tmp_path) in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "train.csv"))


def test_a_folder_that_may_not_be_read_is_a_missing_image(tmp_path: Path, monkeypatch) -> None:
    def deny(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_files(tmp_path, {"train.csv": "id,label\na,1\nb,0\n"}, "train/a.png", "train/b.png")
    monkeypatch.setattr("os.stat", deny)
    with pytest.raises(DataError, match="id 'a' has no image at"):
        require_images(competition_of().train(tmp_path).items, tmp_path / "train.csv")
