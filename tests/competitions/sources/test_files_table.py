"""Items in the names of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import write_files

from foldpack.competitions.sources.files_table import read_files_table
from foldpack.errors import DataError


def test_a_folder_a_class_with_spaces_and_what_is_no_image(tmp_path: Path) -> None:
    write_files(tmp_path, {}, "train/Sugar beet/b.png", "train/Sugar beet/a.PNG", "train/Maize/a.png",
                "train/Maize/.hidden.png", "train/Maize/Thumbs.db", "train/.trash/x.png", "train/loose.png")
    table = read_files_table(tmp_path, "train", "{split}/{label}/{name}")
    assert table.columns["path"] == ["train/Maize/a.png", "train/Sugar beet/a.PNG", "train/Sugar beet/b.png"]
    assert table.columns["label"] == ["Maize", "Sugar beet", "Sugar beet"]
    assert table.where(0) == str(tmp_path / "train/Maize/a.png")


def test_the_label_in_the_file_name(tmp_path: Path) -> None:
    write_files(tmp_path, {}, "train/cat.0.jpg", "train/dog.10.jpg", "train/dog.2.txt")
    table = read_files_table(tmp_path, "train", "train/{label}.{n}.jpg")
    assert table.columns["label"] == ["cat", "dog"] and table.columns["n"] == ["0", "10"]


def test_several_patterns_and_any_ending_that_is_written(tmp_path: Path) -> None:
    write_files(tmp_path, {}, "A/x.jpg", "B/deep/er/y.dcm", "B/deep/er/z.txt")
    table = read_files_table(tmp_path, "train", ["A/{name}.jpg", "B/{study}/*/{name}.dcm"])
    assert table.columns == {"path": ["A/x.jpg", "B/deep/er/y.dcm"], "name": ["x", "y"], "study": ["", "deep"]}


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image file fits the pattern 'train/\{x\}.png'; write one such as"):
        read_files_table(tmp_path, "train", "train/{x}.png")
    assert len(read_files_table(tmp_path, "test", "test/{x}.png")) == 0  # what is shown of a hidden test set
