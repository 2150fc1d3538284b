"""Merging views: what each merge computes, in a precision that does not lose small probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata

from foldpack.data.runs import RunMeta
from foldpack.ensemble.view_merge import MergeError, merge_view_probs
from foldpack.settings.run import ConfigError, config_hash, parse_config
from foldpack.settings.stages import MemberSpec, SpecError, merge_power

HOWS = ["mean", "gmean", "logit_mean", "power:2", "power:0.5", "power:-1", "rank"]
TASKS = ["multiclass", "multilabel"]
LOGITS = np.random.default_rng(0).normal(0, 3, (4, 6, 5)).astype(np.float32)
TINY = float(logit(1e-30))  # about -69


def of_views(task: str) -> np.ndarray:
    wide = LOGITS.astype(np.float64)
    return softmax(wide, axis=-1) if task == "multiclass" else expit(wide)


def scaled(probs: np.ndarray, task: str) -> np.ndarray:
    return probs / probs.sum(axis=-1, keepdims=True) if task == "multiclass" else probs


@pytest.mark.parametrize("task", TASKS)
def test_each_merge_is_its_textbook_formula(task: str) -> None:
    probs, shares = of_views(task), np.array([0.1, 0.2, 0.3, 0.4])
    odds = np.average(LOGITS.astype(np.float64), axis=0, weights=shares)
    ranks = np.average(rankdata(probs, axis=-1) / 5, axis=0, weights=shares)
    expected = {
        "mean": np.average(probs, axis=0, weights=shares),
        "gmean": scaled(np.exp(np.average(np.log(probs), axis=0, weights=shares)), task),
        "logit_mean": softmax(odds, axis=-1) if task == "multiclass" else expit(odds),
        "power:2": scaled(np.average(probs**2, axis=0, weights=shares) ** 0.5, task),
        "power:-1": scaled(1 / np.average(1 / probs, axis=0, weights=shares), task),
        "rank": scaled(ranks, task),
    }
    for how, wanted in expected.items():
        merged = merge_view_probs(LOGITS, task, how, shares)
        assert merged.dtype == np.float32 and merged == pytest.approx(wanted, rel=1e-5, abs=1e-7), how


@pytest.mark.parametrize("task", TASKS)
def test_power_1_is_the_mean_and_a_power_near_0_the_geometric_mean(task: str) -> None:
    assert merge_view_probs(LOGITS, task, "power:1") == pytest.approx(merge_view_probs(LOGITS, task), abs=1e-6)
    near = merge_view_probs(LOGITS, task, "power:0.0001")
    assert near == pytest.approx(merge_view_probs(LOGITS, task, "gmean"), rel=2e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", HOWS)
def test_answers_are_probabilities(task: str, how: str) -> None:
    merged = merge_view_probs(LOGITS * 30, task, how)
    assert np.isfinite(merged).all() and merged.min() >= 0 and merged.max() <= 1 + 1e-6
    if task == "multiclass":
        assert merged.sum(axis=1) == pytest.approx(np.ones(6), abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", HOWS)
def test_the_mean_in_one_view_or_equal_views_is_the_view(task: str, how: str) -> None:
    one = merge_view_probs(LOGITS[:1], task, how)
    assert merge_view_probs(np.repeat(LOGITS[:1], 3, axis=0), task, how) == pytest.approx(one, abs=1e-6)
    if how != "rank":
        assert one == pytest.approx(of_views(task)[0], rel=1e-5, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(HOWS), st.sampled_from(TASKS), st.integers(1, 8), st.integers(0, 2**31), st.booleans())
def test_the_order_of_the_views_does_not_matter(how: str, task: str, views: int, seed: int, wide: bool) -> None:
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 30 if wide else 1, (views, 3, 4)).astype(np.float32)
    shares, order = chance.random(views) + 0.01, chance.permutation(views)
    merged = merge_view_probs(logits, task, how, shares)
    again = merge_view_probs(logits[order], task, how, shares[order])
    assert np.abs(merged - again).max() <= 1e-6
    assert merge_view_probs(logits, task, how, shares * 7) == pytest.approx(merged, abs=1e-6)


@pytest.mark.parametrize("how", HOWS)
def test_items_may_come_in_any_parts(how: str) -> None:
    whole = merge_view_probs(LOGITS, "multiclass", how)
    parts = [merge_view_probs(LOGITS[:, rows], "multiclass", how) for rows in (slice(0, 1), slice(1, 6))]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("how", "expected"), [("gmean", 1e-30), ("logit_mean", 1e-30), ("power:0.5", 1e-30),
                                               ("power:-1", 1e-30), ("power:2", 1e-30), ("mean", 1e-30)])
def test_small_probabilities_stay_what_they_are(how: str, expected: float) -> None:
    merged = merge_view_probs(np.full((8, 1, 1), TINY, dtype=np.float32), "multilabel", how)
    assert float(merged[0, 0]) == pytest.approx(expected, rel=1e-4)


def test_logits_without_end_are_answered() -> None:
    logits = np.array([[[1e6, -1e6, 0.0]], [[-1e6, 1e6, 0.0]]], dtype=np.float32)
    for how in HOWS:
        for task in TASKS:
            assert np.isfinite(merge_view_probs(logits, task, how)).all(), (how, task)


def test_the_geometric_mean_does_not_vanish_in_half_precision() -> None:
    """ttach 0.0.3 multiplies the raw values of a half precision network: eight views of 0.01 become 0."""
    views = np.full((8, 1, 1), 0.01, dtype=np.float16)
    theirs = np.float16(1)
    for view in views[:, 0, 0]:
        theirs = theirs * view
    theirs = theirs ** np.float16(1 / 8)
    ours = merge_view_probs(logit(views.astype(np.float32)).astype(np.float16), "multilabel", "gmean")
    assert float(ours[0, 0]) == pytest.approx(0.01, rel=5e-3)
    assert float(theirs) == 0.0  # so the line above would fail
    single = np.float32(1)
    for _ in range(8):
        single = single * np.float32(1e-6)
    assert float(single ** np.float32(1 / 8)) == 0.0  # in float32 too
    assert float(merge_view_probs(np.full((8, 1, 1), logit(1e-6)), "multilabel", "gmean")[0, 0]) == pytest.approx(1e-6)


def test_a_weight_of_0_leaves_a_view_out_and_equal_weights_are_none() -> None:
    for how in HOWS:
        left = merge_view_probs(LOGITS, "multiclass", how, [1, 0, 1, 0])
        assert left == pytest.approx(merge_view_probs(LOGITS[[0, 2]], "multiclass", how), abs=1e-6)
        even = merge_view_probs(LOGITS, "multiclass", how, [2, 2, 2, 2])
        assert even == pytest.approx(merge_view_probs(LOGITS, "multiclass", how), abs=1e-6)


def test_equal_classes_share_their_mean_rank() -> None:
    scores = np.array([[[0.1, 0.5, 0.5, 0.9], [1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]]])
    ranks = merge_view_probs(scores, "multilabel", "rank")
    assert ranks.tolist() == [[0.25, 0.625, 0.625, 1.0], [0.625] * 4, [1.0, 0.75, 0.5, 0.25]]
    many = np.random.default_rng(0).integers(0, 4, (1, 50, 9)).astype(float)
    assert merge_view_probs(many, "multilabel", "rank") == pytest.approx(rankdata(many[0], axis=-1) / 9)


@pytest.mark.parametrize(("weights", "shown"), [([1, 2], r"\[1.0, 2.0\]"), ([1, 1, 1, -1], "-1"), ([0, 0, 0, 0], "0"),
                                                ([1, 1, 1, float("nan")], "nan"), ([1, 1, 1, float("inf")], "inf")])
def test_strange_weights_are_refused(weights: list[float], shown: str) -> None:
    with pytest.raises(MergeError, match=f"weights .*{shown}.* of 4 views; give each a finite weight of 0 or more"):
        merge_view_probs(LOGITS, "multiclass", "mean", np.array(weights, dtype=float))
    with pytest.raises(MergeError, match="shape .*; views are merged from"):
        merge_view_probs(LOGITS[0], "multiclass")


def test_names_of_merges() -> None:
    assert [merge_power(how) for how in HOWS] == [None, None, None, 2.0, 0.5, -1.0, None]
    for name in ("power:0", "power:", "power:x", "power:99", "power:1e1", "max", "geomean", ""):
        with pytest.raises(SpecError, match=f"unknown merge of views '{name}': .*Allowed: mean, gmean, logit_mean"):
            merge_power(name)


def run_config(**changes: object) -> dict:
    return {"run": "a", "competition": "digits", "net": {"arch": "resnet18", "size": 32},
            "loss": {"name": "cross_entropy"}, "metric": "accuracy", **changes}


def test_a_run_names_its_merge_and_old_ones_took_the_mean() -> None:
    plain, chosen = parse_config(run_config(), "x.yml"), parse_config(run_config(merge="power:2"), "x.yml")
    assert plain.merge == "mean" and chosen.merge == "power:2"
    assert config_hash(plain) == config_hash(parse_config(run_config(merge="mean"), "x.yml")) != config_hash(chosen)
    with pytest.raises(ConfigError, match="x.yml: merge: unknown merge of views 'gmaen': did you mean 'gmean'"):
        parse_config(run_config(merge="gmaen"), "x.yml")
    assert RunMeta.model_fields["merge"].default == MemberSpec.model_fields["merge"].default == "mean"


def test_the_mean_is_bit_for_bit_what_it_was() -> None:
    for task in TASKS:
        wide = softmax(LOGITS, axis=-1) if task == "multiclass" else expit(LOGITS)
        assert np.array_equal(merge_view_probs(LOGITS, task), wide.mean(axis=0))
