"""Label cells: the adapter says what joins classes, and what looks joined otherwise is refused with its row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foldpack.commands.main import app
from foldpack.competitions.digits import DIGITS
from foldpack.competitions.image_table import ImageTable, class_names, encode_labels
from foldpack.competitions.imet import IMET
from foldpack.competitions.registry import COMPETITIONS
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.kernel.fallback import make_fallback
from foldpack.kernel.submission import Submission
from foldpack.settings.ensemble import EnsembleSpec, parse_spec, spec_to_dict
from packer.build.kernel_folder import with_fallback

CHEST = ImageTable(name="chest", slug="chest", task="multilabel", id_column="id", label_column="labels", suffix=".png")


def learn(layout: ImageTable, cells: list[str], table: list[str] | None = None,
          root: Path = Path("data")) -> list[list[str]]:
    """The classes of each cell, as the training takes them. table: the names in the table of classes."""
    if table is not None:
        layout = replace(layout, class_csv="classes.csv")
        (root / "classes.csv").write_text("class\n" + "".join(f'"{name}"\n' for name in table))
    classes = class_names(layout, root, cells)
    return [[classes[k] for k in np.flatnonzero(row)] for row in encode_labels(layout, cells, classes)]


def refused(layout: ImageTable, cells: list[str], table: list[str] | None = None, root: Path = Path("data")) -> str:
    with pytest.raises(DataError) as caught:
        learn(layout, cells, table, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "row", "joint"),
    [
        (["Edema", "Mass", "Edema|Mass", "No Finding"], 3, "|"),
        (["No Finding|Mass", "Mass"], 1, "|"),
        (["1", "2", "1, 2", "1,2"], 3, ","),
        (["1", "1,2"], 2, ","),
        (["cat; dog", "cat"], 1, ";"),
        (["cat", "dog", "dog cat", "cat/dog"], 4, "/"),
        (["cat", "dog", "cat+dog"], 3, "+"),
        (["cat", "dog", "cat & dog", "cat&dog"], 4, "&"),
        (["a b", "a | b"], 2, "|"),
    ],
)
def test_cells_that_look_joined_otherwise_are_refused(cells: list[str], row: int, joint: str) -> None:
    said = refused(CHEST, cells)
    assert said.startswith(f"row {row} of the training table: label '{cells[row - 1]}' looks joined by '{joint}', but "
                           f"the adapter splits at white space; set separator='{joint}' in the adapter (or ' ', if '")


@pytest.mark.parametrize("cell", ["['a', 'b']", "[a, b]", "{a}"])
def test_lists_in_brackets_are_refused(cell: str) -> None:
    said = refused(CHEST, ["a", cell])
    assert said.startswith(f"row 2 of the training table: label '{cell}' is a list in brackets; write its classes with")


@pytest.mark.parametrize(
    ("separator", "cells", "classes"),
    [
        ("|", ["Edema", "Edema|Mass", "No Finding", "", "Mass | No Finding"],
         [["Edema"], ["Edema", "Mass"], ["No Finding"], [], ["Mass", "No Finding"]]),
        (",", ["1", "1, 2", "2,1"], [["1"], ["1", "2"], ["1", "2"]]),
        (", ", ["1", "1, 2", "2,1"], [["1"], ["1", "2"], ["1", "2"]]),
        (";", ["a, b", "c; a, b"], [["a, b"], ["a, b", "c"]]),
        ("\t", ["No Finding\tMass", "Mass"], [["Mass", "No Finding"], ["Mass"]]),
        (" ", ["a,b", "b a"], [["a,b"], ["a", "b"]]),  # said out loud, so taken at its word
        (None, ["a/b", "c b"], [["a/b"], ["b", "c"]]),  # a name, as `a` is no class
        (None, ["2 1", "1\t3", ""], [["1", "2"], ["1", "3"], []]),
    ],
)
def test_the_adapter_says_what_joins_classes(separator, cells, classes) -> None:
    assert learn(replace(CHEST, separator=separator), cells) == classes


def test_a_separator_that_is_in_no_cell(tmp_path: Path) -> None:
    said = refused(replace(CHEST, separator="|"), ["1", "2", "1,2"])
    assert said == ("row 3 of the training table: label '1,2' looks joined by ',', but the adapter splits at '|'; set "
                    "separator=',' in the adapter (or ' ', if '1,2' is one class)")
    one_each = ["Cat, wild", "Cat, house", "Dog"]
    assert learn(replace(CHEST, separator="|"), one_each) == [[name] for name in one_each]


def test_a_table_of_classes_decides(tmp_path: Path) -> None:
    assert learn(CHEST, ["a,b c", "c"], ["a,b", "c"], tmp_path) == [["a,b", "c"], ["c"]]
    said = refused(CHEST, ["a", "a|b"], ["a", "b"], tmp_path)
    assert said.startswith("row 2 of the training table: label 'a|b' looks joined by '|'")
    said = refused(CHEST, ["a", "a z"], ["a", "b"], tmp_path)
    assert "row 2 of the training table: class 'z' is not among the 2 classes of classes.csv" in said
    said = refused(CHEST, ["Mass"], ["Mass", "No Finding"], tmp_path)
    assert said == (f"{tmp_path / 'classes.csv'}: class 'No Finding' cannot be read from labels, where white space "
                    "separates classes; set separator in the adapter to what no class has in it")
    piped = replace(CHEST, separator="|")
    assert learn(piped, ["No Finding", "Mass"], ["Mass", "No Finding"], tmp_path) == [["No Finding"], ["Mass"]]
    assert "class 'a|b' cannot be read from labels" in refused(piped, ["c"], ["a|b", "c"], tmp_path)


@pytest.mark.parametrize(
    ("cells", "twins"),
    [(["Edema", "No Finding", "Mass Edema"], "'No' and 'Finding'"), (["a b", "b a"], ""), (["a b", "b"], ""),
     (["a", "b"], ""), (["1 2", "1 2", "3"], ""), (["x No Finding", "No Finding"], "'No' and 'Finding'"),
     (["", "a", "b"], "")],
)
def test_two_words_that_are_never_apart_are_told(tmp_path: Path, cells: list[str], twins: str) -> None:
    (tmp_path / "train").mkdir()
    for row in range(len(cells)):
        (tmp_path / "train" / f"{row}.png").touch()
    (tmp_path / "train.csv").write_text("id,labels\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    notes = CHEST.train(tmp_path).items.notes
    begin = f"{tmp_path / 'train.csv'}: {twins} are two classes, as white space separates them, but never stand apart;"
    assert bool(notes) == bool(twins) and all(note.startswith(begin) for note in notes)
    assert replace(CHEST, separator=" ").train(tmp_path).items.notes == []


def test_answers_that_could_not_be_read_back_are_refused() -> None:
    said = refused(replace(CHEST, separator="|", answer_separator=" "), ["No Finding|Mass", "Mass"])
    assert said.endswith("train.csv: class 'No Finding' cannot be read from answers, where white space separates "
                         "classes; set answer_separator in the adapter to what no class has in it")


@pytest.mark.parametrize(
    ("cells", "row", "joint"),
    [(["cat", "dog", "cat|dog"], 3, "|"), (["cat", "dog, cat", "dog"], 2, ","), (["1", "2", "1;2"], 3, ";"),
     (["1", "2", "2 1"], 3, " ")],
)
def test_a_cell_of_several_classes_where_each_row_has_one(cells: list[str], row: int, joint: str) -> None:
    with pytest.raises(DataError) as caught:
        class_names(DIGITS, Path("data"), cells)
    assert str(caught.value) == (
        f"row {row} of the training table: label '{cells[row - 1]}' joins classes of other rows by '{joint}', and task "
        f"'multiclass' has one a row; make the task 'multilabel' with separator='{joint}', or set separator='' if "
        f"'{cells[row - 1]}' is a class of its own")
    assert len(class_names(replace(DIGITS, separator=""), Path("data"), cells)) == 3


def test_names_with_signs_in_them_are_classes() -> None:
    names = ["Cat, wild", "Dog|Wolf", "red wine", "red", "wine"]
    assert class_names(DIGITS, Path("data"), names) == sorted(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"separator": ""}, "competition 'chest': separator is ''; allowed for task 'multilabel': None, or a text"),
        ({"answer_separator": ""}, "competition 'chest': answer_separator is ''; allowed for task 'multilabel'"),
        ({"task": "multiclass", "separator": "|"}, "separator is '|'; allowed for task 'multiclass': None, or ''"),
    ],
)
def test_separators_that_do_not_fit_the_task(changes: dict[str, str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        replace(CHEST, **changes)
    assert message in str(caught.value)


def chest_spec() -> EnsembleSpec:
    fold = {"fold": 0, "sha256": "0" * 64}
    member = {"run": "r", "weight": 1.0, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
              "folds": [fold]}
    return parse_spec({
        "name": "best", "competition": "chest", "slug": "chest", "task": "multilabel",
        "classes": ["Mass", "No Finding"],
        "prior": [0.6, 0.7], "threshold": 0.5, "metric": {"name": "f1", "oof": 0.9}, "members": [member]})


@pytest.mark.parametrize(("train", "answer", "cell"), [("|", None, "Mass|No Finding"), ("|", ";", "Mass;No Finding"),
                                                       (", ", None, "Mass, No Finding")])
def test_answers_are_joined_as_the_adapter_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: str,
                                                answer: str | None, cell: str) -> None:
    layout = replace(CHEST, separator=train, answer_separator=answer)
    monkeypatch.setitem(COMPETITIONS, "chest", layout)
    (tmp_path / "sample_submission.csv").write_text("id,labels\nx,Mass\ny,\n")
    spec = with_fallback(chest_spec(), layout)
    submission = Submission(spec, make_fallback(spec_to_dict(spec), tmp_path, tmp_path), layout)
    submission.fallback.write()
    quoted = f'"{cell}"' if "," in cell else cell
    assert submission.path.read_text() == f"id,labels\nx,{quoted}\ny,{quoted}\n"
    submission.write(Rows({"probs": np.array([[0.9, 0.1], [0.6, 0.7]], dtype=np.float32)}), spec.last.decision)
    assert submission.path.read_text() == f"id,labels\nx,Mass\ny,{quoted}\n"
    submission.check()
    submission.path.write_text("id,labels\nx,Mass No Finding\ny,Mass\n")
    with pytest.raises(DataError, match="id 'x' is answered with 'Mass No Finding', which is not a class"):
        layout.check(submission.path, spec.last, tmp_path)


def test_folds_refuse_joined_labels_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPETITIONS, "chest", CHEST)
    (tmp_path / "train").mkdir()
    for name in "abcd":
        (tmp_path / "train" / f"{name}.png").touch()
    (tmp_path / "train.csv").write_text("id,labels\na,Edema\nb,Edema|Mass\nc,Mass\nd,Mass\n")
    words = ["folds", "--data", str(tmp_path), "--competition", "chest", "--kind", "multilabel", "--out",
             str(tmp_path / "folds.csv")]
    done = CliRunner().invoke(app, words)
    assert "row 2 of the training table: label 'Edema|Mass' looks joined by '|'" in str(done.exception)
    assert not (tmp_path / "folds.csv").exists()


def test_the_competitions_that_are_here_split_at_white_space() -> None:
    assert IMET.joiner == " " and IMET.separator is None
