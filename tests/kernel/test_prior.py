"""The prior's answer without NumPy is the one with it, to the last tie and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foldpack.kernel.answers import answer_cells
from foldpack.kernel.prior import prior_cell

SHARES = st.floats(0, 1, width=64) | st.sampled_from([0.0, 0.1, 0.1 + 1e-9, 0.5, 1 / 3, 1.0])
CUTS = st.floats(-1, 2, width=64) | st.sampled_from([0.1, 0.1 - 1e-9, 1 / 3, 0.5])


@settings(max_examples=400, deadline=None)
@example([0.1, 0.1, 0.1 + 1e-9], 0.1, None, 0, None, False)
@example([0.2, 0.2, 0.2], 0.9, [0.9, 0.8, 0.8], 2, 2, True)
@given(st.lists(SHARES, min_size=2, max_size=7), CUTS, st.lists(CUTS, min_size=7, max_size=7), st.integers(0, 8),
       st.none() | st.integers(1, 8), st.booleans())
def test_it_is_what_the_ensemble_would_answer(prior: list[float], cut: float, cuts: list[float], least: int,
                                              most: int | None, one_each: bool) -> None:
    classes = [f"c{k}" for k in range(len(prior))]
    probs = np.asarray([prior], dtype=np.float32)
    threshold = cuts[: len(prior)] if one_each and cuts else cut
    expected = answer_cells(probs, classes, "multilabel", threshold, least, most, "|")
    assert [prior_cell(classes, prior, "multilabel", threshold, least, most, "|")] == expected
    assert [prior_cell(classes, prior, "multiclass", None, least, most)] == answer_cells(
        probs, classes, "multiclass", None, least, most)


def test_a_multilabel_answer_needs_a_threshold() -> None:
    with pytest.raises(ValueError, match="a multilabel answer needs a threshold"):
        prior_cell(["a", "b"], [0.1, 0.2], "multilabel", None, 1, None)
