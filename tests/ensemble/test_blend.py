"""Blending: the running blend is the direct mean, at every prefix and in every space that sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.ensemble.blend import RunningBlend, blend_probs
from foldpack.ensemble.view_merge import merge_view_probs, view_probs
from foldpack.errors import FoldpackError
from foldpack.settings.stages import ScoreBlend

RNG = np.random.default_rng(0)
PROBS = RNG.random((3, 5, 4)).astype(np.float32)
WEIGHTS = np.array([0.5, 0.2, 0.3])


def test_logits_become_probabilities() -> None:
    logits = RNG.normal(size=(2, 5, 4)).astype(np.float16)
    soft, sigmoid = view_probs(logits, "multiclass"), view_probs(logits, "multilabel")
    wide = logits.astype(np.float64)
    assert soft.dtype == sigmoid.dtype == np.float32
    assert soft == pytest.approx(np.exp(wide) / np.exp(wide).sum(axis=-1, keepdims=True), abs=1e-6)
    assert sigmoid == pytest.approx(1 / (1 + np.exp(-wide)), abs=1e-6)


def test_huge_logits_stay_finite() -> None:
    logits = np.array([[1e4, -1e4, 0.0]], dtype=np.float32)
    assert view_probs(logits, "multiclass").tolist() == [[1.0, 0.0, 0.0]]
    assert view_probs(logits, "multilabel").tolist() == [[1.0, 0.0, 0.5]]


def test_views_are_averaged_as_probabilities_not_logits() -> None:
    logits = np.array([[[4.0, 0.0]], [[0.0, 0.0]]], dtype=np.float32)
    expected = (1 / (1 + np.exp(-4.0)) + 0.5) / 2
    assert merge_view_probs(logits, "multiclass")[0, 0] == pytest.approx(expected, abs=1e-6)
    assert merge_view_probs(logits[:1], "multilabel") == pytest.approx(view_probs(logits[0], "multilabel"))


def test_the_blend_is_the_weighted_mean_whatever_the_scale_of_the_weights() -> None:
    direct = np.tensordot(WEIGHTS, PROBS.astype(np.float64), 1)
    assert blend_probs(PROBS, WEIGHTS) == pytest.approx(direct, abs=1e-6)
    assert blend_probs(PROBS, WEIGHTS * 17) == pytest.approx(direct, abs=1e-6)
    assert blend_probs(PROBS, WEIGHTS).dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=8))
def test_every_prefix_of_a_running_blend_is_a_blend(weights: list[float]) -> None:
    probs = np.random.default_rng(1).random((len(weights), 3, 2)).astype(np.float32)
    running = RunningBlend(3, 2)
    for count, weight in enumerate(weights, 1):
        running.add(probs[count - 1], weight)
        expected = np.average(probs[:count].astype(np.float64), axis=0, weights=weights[:count])
        assert running.result() == pytest.approx(expected, abs=1e-6) and running.parts == count


def test_the_folds_of_members_add_up_to_the_blend_of_the_members() -> None:
    """The kernel adds fold by fold with weight / folds; the search blends whole members."""
    folds = RNG.random((3, 2, 5, 4)).astype(np.float32)
    running = RunningBlend(5, 4)
    for k in (1, 0):
        for member in (2, 0, 1):
            running.add(folds[member, k], WEIGHTS[member] / 2)
    assert running.result() == pytest.approx(blend_probs(folds.mean(axis=1), WEIGHTS), abs=1e-6)


@pytest.mark.parametrize("space", ["probability", "logit", "geometric", "rank", "power"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_running_and_whole_blends_agree_in_every_space(space: str, exclusive: bool) -> None:
    rule = ScoreBlend(space=space, power=2.0)  # type: ignore[arg-type]
    running = RunningBlend(5, 4, rule, exclusive)
    for member in (2, 0, 1):
        running.add(PROBS[member], WEIGHTS[member])
    out = running.result()
    assert out == pytest.approx(blend_probs(PROBS, WEIGHTS, rule, exclusive), abs=1e-6)
    assert np.isfinite(out).all() and (out >= 0).all() and (out <= 1).all()


def test_one_member_in_any_space_keeps_its_order() -> None:
    for space in ("logit", "geometric", "power"):
        out = blend_probs(PROBS[:1], np.ones(1), ScoreBlend(space=space), True)  # type: ignore[arg-type]
        assert (out.argmax(axis=1) == PROBS[0].argmax(axis=1)).all()


def test_a_blend_of_nothing_is_an_error() -> None:
    with pytest.raises(FoldpackError, match="the blend weights sum to 0.0; at least one must be above 0"):
        RunningBlend(2, 2).result()
    with pytest.raises(FoldpackError, match="at least one must be above 0"):
        blend_probs(PROBS, np.zeros(3))
    with pytest.raises(ValueError):
        blend_probs(PROBS, np.ones(2))
