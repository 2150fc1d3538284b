"""What the kernel makes of an ensemble is what the search scored."""

import numpy as np
import pytest
from made_stages import classes_of

from foldpack.data.rows import Rows
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import FoldpackError
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import select_labels
from foldpack.search.weights.solvers import Blend, Solver, in_space
from foldpack.settings.outputs import ScoreBlend
from foldpack.settings.stages import LabelsDecision

RNG = np.random.default_rng(81)
PROBS = RNG.dirichlet(np.ones(5), (3, 60)).astype(np.float32)
CLASSES = RNG.integers(0, 5, 60)
WEIGHTS = np.array([0.5, 0.3, 0.2])


@pytest.mark.parametrize("space", ["probability", "logit", "geometric", "rank", "power"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_kernel_blends_as_the_search_does(space, exclusive):
    solver = Solver(space, "certified", 2.0)
    bias = 0.0 if exclusive or space != "logit" else 0.3
    scale = 1.4 if space == "logit" else 1.0
    cells = in_space(dense_cells(PROBS, CLASSES if exclusive else CLASSES[:, None] == np.arange(5)), solver)
    searched = cells.dense(Blend(solver, WEIGHTS, scale, bias).of(cells))
    rule = ScoreBlend(space=space, power=2.0, scale=scale, bias=bias)
    assert blend_probs(PROBS, WEIGHTS, rule, exclusive) == pytest.approx(searched, abs=1e-6)


@pytest.mark.parametrize("threshold", [0.3, [0.1, 0.2, 0.3, 0.4, 0.5]])
@pytest.mark.parametrize("most", [None, 2])
def test_the_kernel_decides_as_the_search_does(threshold, most):
    cells = dense_cells(PROBS, CLASSES[:, None] == np.arange(5))
    labels = LabelsDecision(threshold=threshold, max_labels=most)
    searched = cells.dense(select_labels(cells, PROBS[0].reshape(-1), labels))
    answers = answers_of(Rows({"probs": PROBS[0]}), labels, classes_of(list("abcde"), "sigmoid"))
    assert answers.names == [["abcde"[k] for k in np.flatnonzero(row)] for row in searched]


def test_weights_that_sum_to_nothing_are_refused():
    with pytest.raises(FoldpackError, match="the blend weights sum to 0"):
        blend_probs(PROBS, np.zeros(3))
