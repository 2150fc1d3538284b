"""`foldpack look`: facts of images and labels, the page, the command."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shapes import make_shape
from shapes_on_page import BLOCKS
from typer.testing import CliRunner

from foldpack.commands.main import app
from foldpack.competitions.digits_source import write_digits
from foldpack.data.decode import PILLOW
from foldpack.data.items import whole_images
from foldpack.look.image_facts import ImageFacts, counted, find_image_facts, spread_rows
from foldpack.look.label_facts import value_facts
from foldpack.look.objects import Drawing
from foldpack.look.pictures import draw_boxes, picture_of, with_mask


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    write_digits(tmp_path / "data", tmp_path / "answers.csv", count=120)
    return tmp_path / "data"


def save(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    Image.new(mode, size, 200).save(path)
    return path


def pixels_of(uri: str) -> np.ndarray:
    kind, _, text = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_rows_are_spread_from_the_first_to_the_last() -> None:
    assert spread_rows(0, 5) == []
    assert spread_rows(3, 5) == [0, 1, 2]
    assert spread_rows(101, 5) == [0, 25, 50, 75, 100]


def test_images_are_counted_by_size_mode_and_damage(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", (20, 10)), save(tmp_path / "b.png", (20, 10), "L"), tmp_path / "c.png",
             tmp_path / "gone.png"]
    paths[2].write_bytes(b"no image")
    facts = find_image_facts(whole_images(list("abcd"), paths), 100)
    assert facts.missing == [str(tmp_path / "gone.png")] and facts.count == 4 and facts.looked == 3
    assert facts.sizes == {(10, 20): 2} and facts.size_text == "20 x 10 (2)"
    assert facts.modes == {"PNG, RGB": 1, "PNG, L": 1}
    assert len(facts.broken) == 1 and str(paths[2]) in facts.broken[0]


def test_many_sizes_are_told_by_their_range() -> None:
    sizes = Counter({(height, 2 * height): 1 for height in (10, 20, 30, 40, 50)})
    facts = ImageFacts(5, [], [], sizes)
    assert facts.size_text == "5 different: width 20 to 100, middle 60; height 10 to 50, middle 30"
    assert counted(Counter({"a": 3, "b": 2, "c": 1}), most=2) == "a (3), b (2), others (1)"


def test_values_are_told_by_their_spread() -> None:
    facts = value_facts(np.arange(11.0)[:, None], ["age"])
    assert facts.kind == "a number an item" and sum(count for _, count in facts.counts) == 11
    assert facts.notes == ["age: 0 to 10, mean 5, 11 different"] and facts.counts[0] == ("0 to 1", 1)


def test_boxes_and_masks_are_drawn_into_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40))
    draw_boxes(image, np.array([[4.0, 4.0, 30.0, 20.0]]), np.array([0]))
    drawn = np.asarray(image)
    assert (drawn[4, 10] == (0xE4, 0x57, 0x2E)).all() and not drawn[12, 12].any()
    mask = np.zeros((80, 80), dtype=np.int64)
    mask[:40] = 2
    laid = np.asarray(with_mask(Image.new("RGB", (40, 40)), mask))
    assert laid[5, 5].tolist() == [12, 82, 76] and not laid[30, 5].any()
    path = save(tmp_path / "wide.png", (80, 40))
    picture = pixels_of(picture_of(path, Drawing(np.array([[0, 0, 40, 40]]), np.array([0])), PILLOW))
    assert picture.shape == (160, 320, 3)
    assert abs(picture[80, 159].astype(int) - (0xE4, 0x57, 0x2E)).max() < 60  # the right edge
    assert picture_of(tmp_path / "gone.png", Drawing(), PILLOW) == ""


def test_the_command_prints_and_shows_what_was_understood(digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "look.html"
    done = CliRunner().invoke(app, ["look", "--data", str(digits), "--competition", "digits", "--out", str(page)])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(digits / "train.csv", dtype=str)
    assert f"training items    {len(table)}" in done.output and "32 x 32" in done.output
    first = table[table["label"] == "0"]["id"].iloc[0]
    assert f"{first}: 0" in done.output and done.output.splitlines()[-1] == f"page {page}"
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == 20 and len(re.findall(r'src="data:image/jpeg;base64,[^"]+"', text)) == 20
    assert "http" not in text.replace("http-equiv", "")  # nothing is fetched
    for digit, count in table["label"].value_counts().items():
        assert re.search(rf"<td>{digit}</td><td class=\"count\">{count}</td>", text)


def test_what_is_odd_stands_there(digits: Path, tmp_path: Path) -> None:
    table = pd.read_csv(digits / "train.csv", dtype=str)
    (digits / "train" / f"{table['id'][0]}.png").write_bytes(b"")
    (digits / "train" / f"{table['id'][1]}.png").unlink()
    first, second = (digits / "train" / f"{table['id'][row]}.png" for row in (2, 3))
    second.write_bytes(first.read_bytes())
    page = tmp_path / "look.html"
    done = CliRunner().invoke(app, ["look", "--data", str(digits), "--competition", "digits", "--out", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    for words in ("1 of 96 training images are not there", "the file is empty", "near-duplicates: 1 of "):
        assert words in done.output and words in text


def look_at(shape: str, folder: Path) -> tuple[str, str]:
    """What `foldpack look` prints of a shape of docs/competitions.md, and the text of its page."""
    make_shape(shape, folder / "data", train=24, test=12)
    (folder / "competition.yml").write_text(f"# guess: the metric, by the answer's form\n{BLOCKS[shape]}")
    arguments = ["--data", str(folder / "data"), "--competition", str(folder / "competition.yml"),
                 "--out", str(folder / "look.html"), "--items", "4"]
    done = CliRunner().invoke(app, ["look", *arguments])
    assert done.exit_code == 0, done.output
    return done.output, (folder / "look.html").read_text(encoding="utf-8")


def test_boxes_and_masks_are_counted_and_drawn(tmp_path: Path) -> None:
    said, page = look_at("pages", tmp_path / "a")
    assert "24 images with 0 to 4 boxes" in said and "U+3042 (" in said and page.count("<figure>") == 8
    assert "asked for" in said and "points, column labels" in said
    said, page = look_at("objects", tmp_path / "b")
    assert "24 images with 1 to 3 masks" in said
    assert page.count("<figure>") == 8


def test_groups_and_guesses_stand_there(tmp_path: Path) -> None:
    said, page = look_at("paired_folders", tmp_path / "a")
    assert "24 of 72 items, the largest of 3" in said
    assert "near-duplicates" not in said  # what is nearly the same is one group
    assert "to be checked: guess: the metric, by the answer's form" in said
    assert "guess: the metric, by the answer&#39;s form" in page
