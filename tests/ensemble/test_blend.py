"""Blending: the weighted mean in every space, of whole members and of sums of their folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.ensemble.blend import blend_probs, blend_sums
from foldpack.ensemble.spaces import to_blend_space
from foldpack.ensemble.view_merge import merge_view_probs, view_probs
from foldpack.errors import FoldpackError
from foldpack.settings.outputs import ScoreBlend

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
def test_the_blend_is_numpys_weighted_average(weights: list[float]) -> None:
    probs = np.random.default_rng(1).random((len(weights), 3, 2)).astype(np.float32)
    expected = np.average(probs.astype(np.float64), axis=0, weights=weights)
    assert blend_probs(probs, weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("space", ["probability", "logit", "geometric", "rank", "power", "linear"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_folds_of_members_add_up_to_the_blend_of_the_members(space: str, exclusive: bool) -> None:
    """The kernel sums up fold by fold what the search blends as whole members; their order does not matter."""
    rule = ScoreBlend(space=space, power=2.0, scale=1.0, bias=0.0)  # type: ignore[arg-type]
    there = [2 * to_blend_space(PROBS[m], space, 2.0, exclusive) for m in (2, 0, 1)]
    out = blend_sums(there, [WEIGHTS[m] for m in (2, 0, 1)], rule, exclusive, [2, 2, 2])
    assert out == pytest.approx(blend_probs(PROBS, WEIGHTS, rule, exclusive), abs=1e-6)
    assert out.dtype == np.float32 and np.isfinite(out).all() and (out >= 0).all() and (out <= 1).all()


def test_one_number_an_item_is_blended_as_a_column_is() -> None:
    assert blend_probs(PROBS[:, :, 0], WEIGHTS) == pytest.approx(blend_probs(PROBS, WEIGHTS)[:, 0])


def test_a_member_without_weight_changes_nothing_whatever_it_says() -> None:
    without = np.stack([PROBS[0], np.full_like(PROBS[1], np.nan), PROBS[2]])
    assert blend_probs(without, [0.5, 0.0, 0.5]) == pytest.approx((PROBS[0] + PROBS[2]) / 2)


def test_weights_of_any_sign_are_scaled_to_sum_1() -> None:
    rule = ScoreBlend(space="linear", scale=2.0, bias=0.1)
    expected = 2 * (1.5 * PROBS[0] - 0.5 * PROBS[1]) + 0.1
    assert blend_probs(PROBS[:2], [-3.0, 1.0], rule) == pytest.approx(expected, abs=1e-5)


def test_one_member_in_any_space_keeps_its_order() -> None:
    for space in ("logit", "geometric", "power"):
        out = blend_probs(PROBS[:1], np.ones(1), ScoreBlend(space=space), True)  # type: ignore[arg-type]
        assert (out.argmax(axis=1) == PROBS[0].argmax(axis=1)).all()


def test_a_blend_of_nothing_is_an_error() -> None:
    with pytest.raises(FoldpackError, match="the blend weights sum to 0.0; at least one must be above 0"):
        blend_probs(PROBS, np.zeros(3))
    with pytest.raises(FoldpackError, match="the blend weights sum to 0; at least one must be above 0"):
        blend_probs([], [])
    with pytest.raises(ValueError):
        blend_probs(PROBS, np.ones(2))


def test_members_of_other_shapes_are_not_spread_over_each_other() -> None:
    with pytest.raises(FoldpackError, match=r"a member of shape \(5, 1\) beside one of \(5, 4\)"):
        blend_probs([PROBS[0], PROBS[1][:, :1]], [0.5, 0.5])
