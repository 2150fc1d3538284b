"""The prior's answer without NumPy is the one with it, to the last tie and rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foldpack.kernel.answers import answer_cells
from foldpack.kernel.prior import prior_cell
from foldpack.settings.stages import ClassDecision, LabelsDecision

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
    labels = LabelsDecision.model_construct(threshold=threshold, min_labels=least, max_labels=most)
    expected = answer_cells(probs, classes, labels, "|")
    assert [prior_cell(classes, prior, labels.model_dump(), "|")] == expected
    assert [prior_cell(classes, prior, {"kind": "class"})] == answer_cells(probs, classes, ClassDecision())
