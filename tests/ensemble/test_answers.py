"""From the rows of the last stage to what is said of each item, and to the cells of a submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_stages import classes_of, stage_of

from foldpack.competitions.answer_table import read_answer_table
from foldpack.competitions.answers.check import check_submission, known_of
from foldpack.competitions.answers.form import Form
from foldpack.competitions.answers.registry import form_of
from foldpack.data.answers import number_texts
from foldpack.data.rows import Rows
from foldpack.ensemble.answers import answers_of, prior_rows
from foldpack.errors import DataError
from foldpack.settings.answer_forms import (
    ClassAnswer,
    GradesAnswer,
    LabelsAnswer,
    ProbabilitiesAnswer,
    ProbabilityAnswer,
    RankingAnswer,
    ValuesAnswer,
)
from foldpack.settings.outputs import Values
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    GradesDecision,
    LabelsDecision,
    Outputs,
    ProbsDecision,
    RankingDecision,
    ValuesDecision,
    numbered,
)

CLASSES = ["10", "9", "b"]
PROBS = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]], dtype=np.float32)
ONE_VALUE = Values(names=["age"], prior=[4.5])
TWO_VALUES = Values(names=["x", "y"], prior=[0.25, -1.0])


def form_for(decision: Decision, outputs: Outputs) -> Form:
    """What a competition would ask for that wants just this, in a column `label` where one is enough."""
    names, settings = numbered(outputs, decision), {"id": "id", "column": "label"}
    if isinstance(decision, ProbsDecision) and len(names) == 1:
        return form_of(ProbabilityAnswer(kind="probability", of=names[0], **settings))
    if isinstance(decision, ProbsDecision):
        return form_of(ProbabilitiesAnswer(kind="probabilities", id="id"))
    if isinstance(decision, GradesDecision):
        return form_of(GradesAnswer(kind="grades", **settings))
    if names:
        return form_of(ValuesAnswer(kind="values", id="id", columns=names if len(names) > 1 else ["label"]))
    if isinstance(decision, RankingDecision):
        return form_of(RankingAnswer(kind="ranking", k=decision.k, **settings))
    if isinstance(decision, LabelsDecision):
        return form_of(LabelsAnswer(kind="labels", **settings))
    return form_of(ClassAnswer(kind="class", **settings))


def labels(threshold: float | list[float], least: int = 1, most: int | None = None) -> LabelsDecision:
    # model_construct: more labels than the limit allows are asked for too
    return LabelsDecision.model_construct(threshold=threshold, min_labels=least, max_labels=most)


def said(decision: Decision, probs: np.ndarray = PROBS) -> list[str]:
    """The cells of classes, joined by a space."""
    link = "sigmoid" if isinstance(decision, LabelsDecision) else "softmax"
    outputs = classes_of(CLASSES, link)
    return form_for(decision, outputs).cells(answers_of(Rows({"probs": probs}), decision, outputs))["label"]


def test_the_likeliest_class_and_the_first_of_equals() -> None:
    assert said(ClassDecision()) == ["9", "10", "10"]


@pytest.mark.parametrize(
    ("threshold", "least", "most", "cells"),
    [
        (0.3, 0, None, ["9 b", "", "10 9 b"]),
        (0.3, 1, None, ["9 b", "10", "10 9 b"]),
        (0.3, 2, None, ["9 b", "10 9", "10 9 b"]),
        (0.3, 0, 1, ["9", "", "10"]),
        ([0.1, 0.6, 0.95], 0, None, ["10", "10", "10 9"]),
        (0.95, 5, None, ["10 9 b"] * 3),
        (0.5, 0, None, ["9", "", "10 9 b"]),  # a probability at the threshold is taken
    ],
)
def test_labels(threshold: float | list[float], least: int, most: int | None, cells: list[str]) -> None:
    assert said(labels(threshold, least, most)) == cells


def test_a_threshold_of_the_yaml_meets_float32_probabilities_as_in_the_search() -> None:
    """0.1 as float64 is below 0.1 as float32; both sides must round alike, or labels change at the threshold."""
    probs = np.array([[0.1, 0.3, 0.0]], dtype=np.float32)
    for threshold in (float(np.float32(0.1)), 0.1):
        assert said(labels(threshold, 0), probs) == ["10 9"]


@pytest.mark.parametrize(
    ("decision", "cells"),
    [
        (RankingDecision(k=2), ["9 b", "10 9", "10 9"]),  # equal ones in column order
        (RankingDecision(k=5), ["9 b 10", "10 9 b", "10 9 b"]),
        (RankingDecision(k=2, none_score=0.4), ["9 b", "b 10", "10 9"]),  # b stands for "none of these"
        (RankingDecision(k=3, none_score=0.0), ["9 10 b", "10 9 b", "10 9 b"]),
    ],
)
def test_rankings(decision: RankingDecision, cells: list[str]) -> None:
    assert said(decision) == cells


def cells_of(rows: Rows, decision: Decision, outputs: Outputs) -> dict[str, list[str]]:
    return form_for(decision, outputs).cells(answers_of(rows, decision, outputs))


def test_probabilities_have_a_column_each_or_one_alone_that_of_the_answer() -> None:
    rows = Rows({"probs": PROBS[:1]})
    assert cells_of(rows, ProbsDecision(), classes_of(CLASSES)) == {
        "10": ["0.200000003"], "9": ["0.5"], "b": ["0.300000012"]}
    assert cells_of(rows, ProbsDecision(classes=["b", "10"]), classes_of(CLASSES)) == {
        "b": ["0.300000012"], "10": ["0.200000003"]}
    assert cells_of(rows, ProbsDecision(classes=["9"]), classes_of(CLASSES)) == {"label": ["0.5"]}


def test_values_and_grades() -> None:
    rows = Rows({"value": np.array([[1.5], [-0.25], [7.0]], dtype=np.float32)})
    assert cells_of(rows, ValuesDecision(), ONE_VALUE) == {"label": ["1.5", "-0.25", "7"]}
    assert cells_of(rows, ValuesDecision(range=[0, 5]), ONE_VALUE) == {"label": ["1.5", "0", "5"]}
    cuts = GradesDecision(cuts=[0.0, 1.5, 2.5])
    assert cells_of(rows, cuts, ONE_VALUE) == {"label": ["2", "0", "3"]}  # a value at a cut has the higher grade
    two = Rows({"value": np.array([[1.0, 2.0]], dtype=np.float32)})
    assert cells_of(two, ValuesDecision(), TWO_VALUES) == {"x": ["1"], "y": ["2"]}


@settings(max_examples=200, deadline=None)
@example([0.1, 1e-40, 3.4e38, -0.0])
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_a_number_is_read_back_as_the_same_number(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=np.float32)
    assert np.array([float(text) for text in number_texts(values)], dtype=np.float32).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("outputs", "decision", "cells"),
    [
        (classes_of(CLASSES), ClassDecision(), {"label": "10"}),
        (classes_of(CLASSES, "sigmoid"), LabelsDecision(threshold=0.9), {"label": "10"}),
        (classes_of(CLASSES), ProbsDecision(), {name: "0.333333343" for name in CLASSES}),
        (classes_of(CLASSES), RankingDecision(k=2), {"label": "10 9"}),
        (ONE_VALUE, ValuesDecision(), {"label": "4.5"}),
        (ONE_VALUE, GradesDecision(cuts=[4.0, 5.0]), {"label": "1"}),
        (TWO_VALUES, ValuesDecision(), {"x": "0.25", "y": "-1"}),
    ],
)
def test_what_is_said_of_an_unknown_item_passes_the_check(tmp_path: Path, outputs: Outputs, decision: Decision,
                                                          cells: dict[str, str]) -> None:
    found = cells_of(prior_rows(outputs, 2), decision, outputs)
    assert found == {name: [cell] * 2 for name, cell in cells.items()}
    path, sample = tmp_path / "submission.csv", tmp_path / "sample_submission.csv"
    sample.write_text(f"id,{','.join(cells)}\nu,{','.join('0' for _ in cells)}\nv,{','.join('0' for _ in cells)}\n")
    path.write_text(f"id,{','.join(cells)}\nu,{','.join(cells.values())}\nv,{','.join(cells.values())}\n")
    table = read_answer_table(sample, "id", [])
    check_submission(path, form_for(decision, outputs), table, known_of(stage_of(outputs, decision)))
    assert cells_of(prior_rows(outputs, 0), decision, outputs) == {name: [] for name in cells}


@pytest.mark.parametrize(
    ("outputs", "decision", "cell", "message"),
    [
        (classes_of(CLASSES), ClassDecision(), "10 9", "'10 9', which is no class; did you mean '10'?"),
        (classes_of(CLASSES), RankingDecision(k=2), "10 x", "'x', which is no class; allowed: 10, 9, b"),
        (classes_of(CLASSES), RankingDecision(k=2), "10 9 b", "3 classes, '10 9 b'; allowed: 2, each once"),
        (classes_of(CLASSES), RankingDecision(k=2), "9 9", "'9 9', which names '9' twice; allowed: each class once"),
        (classes_of(CLASSES), ProbsDecision(classes=["9"]), "", "empty; allowed: numbers from 0 to 1"),
        (classes_of(CLASSES), ProbsDecision(classes=["9"]), "nan", "'nan', which is no number; allowed: numbers"),
        (ONE_VALUE, ValuesDecision(), "inf", "'inf', which is no number; allowed: a finite"),
        (ONE_VALUE, GradesDecision(cuts=[0.5]), "2", "'2'; allowed: whole numbers from 0 to 1"),
        (ONE_VALUE, GradesDecision(cuts=[0.5]), "1.0", "'1.0'; allowed: whole numbers from 0 to 1"),
    ],
)
def test_a_cell_that_is_no_answer_is_refused(tmp_path: Path, outputs: Outputs, decision: Decision, cell: str,
                                             message: str) -> None:
    (tmp_path / "s.csv").write_text(f"id,label\nu,{cell}\n")
    with pytest.raises(DataError) as caught:
        check_submission(tmp_path / "s.csv", form_for(decision, outputs), None, known_of(stage_of(outputs, decision)))
    assert str(caught.value).startswith(f"{tmp_path / 's.csv'}: row 1, id 'u': label is {message}")
