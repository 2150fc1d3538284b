"""Label cells: the adapter says what joins classes, and what looks joined otherwise is refused with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_competition import competition_of
from typer.testing import CliRunner

from foldpack.commands.main import app
from foldpack.competitions.registry import COMPETITIONS
from foldpack.competitions.training_items import TrainableCompetition
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.kernel.fallback import make_fallback
from foldpack.kernel.submission import Submission
from foldpack.settings.ensemble import EnsembleSpec, parse_spec, spec_to_dict
from packer.build.kernel_folder import with_fallback


def chest(separator: str | None = None, answer: str = " ", **labels: object) -> TrainableCompetition:
    """A competition of several classes a cell."""
    asked = {"kind": "labels", "column": "labels", "separator": separator, **labels}
    return competition_of(name="chest", slug="chest", labels=asked,
                          answer={"kind": "labels", "id": "id", "column": "labels", "separator": answer})


def write_cells(root: Path, cells: list[str]) -> None:
    rows = "".join(f'{row},"{cell}"\n' for row, cell in enumerate(cells))
    (root / "train.csv").write_text("id,labels\n" + rows)


def learn(root: Path, cells: list[str], table: list[str] | None = None,
          separator: str | None = None) -> list[list[str]]:
    """The classes of each cell, as the training takes them. table: the names in the table of classes."""
    classes = {} if table is None else {"classes": {"file": "classes.csv", "column": "class"}}
    (root / "classes.csv").write_text("class\n" + "".join(f'"{name}"\n' for name in table or []))
    write_cells(root, cells)
    labelled = chest(separator, **classes).train(root)
    return [[labelled.classes[k] for k in np.flatnonzero(row)] for row in labelled.targets]


def refused(root: Path, cells: list[str], table: list[str] | None = None, separator: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        learn(root, cells, table, separator)
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
def test_cells_that_look_joined_otherwise_are_refused(tmp_path: Path, cells: list[str], row: int, joint: str) -> None:
    said = refused(tmp_path, cells)
    assert said.startswith(f"{tmp_path / 'train.csv'}, line {row + 1}: label '{cells[row - 1]}' looks joined by "
                           f"'{joint}', but labels are split at white space; set labels.separator to '{joint}' (or to")


@pytest.mark.parametrize("cell", ["['a', 'b']", "[a, b]", "{a}"])
def test_lists_in_brackets_are_refused(tmp_path: Path, cell: str) -> None:
    said = refused(tmp_path, ["a", cell])
    assert said.startswith(f"{tmp_path / 'train.csv'}, line 3: label '{cell}' is a list in brackets; write its classes")


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
def test_the_settings_say_what_joins_classes(tmp_path: Path, separator, cells, classes) -> None:
    assert learn(tmp_path, cells, None, separator) == classes


def test_a_separator_that_is_in_no_cell(tmp_path: Path) -> None:
    said = refused(tmp_path, ["1", "2", "1,2"], None, "|")
    assert said == (f"{tmp_path / 'train.csv'}, line 4: label '1,2' looks joined by ',', but labels are split at '|'; "
                    "set labels.separator to ',' (or to ' ', if '1,2' is one class)")
    one_each = ["Cat, wild", "Cat, house", "Dog"]
    assert learn(tmp_path, one_each, None, "|") == [[name] for name in one_each]


def test_a_table_of_classes_decides(tmp_path: Path) -> None:
    assert learn(tmp_path, ["a,b c", "c"], ["a,b", "c"]) == [["a,b", "c"], ["c"]]
    said, at = refused(tmp_path, ["a", "a|b"], ["a", "b"]), f"{tmp_path / 'train.csv'}, line 3"
    assert said.startswith(f"{at}: label 'a|b' looks joined by '|'")
    said = refused(tmp_path, ["a", "a z"], ["a", "b"])
    assert said.startswith(f"{at}: class 'z' is not among the 2 classes of {tmp_path / 'classes.csv'}, such as 'a'; w")
    said = refused(tmp_path, ["Mass"], ["Mass", "No Finding"])
    assert said == (f"{tmp_path / 'classes.csv'}: class 'No Finding' cannot be read from labels, where white space "
                    "separates classes; set labels.separator to what no class has in it")
    names = ["Mass", "No Finding"]
    assert learn(tmp_path, ["No Finding", "Mass"], names, "|") == [["No Finding"], ["Mass"]]
    assert "class 'a|b' cannot be read from labels" in refused(tmp_path, ["c"], ["a|b", "c"], "|")


@pytest.mark.parametrize(
    ("cells", "twins"),
    [(["Edema", "No Finding", "Mass Edema"], "'No' and 'Finding'"), (["a b", "b a"], ""), (["a b", "b"], ""),
     (["a", "b"], ""), (["1 2", "1 2", "3"], ""), (["x No Finding", "No Finding"], "'No' and 'Finding'"),
     (["", "a", "b"], "")],
)
def test_two_words_that_are_never_apart_are_told(tmp_path: Path, cells: list[str], twins: str) -> None:
    write_cells(tmp_path, cells)
    notes = chest().train(tmp_path).items.notes
    begin = f"{tmp_path / 'train.csv'}: {twins} are two classes, as white space separates them, but never stand apart;"
    assert bool(notes) == bool(twins) and all(note.startswith(begin) for note in notes)
    assert chest(" ").train(tmp_path).items.notes == []


@pytest.mark.parametrize(
    ("cells", "row", "joint"),
    [(["cat", "dog", "cat|dog"], 3, "|"), (["cat", "dog, cat", "dog"], 2, ","), (["1", "2", "1;2"], 3, ";"),
     (["1", "2", "2 1"], 3, " ")],
)
def test_a_cell_of_several_classes_where_each_row_has_one(tmp_path: Path, cells: list[str], row: int,
                                                          joint: str) -> None:
    write_cells(tmp_path, cells)
    with pytest.raises(DataError) as caught:
        competition_of(labels=SINGLE).train(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'train.csv'}, line {row + 1}: label '{cells[row - 1]}' joins classes of other rows by '{joint}', "
        f"and labels of kind 'class' have one a row; make it kind 'labels' with separator '{joint}', or list the "
        f"classes in labels.classes if '{cells[row - 1]}' is one of them")
    names = sorted(set(cells))
    assert competition_of(labels={**SINGLE, "classes": names}).train(tmp_path).classes == names


def test_names_with_signs_in_them_are_classes(tmp_path: Path) -> None:
    names = ["Cat, wild", "Dog|Wolf", "red wine", "red", "wine"]
    write_cells(tmp_path, names)
    assert competition_of(labels=SINGLE).train(tmp_path).classes == sorted(names)


SINGLE = {"kind": "class", "column": "labels"}


def chest_spec() -> EnsembleSpec:
    fold = {"fold": 0, "sha256": "0" * 64}
    member = {"run": "r", "weight": 1.0, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
              "folds": [fold]}
    return parse_spec({
        "name": "best", "competition": "chest", "slug": "chest", "task": "multilabel",
        "classes": ["Mass", "No Finding"],
        "prior": [0.6, 0.7], "threshold": 0.5, "metric": {"name": "f1", "oof": 0.9}, "members": [member]})


@pytest.mark.parametrize(("train", "answer", "cell"), [("|", "|", "Mass|No Finding"), ("|", ";", "Mass;No Finding"),
                                                       (", ", ", ", "Mass, No Finding")])
def test_answers_are_joined_as_the_settings_say(tmp_path: Path, train: str, answer: str, cell: str) -> None:
    layout = chest(train, answer)
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
    with pytest.raises(DataError, match="row 1, id 'x': labels is 'Mass No Finding', which is no class"):
        layout.check(submission.path, spec.last, tmp_path)


def test_folds_refuse_joined_labels_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPETITIONS, "chest", chest().config.model_dump())
    (tmp_path / "train").mkdir()
    for name in "abcd":
        (tmp_path / "train" / f"{name}.png").touch()
    (tmp_path / "train.csv").write_text("id,labels\na,Edema\nb,Edema|Mass\nc,Mass\nd,Mass\n")
    words = ["folds", "--data", str(tmp_path), "--competition", "chest", "--kind", "multilabel", "--out",
             str(tmp_path / "folds.csv")]
    done = CliRunner().invoke(app, words)
    assert "train.csv, line 3: label 'Edema|Mass' looks joined by '|'" in str(done.exception)
    assert not (tmp_path / "folds.csv").exists()
