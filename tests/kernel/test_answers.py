"""From probabilities to the cells of a submission."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.kernel.answers import answer_cells
from foldpack.settings.stages import ClassDecision, LabelsDecision

CLASSES = ["10", "9", "b"]
PROBS = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]], dtype=np.float32)


def labels(threshold: float | list[float], least: int, most: int | None = None) -> LabelsDecision:
    # model_construct: more labels than the limit allows are asked for too
    return LabelsDecision.model_construct(threshold=threshold, min_labels=least, max_labels=most)


def test_multiclass_takes_the_likeliest_and_the_first_of_equals() -> None:
    assert answer_cells(PROBS, CLASSES, ClassDecision()) == ["9", "10", "10"]


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
def test_multilabel(threshold: float | list[float], least: int, most: int | None, cells: list[str]) -> None:
    assert answer_cells(PROBS, CLASSES, labels(threshold, least, most)) == cells


def test_a_threshold_of_the_yaml_meets_float32_probabilities_as_in_the_search() -> None:
    """0.1 as float64 is below 0.1 as float32; both sides must round alike, or labels change at the threshold."""
    probs = np.array([[0.1, 0.3]], dtype=np.float32)
    for threshold in (float(np.float32(0.1)), 0.1):
        assert answer_cells(probs, ["a", "b"], labels(threshold, 0)) == ["a b"]


def test_no_items_no_cells() -> None:
    assert answer_cells(PROBS[:0], CLASSES, ClassDecision()) == []
    assert answer_cells(PROBS[:0], CLASSES, labels(0.5, 1)) == []
