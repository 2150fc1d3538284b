"""An answer of boxes, points or masks to training items is scored against their truth, by the metric of its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_competition import competition_of, write_files
from shapes import OF_OBJECTS, make_shape
from shapes_on_page import BLOCKS

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.object_scores import score_objects
from foldpack.competitions.protocol import Labelled
from foldpack.competitions.training_items import TrainableCompetition, make_competition
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.metrics.of_competition import competition_metric
from foldpack.settings.competition import parse_competition
from foldpack.settings.strict_yaml import load_strict


def answered(competition: TrainableCompetition, labelled: Labelled, rows: Rows) -> AnswerTable:
    """The submission that says these objects of the training items."""
    ids = labelled.items.answer or labelled.items.ids
    sample = competition.form.made_up(ids, labelled.classes)
    return competition.form.fill(Answers(objects=rows, columns=labelled.classes), ids, sample)


def score(competition: TrainableCompetition, labelled: Labelled, rows: Rows) -> float:
    metric = competition_metric(competition.config.metric)
    return score_objects(metric, competition.form.answer, answered(competition, labelled, rows), labelled)


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_the_truth_itself_scores_1_and_nothing_found_less(name: str, tmp_path: Path) -> None:
    competition = make_competition(parse_competition(load_strict(BLOCKS[name], name), name))
    make_shape(name, tmp_path / "data", train=24, test=12)
    labelled = competition.train(tmp_path / "data")
    assert labelled.rows is not None and labelled.rows.entries > 0
    assert score(competition, labelled, labelled.rows) == pytest.approx(1.0)
    nothing = Rows.joined([labelled.rows.take(slice(0, 0)), empty_rows(labelled.rows)])
    assert score(competition, labelled, nothing) < 0.7


def empty_rows(rows: Rows) -> Rows:
    """As many rows, with no entry in any."""
    columns = {name: column[:0] for name, column in rows.columns.items()}
    return Rows(columns, np.zeros(len(rows) + 1, dtype=np.int64),
                {name: np.zeros(1, dtype=np.int64) for name in rows.within})


BOXED = {
    "labels": {"kind": "boxes", "column": "boxes", "text": ["label", "x_min", "y_min", "x_max", "y_max"]},
    "answer": {"kind": "boxes", "id": "id", "column": "found", "text": ["score", "label", "x", "y", "width", "height"],
               "map": {"dog": "7"}},
    "metric": {"name": "box_map:0.5"},
}
TRAIN = "id,boxes\na,cat 0 0 10 10 dog 20 20 30 30\nb,\n"


def boxed(tmp_path: Path, found: dict[str, str]) -> float:
    """The score of cells, by id."""
    competition = competition_of(**BOXED)
    root = write_files(tmp_path, {"train.csv": TRAIN}, "train/a.png", "train/b.png")
    table = competition.form.made_up(list(found), ["cat", "dog"]).filled({"found": list(found.values())})
    return score_objects(competition_metric(competition.config.metric), competition.config.answer, table,
                         competition.train(root))


def test_a_cell_is_read_as_the_answer_writes_it(tmp_path: Path) -> None:
    assert boxed(tmp_path, {"b": "", "a": "0.5 cat 0 0 10 10 0.4 7 20 20 10 10"}) == pytest.approx(1.0)
    assert boxed(tmp_path, {"a": "0.5 cat 0 0 10 10", "b": ""}) == pytest.approx(0.5)
    assert boxed(tmp_path, {"a": "0.5 7 0 0 10 10", "b": ""}) == 0.0


def test_an_item_without_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the submission has no row of id 'b' \(1 of 2 are missing\)"):
        boxed(tmp_path, {"a": ""})


def test_other_labels_have_no_objects(tmp_path: Path) -> None:
    competition = competition_of(**BOXED)
    root = write_files(tmp_path, {"train.csv": TRAIN}, "train/a.png", "train/b.png")
    labelled = replace(competition.train(root), rows=None)
    with pytest.raises(DataError, match="the labels are no boxes or masks, and metric 'box_map:0.5' scores such"):
        score_objects(competition_metric(competition.config.metric), competition.config.answer,
                      competition.form.made_up(["a"], ["cat"]), labelled)
