"""Which predictions become labels: by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.train.extra_labels.choose import confidence_of, sure_classes, sure_labels, sure_values


def some_probs(count: int = 200, classes: int = 5, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, (count, classes))
    whole = np.exp(logits)
    return (whole / whole.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("confidence", "gap"), [(0.9, None), (None, 2.0), (0.7, 1.0), (0.0, None)])
def test_classes_are_chosen_by_confidence_and_by_the_gap_of_the_logits(confidence: float | None,
                                                                       gap: float | None) -> None:
    probs = some_probs()
    expected = []
    for row, one in enumerate(probs.astype(np.float64)):
        first, second = sorted(one)[-1], sorted(one)[-2]
        if (confidence is None or first >= confidence) and (gap is None or np.log(first / second) >= gap):
            expected.append(row)
    assert sure_classes(probs, confidence, gap).tolist() == expected and expected
    assert len(expected) < len(probs) or confidence == 0


def test_a_class_has_at_most_so_many_and_those_are_its_surest() -> None:
    probs = some_probs()
    chosen = sure_classes(probs, per_class=3)
    assert chosen.tolist() == sorted(chosen)
    for name in range(5):
        of_class = np.flatnonzero(probs.argmax(axis=1) == name)
        best = of_class[np.argsort(-probs[of_class, name])][:3]
        assert set(chosen[probs[chosen].argmax(axis=1) == name]) == set(best)


def test_a_certain_item_has_an_infinite_gap_and_none_is_chosen_of_none() -> None:
    assert sure_classes(np.array([[1.0, 0.0], [0.6, 0.4]], np.float32), gap=5.0).tolist() == [0]
    assert sure_classes(np.zeros((0, 3), np.float32), per_class=2).tolist() == []


def test_of_several_labels_each_is_certain() -> None:
    probs = np.array([[0.01, 0.95], [0.01, 0.5], [0.1, 0.9], [0.02, 0.03]], np.float32)
    assert sure_labels(probs, 0.05, 0.9).tolist() == [0, 3]
    assert sure_labels(probs, 0.15, 0.9).tolist() == [0, 2, 3]


def test_values_are_near_each_other() -> None:
    assert sure_values(np.array([[0.1, 0.2], [0.3, 0.1], [0.2, 0.2]]), 0.2).tolist() == [0, 2]


def test_confidence_is_that_of_the_least_certain_label() -> None:
    probs = np.array([[0.1, 0.7, 0.2]], np.float32)
    assert confidence_of(probs, True).tolist() == pytest.approx([0.7])
    assert confidence_of(probs, False).tolist() == pytest.approx([0.7])
    assert confidence_of(np.array([[0.9, 0.4]], np.float32), False).tolist() == pytest.approx([0.6])
