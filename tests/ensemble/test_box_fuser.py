"""Boxes of several units become those of a stage: a better box takes the place of those that overlap it."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.data.rows import Rows
from foldpack.engine.units import plan_units
from foldpack.ensemble.box_fuser import BoxFuser
from foldpack.settings.stages import StageSpec


def make_stage(**decision: object) -> StageSpec:
    members = [{"run": run, "weight": 1.0, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
                "folds": [{"fold": 0, "sha256": "a" * 64}]} for run in "ab"]
    return StageSpec.model_validate({
        "name": "find", "task": "detect", "outputs": {"kind": "boxes", "names": ["x", "y"], "prior": [0.5, 0.5]},
        "members": members, "fuse": {"kind": "boxes", "nms": 0.5}, "decision": {"kind": "hand_on", **decision}})


def boxes(*pages: list[tuple[int, float, int]], lost: tuple[int, ...] = ()) -> Rows:
    """Squares of 10 pixels: (left edge, score, label) of each, a list a page."""
    every = [one for page in pages for one in page]
    box = np.array([[x, 0, x + 10, 10] for x, _, _ in every], np.float32).reshape(-1, 4)
    starts = np.concatenate([[0], np.cumsum([len(page) for page in pages])]).astype(np.int64)
    return Rows({"box": box, "score": np.array([score for _, score, _ in every], np.float32),
                 "label": np.array([label for _, _, label in every], np.int32)}, starts,
                lost=np.isin(np.arange(len(pages)), lost))


def lefts(rows: Rows, page: int) -> list[float]:
    return rows.take(slice(page, page + 1)).columns["box"][:, 0].tolist()


A = boxes([(0, 0.9, 0), (50, 0.4, 0)], [], [(5, 0.5, 1)], lost=(1,))
B = boxes([(2, 0.8, 0), (2, 0.7, 1), (90, 0.1, 0)], [(7, 0.3, 0)], [], lost=(2,))


def test_of_boxes_of_one_label_that_overlap_the_best_is_kept() -> None:
    fuser = BoxFuser(make_stage())
    first, second = plan_units(fuser.stage)
    fuser.add(first, A)
    fuser.add(second, B)
    rows, decision = fuser.result()
    assert decision.kind == "hand_on" and len(rows) == 3
    assert [lefts(rows, page) for page in range(3)] == [[0, 50, 2, 90], [7], [5]]
    assert rows.lost is not None and not rows.lost.any()  # each page has an answer of one unit at least
    fuser.forget("b")
    rows, _ = fuser.result()
    assert [lefts(rows, page) for page in range(3)] == [[0, 50], [], [5]] and rows.lost.tolist() == [False, True, False]


def test_the_order_of_finishing_changes_nothing_and_low_scores_are_dropped() -> None:
    answers = []
    for order in ((0, 1), (1, 0)):
        fuser = BoxFuser(make_stage(min_score=0.35))
        units = plan_units(fuser.stage)
        for place in order:
            fuser.add(units[place], (A, B)[place])
        answers.append(fuser.result()[0])
    assert lefts(answers[0], 0) == [0, 50, 2] and lefts(answers[0], 1) == []
    assert all(np.array_equal(answers[0].columns[name], answers[1].columns[name]) for name in ("box", "score", "label"))


def test_without_a_finished_unit_there_is_no_result() -> None:
    with pytest.raises(ValueError, match="no finished unit has found boxes"):
        BoxFuser(make_stage()).result()
