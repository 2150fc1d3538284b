"""Boxes, points and masks as the cells of a submission: what was found is read back, and each fault is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.competitions.answer_table import AnswerTable, read_answer_table, write_answers
from foldpack.competitions.answers.check import check_submission, read_submission, submission_faults
from foldpack.competitions.answers.form import Known
from foldpack.competitions.answers.registry import form_of
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.data.run_lengths import mask_of, read_runs, runs_of
from foldpack.errors import DataError
from foldpack.settings.answer_forms import AnswerForm, BoxesAnswer, MasksAnswer

CLASSES = ["cat", "dog"]
KNOWN = Known(classes=CLASSES, sizes={"a": (10, 20), "b": (10, 20)})  # height, width
CORNERS = BoxesAnswer(kind="boxes", id="id", column="found", map={"dog": "7"}, empty="14 1 0 0 1 1",
                      text=["label", "score", "x_min", "y_min", "x_max", "y_max"], most=2)
SIDES = BoxesAnswer(kind="boxes", id="id", column="found", text=["score", "x", "y", "width", "height"], whole=True)
POINTS = BoxesAnswer(kind="points", id="id", column="found", text=["label", "x", "y"], whole=True, most=3)
ONE = MasksAnswer(kind="masks", id="id", column="rle")
RARE = MasksAnswer(kind="masks", id="id", column="rle", order="rows", base=0, empty="-1", size=[4, 6])
CLASSED = MasksAnswer(kind="masks", id="id", column="rle", rows="class", label="kind", map={"dog": "7"}, overlap=False)
OBJECTS = MasksAnswer(kind="masks", id="id", column="rle", rows="object", label="kind", overlap=False)


def pages(*images: Sequence[tuple[str, float, object]]) -> Answers:
    """(class, score, box or mask) of each image."""
    flat = [one for image in images for one in image]
    columns = {"label": np.array([CLASSES.index(name) for name, *_ in flat], dtype=np.int32),
               "score": np.array([score for _, score, _ in flat], dtype=np.float32)}
    starts = np.cumsum([0, *map(len, images)]).astype(np.int64)
    if flat and np.ndim(flat[0][2]) == 2:
        runs = [runs_of(np.asarray(mask)) for *_, mask in flat]
        columns |= {"size": np.array([np.shape(mask) for *_, mask in flat], dtype=np.int32),
                    "mask": np.concatenate(runs)}
        within = {"mask": np.cumsum([0, *map(len, runs)]).astype(np.int64)}
        return Answers(objects=Rows(columns, starts, within), columns=CLASSES)
    columns["box"] = np.array([box for *_, box in flat], dtype=np.float32).reshape(-1, 4)
    return Answers(objects=Rows(columns, starts), columns=CLASSES)


def filled(answer: AnswerForm, answers: Answers, sample: str, tmp_path: Path, known: Known = KNOWN) -> AnswerTable:
    """The submission, which its own check has found good. The images are a and b."""
    form, path = form_of(answer), tmp_path / "submission.csv"
    (tmp_path / "sample.csv").write_text(sample)
    asked = read_answer_table(tmp_path / "sample.csv", "id", []).named()
    write_answers(path, form.fill(answers, ["a", "b"], asked))
    check_submission(path, form, asked, known)
    check_submission(path, form, None, Known())
    assert not list(submission_faults(read_submission(path, form, Known()), form, None, Known()))
    return read_submission(path, form, known)


BOXES = pages([("cat", 0.5, (1, 2, 4.25, 8)), ("dog", 0.75, (0, 0.5, 20, 10)), ("cat", 0.25, (3, 3, 4, 4))], [])


@pytest.mark.parametrize(("answer", "cells"), [
    (CORNERS, ["7 0.75 0 0.5 20 10 cat 0.5 1 2 4.25 8", "14 1 0 0 1 1"]),
    (SIDES, ["0.75 0 0 20 10 0.5 1 2 3 6 0.25 3 3 1 1", ""]),
    (POINTS, ["dog 10 5 cat 2 5 cat 3 3", ""]),
], ids=["corners", "sides", "points"])
def test_boxes_best_first(answer: AnswerForm, cells: list[str], tmp_path: Path) -> None:
    table = filled(answer, BOXES, "id,found,Usage\nb,,x\na,,\n", tmp_path)
    assert table.rows == [["b", cells[1], "x"], ["a", cells[0], ""]]


LEFT, RIGHT, NONE = np.zeros((10, 20), bool), np.zeros((10, 20), bool), np.zeros((10, 20), bool)
LEFT[2:5, 0:2], RIGHT[3:9, 1:3] = True, True  # they share two pixels, in column 1
MASKS = pages([("cat", 0.5, LEFT), ("dog", 0.75, RIGHT), ("cat", 0.25, LEFT)], [("dog", 1.0, NONE)])
MASK_SAMPLES = {"ONE": "id,rle\na,1 1\nb,1 1\n",
                "CLASSED": "id,kind,rle\na,7,\na,cat,\nb,7,\nb,cat,\n",
                "OBJECTS": "id,rle,kind\na,1 1,dog\nb,1 1,cat\na,,cat\n"}


@pytest.mark.parametrize(("answer", "sample", "rows"), [
    (ONE, MASK_SAMPLES["ONE"], [["a", "3 3 13 7 24 6"], ["b", ""]]),
    (CLASSED, MASK_SAMPLES["CLASSED"],
     [["a", "7", "14 6 24 6"], ["a", "cat", "3 3 13 1"], ["b", "7", ""], ["b", "cat", ""]]),
    (OBJECTS, MASK_SAMPLES["OBJECTS"], [["a", "14 6 24 6", "dog"], ["a", "3 3 13 1", "cat"], ["b", "", "cat"]]),
], ids=["image", "class", "object"])
def test_masks(answer: AnswerForm, sample: str, rows: list[list[str]], tmp_path: Path) -> None:
    assert filled(answer, MASKS, sample, tmp_path).rows == rows


def test_the_other_order_the_other_base_and_another_size(tmp_path: Path) -> None:
    mask = np.zeros((2, 3), bool)
    mask[0, 1:] = True  # becomes four columns of the upper two of four rows
    rows = filled(RARE, pages([("cat", 1, mask)], []), MASK_SAMPLES["ONE"], tmp_path).rows
    assert rows == [["a", "2 4 8 4"], ["b", "-1"]]


FORMS = st.builds(MasksAnswer, kind=st.just("masks"), id=st.just("id"), column=st.just("rle"),
                  rows=st.just("object"), label=st.just("kind"), order=st.sampled_from(["columns", "rows"]),
                  base=st.sampled_from([0, 1]))
PICTURES = st.integers(1, 7).flatmap(lambda height: st.integers(1, 7).flatmap(lambda width: st.lists(
    st.tuples(st.sampled_from(CLASSES), st.lists(st.booleans(), min_size=height * width, max_size=height * width).map(
        lambda bits: np.array(bits).reshape(height, width))), max_size=4)))


@settings(max_examples=150, deadline=None)
@given(FORMS, PICTURES)
def test_masks_are_read_back_as_they_were(answer: MasksAnswer, found: list[tuple[str, np.ndarray]]) -> None:
    answers = pages([(name, 1.0, mask) for name, mask in found] or [("cat", 1.0, np.zeros((1, 1), bool))])
    table = form_of(answer).fill(answers, ["x"], AnswerTable(["id", "rle", "kind"], [["x", "", "dog"]], 0, {}))
    seen = [(name, mask) for name, mask in found if mask.any()]
    assert len(table.rows) == max(1, len(seen))
    for (name, mask), (_, text, label) in zip(seen, table.rows, strict=False):
        height, width = mask.shape
        runs = read_runs(text, answer.base)
        back = mask_of(runs, height, width) if answer.order == "columns" else mask_of(runs, width, height).T
        assert label == name and np.array_equal(back, mask)
    sizes = Known(CLASSES, sizes={"x": found[0][1].shape} if found else {})
    assert not list(form_of(answer).faults(table, sizes))


@settings(max_examples=100, deadline=None)
@given(PICTURES)
def test_runs_are_those_of_coco(found: list[tuple[str, np.ndarray]]) -> None:
    for _, mask in found:
        ends = runs_of(mask)
        edges = [0, *(edge for start, length in ends.tolist() for edge in (start, start + length)), mask.size]
        counts = {"size": list(mask.shape), "counts": np.diff(edges).tolist()}  # outside, inside, outside, ...
        assert np.array_equal(coco_mask.decode(coco_mask.frPyObjects(counts, *mask.shape)).astype(bool), mask)


NUMBERS = st.floats(0, 5000, width=32, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(CLASSES), st.floats(0, 1, width=32), NUMBERS, NUMBERS,
                                   st.floats(1, 999, width=32), st.floats(1, 999, width=32)), max_size=5), max_size=4))
def test_boxes_are_read_back_as_they_were(images: list) -> None:
    answer = CORNERS.model_copy(update={"most": None, "map": {}, "empty": "none"})
    answers = pages(*([(name, score, (x, y, x + w, y + h)) for name, score, x, y, w, h in image] for image in images))
    cells = form_of(answer).cells(answers)["found"]
    assert len(cells) == len(images) and answers.objects is not None and answers.objects.starts is not None
    for cell, first, end in zip(cells, answers.objects.starts[:-1], answers.objects.starts[1:], strict=True):
        assert form_of(answer).rule(Known(CLASSES))(cell) == ""
        words = [] if cell == "none" else cell.split(" ")
        said = sorted((CLASSES.index(words[at]), *map(np.float32, words[at + 1 : at + 6]))
                      for at in range(0, len(words), 6))
        columns = answers.objects.columns
        assert said == sorted((label, score, *box) for label, score, box in zip(
            columns["label"][first:end].tolist(), columns["score"][first:end], columns["box"][first:end], strict=True))


def faults_of(answer: AnswerForm, text: str, tmp_path: Path, sample: str = "", known: Known = KNOWN) -> list[str]:
    """What is said of a submission, without the name of the file."""
    path, form = tmp_path / "submission.csv", form_of(answer)
    path.write_text(text)
    (tmp_path / "sample.csv").write_text(sample or "id\n")
    asked = read_answer_table(tmp_path / "sample.csv", "id", []) if sample else None
    found = submission_faults(read_submission(path, form, known), form, asked, known)
    return [fault.line(path).removeprefix(f"{path}: ") for fault in found]


@pytest.mark.parametrize(("answer", "cell", "said"), [
    (POINTS, "dog 10 5  cat 2 5", "has a stray space or line in 'dog 10 5  cat 2 5'; allowed: exactly single spaces, "
                                  "none at the ends"),
    (POINTS, "dog 10 5 ", "has a stray space or line in 'dog 10 5 '; allowed: exactly single spaces, none at the ends"),
    (POINTS, "dog 10 5\tcat 2 5", "has a stray space or line in 'dog 10 5\\tcat 2 5'; allowed: exactly single spaces, "
                                  "none at the ends"),
    (POINTS, "dog 10 5 cat", "has 4 words in 'dog 10 5 cat'; allowed: label x y for each"),
    (POINTS, " ".join(["dog 1 1"] * 4), "has 4 points; allowed: at most 3"),
    (POINTS, "cow 1 1", "has 'cow 1 1': 'cow' is no class; allowed: cat, dog"),
    (POINTS, "dog 1.0 1", "has 'dog 1.0 1': x is '1.0'; allowed: a whole number"),
    (POINTS, "dog 1 nan", "has 'dog 1 nan': y is 'nan'; allowed: a finite number"),
    (POINTS, "dog -1 1", "has 'dog -1 1': x is -1; allowed: from 0 to 20, the width of the image"),
    (POINTS, "dog 1 11", "has 'dog 1 11': y is 11; allowed: from 0 to 10, the height of the image"),
    (CORNERS, "7 0.5 5 1 4 2", "has '7 0.5 5 1 4 2': x_min 5 is not below x_max 4; a box goes from x_min to x_max"),
    (CORNERS, "7 0.5 1 2 4 2", "has '7 0.5 1 2 4 2': y_min 2 is not below y_max 2; a box goes from y_min to y_max"),
    (CORNERS, "7 high 1 2 4 3", "has '7 high 1 2 4 3': score is 'high'; allowed: a finite number"),
    (CORNERS, "dog 0.5 1 2 4 3", "has 'dog 0.5 1 2 4 3': 'dog' is no class; allowed: cat, 7, 14"),
    (CORNERS, "7 0.5 1 2 21 3", "has '7 0.5 1 2 21 3': x_max is 21; allowed: from 0 to 20, the width of the image"),
    (CORNERS, "", "is empty; allowed: label score x_min y_min x_max y_max for each, or '14 1 0 0 1 1' for none"),
    (SIDES, "0.5 1 1 0 3", "has '0.5 1 1 0 3': width is 0; allowed: above 0"),
    (SIDES, "0.5 18 1 3 3", "has '0.5 18 1 3 3': x + width is 21; allowed: from 0 to 20, the width of the image"),
])
def test_a_cell_that_is_no_boxes_is_told(answer: AnswerForm, cell: str, said: str, tmp_path: Path) -> None:
    text = f'id,found\na,{answer.empty}\nb,"{cell}"\n'  # type: ignore[attr-defined]
    assert faults_of(answer, text, tmp_path) == [f"row 2, id 'b': found {said}"]


def test_a_box_left_of_the_image_is_told_without_its_size(tmp_path: Path) -> None:
    text = "id,found\na,0.5 -2 1 3 3\nb,0.5 7000 1 3 3\n"
    assert faults_of(SIDES, text, tmp_path, known=Known()) == [
        "row 1, id 'a': found has '0.5 -2 1 3 3': x is -2; allowed: from 0 on"]


PAIRS = "pairs of a start and a length, pixels counted from 1"


@pytest.mark.parametrize(("answer", "cell", "said"), [
    (ONE, "1 2 3", f"is '1 2 3': 3 numbers are no pairs of start and length; allowed: {PAIRS}"),
    (ONE, "1 x", f"is '1 x': 'x' is no whole number; allowed: {PAIRS}"),
    (ONE, "1 -2", f"is '1 -2': '-2' is no whole number; allowed: {PAIRS}"),
    (ONE, "0 2", f"is '0 2': a run begins at 0, and pixels are counted from 1; allowed: {PAIRS}"),
    (ONE, "3 0", f"is '3 0': a run has no length; allowed: {PAIRS}"),
    (ONE, "3 4 5 2", f"is '3 4 5 2': the runs at 3 and 5 share pixels; allowed: {PAIRS}"),
    (ONE, "9 2 3 1", "is '9 2 3 1', which has runs that do not ascend; allowed: ascending runs with exactly single "
                     "spaces"),
    (ONE, "3  1", "is '3  1', which has a stray space; allowed: ascending runs with exactly single spaces"),
    (ONE, " ", f"is ' '; allowed: {PAIRS}, or '' for no mask"),
    (ONE, "199 3", "ends at pixel 201, outside the picture of 10 x 20; allowed: up to 200"),
    (RARE, "", f"is ''; allowed: {PAIRS.replace('1', '0')}, or '-1' for no mask"),
    (RARE, "23 2", "ends at pixel 24, outside the picture of 4 x 6; allowed: up to 23"),
])
def test_a_cell_that_is_no_mask_is_told(answer: AnswerForm, cell: str, said: str, tmp_path: Path) -> None:
    text = f'id,rle\na,{answer.empty}\nb,"{cell}"\n'  # type: ignore[attr-defined]
    assert faults_of(answer, text, tmp_path) == [f"row 2, id 'b': rle {said}"]


@pytest.mark.parametrize(("answer", "text", "said"), [
    (CLASSED, "id,kind,rle\na,cat,3 4\na,7,6 2\nb,cat,6 2\nb,7,\n",
     ["row 2, id 'a': rle shares pixels with row 1, such as 6; allowed: each pixel of an image in one mask"]),
    (OBJECTS, "id,rle,kind\na,9 4,cat\nb,,cat\na,1 2 12 1 20 9,cat\n",
     ["row 3, id 'a': rle shares pixels with row 1, such as 12; allowed: each pixel of an image in one mask"]),
    (OBJECTS, "id,rle,kind\na,,cat\na,1 2,dog\n",
     ["row 2, id 'a': rle has a mask though row 1 says that there is none; leave the empty row out"]),
    (OBJECTS, "id,rle,kind\na,1 2,dog\na,,cat\n",
     ["row 2, id 'a': rle is empty though id and mask stand in row 1 too"]),
    (OBJECTS, "id,rle,kind\na,1 2,cow\n", ["row 1, id 'a': kind is 'cow', which is no class; allowed: cat, dog"]),
    (CLASSED, "id,kind,rle\na,cat,\na,cat,1 1\n",
     ["row 2, id 'a': stands there more than once; allowed: one row for each id, kind"]),
], ids=["overlap", "overlap of objects", "empty first", "empty behind", "class", "twice"])
def test_masks_that_do_not_go_together_are_told(answer: AnswerForm, text: str, said: list[str], tmp_path: Path) -> None:
    assert faults_of(answer, text, tmp_path) == said


def test_rows_of_a_class_are_those_of_the_sample(tmp_path: Path) -> None:
    text = "id,kind,rle\na,cat,\na,7,\nb,7,\nb,cat,\n"
    assert faults_of(CLASSED, text, tmp_path, MASK_SAMPLES["CLASSED"]) == [
        "row 1, id 'a': kind is 'cat', but '7' in the sample submission; keep its rows",
        "row 2, id 'a': kind is '7', but 'cat' in the sample submission; keep its rows"]


def test_an_image_may_have_any_number_of_objects_but_at_least_one_row(tmp_path: Path) -> None:
    text = "id,rle,kind\na,1 2,cat\na,3 2,cat\n"
    assert faults_of(OBJECTS, text, tmp_path, "id,rle,kind\na,,cat\nb,,cat\n") == [
        "1 of 2 ids are missing, such as 'b'; each id of the sample submission needs a row"]


@pytest.mark.parametrize(("answer", "names", "said"), [
    (CORNERS, ["big cat"], "a space stands between the words of a box, which class 'big cat' has in it, or it has"),
    (CORNERS.model_copy(update={"text": ["label", "left"]}), CLASSES,
     "answer.text: 'left' is no word of a box; allowed"),
])
def test_what_boxes_cannot_tell_is_refused_at_once(answer: AnswerForm, names: list[str], said: str) -> None:
    with pytest.raises(DataError) as caught:
        form_of(answer).made_up(["a"], names)
    assert str(caught.value).startswith(said)


def test_a_made_up_sample_has_the_rows_that_are_asked_for() -> None:
    assert form_of(CLASSED).made_up(["a", "b"], CLASSES).rows == [
        ["a", "cat", ""], ["a", "7", ""], ["b", "cat", ""], ["b", "7", ""]]
    assert form_of(CLASSED).made_up(["a"], CLASSES).cells() == {"rle": ["", ""]}
    assert form_of(OBJECTS).made_up(["a"], CLASSES).columns == ["id", "rle", "kind"]
