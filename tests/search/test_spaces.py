"""Every space undoes itself, and its mean is the mean that its name says."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import gmean, rankdata

from foldpack.ensemble.spaces import BLEND_SPACES, from_blend_space, item_ranks, to_blend_space
from foldpack.errors import FoldpackError

RNG = np.random.default_rng(31)
PROBS = RNG.dirichlet(np.ones(4), 50).astype(np.float32)


@pytest.mark.parametrize("space", sorted(BLEND_SPACES))
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_single_member_comes_back(space, exclusive):
    there = to_blend_space(PROBS, space, 2.0, exclusive)
    expected = item_ranks(PROBS) if space == "rank" else PROBS
    assert from_blend_space(there, space, 2.0, exclusive=exclusive) == pytest.approx(expected, abs=2e-6)


def test_the_means_are_those_of_scipy():
    other = RNG.dirichlet(np.ones(4), 50).astype(np.float32)
    half = {name: (to_blend_space(PROBS, name, 2.0) + to_blend_space(other, name, 2.0)) / 2 for name in BLEND_SPACES}
    assert from_blend_space(half["geometric"], "geometric") == pytest.approx(gmean([PROBS, other]), rel=1e-4)
    assert from_blend_space(half["power"], "power", 2.0) == pytest.approx(np.sqrt((PROBS**2 + other**2) / 2), rel=1e-4)
    mean = (logit(PROBS) + logit(other)) / 2
    assert from_blend_space(half["logit"], "logit", scale=1.5, bias=0.2) == pytest.approx(
        expit(1.5 * mean + 0.2), abs=1e-4
    )
    total = np.log(PROBS) + np.log(other)
    assert from_blend_space(total, "logit", scale=0.7, exclusive=True) == pytest.approx(
        softmax(0.7 * total, axis=1), abs=1e-5
    )


def test_ranks_share_ties():
    scores = np.array([0.3, 0.1, 0.3, 0.9])
    assert item_ranks(scores) == pytest.approx(rankdata(scores) / 4)
    assert item_ranks(PROBS)[:, 1] == pytest.approx(rankdata(PROBS[:, 1]) / 50)


def test_an_unknown_space_is_named():
    with pytest.raises(FoldpackError, match="blend space 'log' is not known; use one of probability, logit"):
        to_blend_space(PROBS, "log")
