"""Run lengths of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foldpack.data.run_lengths import mask_of, read_runs, runs_of, runs_text, turned_runs

MASKS = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(lambda shape: arrays(bool, shape))


@given(MASKS, st.sampled_from([0, 1]))
def test_a_mask_reads_back(mask: np.ndarray, base: int) -> None:
    runs = read_runs(runs_text(runs_of(mask), base), base)
    assert (mask_of(runs, *mask.shape) == mask).all()
    covered = {pixel for start, length in runs.tolist() for pixel in range(start, start + length)}
    assert covered == set(np.flatnonzero(mask.T.ravel()).tolist())


@given(MASKS)
def test_runs_along_the_rows(mask: np.ndarray) -> None:
    along = runs_of(mask.T)
    assert (turned_runs(along, *mask.shape) == runs_of(mask)).all()


def test_runs_in_any_order_and_a_run_beyond_the_picture() -> None:
    assert read_runs("7 1 1 2").tolist() == [[0, 2], [6, 1]] and read_runs("").shape == (0, 2)
    with pytest.raises(ValueError, match="a run ends at pixel 7 of 6"):
        mask_of(read_runs("6 2"), 2, 3)
