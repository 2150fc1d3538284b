"""The kernel's blend: valid after every unit, by the plan's weights for the members that are there."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.member_blend import MemberBlend, rule_for
from foldpack.settings.ensemble import parse_spec
from foldpack.settings.stages import StageSpec

A = np.array([[0.9, 0.2], [0.4, 0.6]], dtype=np.float32)
B = np.array([[0.5, 0.4], [0.2, 0.8]], dtype=np.float32)
C = np.array([[0.1, 0.3], [0.6, 0.1]], dtype=np.float32)


def make_spec(**more: object) -> StageSpec:
    fold = {"fold": 0, "sha256": "a" * 64}
    members = [
        {"run": run, "weight": weight, "views": ["identity"], "size": 32, "seconds_per_image": 0.1, "folds": [fold]}
        for run, weight in (("a", 0.5), ("b", 0.3), ("c", 0.2))
    ]
    return parse_spec({
        "name": "best", "competition": "imet", "slug": "s", "task": "multilabel", "classes": ["x", "y"],
        "prior": [0.5, 0.5], "threshold": 0.4, "metric": {"name": "f2", "oof": 0.9}, "members": members, **more}).last


PLAN = {
    "units": [{"run": run, "fold": 0} for run in "cab"],
    "prefixes": [
        {"members": [{"run": "c", "weight": 1.0}], "threshold": 0.3, "oof": 0.7},
        {"members": [{"run": "c", "weight": 0.9}, {"run": "a", "weight": 0.1}], "threshold": 0.35, "oof": 0.8},
    ],
}


def test_the_finished_blend_is_the_searchs_blend() -> None:
    blend = MemberBlend(make_spec(), 2)
    for run, probs in (("c", C), ("a", A), ("b", B)):
        blend.add(run, probs)
    expected = blend_probs(np.stack([A, B, C]), np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(blend.result(), expected, atol=1e-6)
    assert blend.rule().decision.threshold == 0.4 and blend.parts == 3


def test_a_member_counts_as_the_mean_of_its_finished_folds() -> None:
    blend = MemberBlend(make_spec(), 2)
    for run, probs in (("a", A), ("a", B), ("b", C)):
        blend.add(run, probs)
    expected = (0.5 * (A + B) / 2 + 0.3 * C) / 0.8
    np.testing.assert_allclose(blend.result(), expected, atol=1e-6)


def test_a_prefix_takes_the_plans_weights_and_threshold() -> None:
    blend = MemberBlend(make_spec(plan=PLAN), 2)
    blend.add("c", C)
    assert blend.rule().decision.threshold == 0.3
    blend.add("a", A)
    np.testing.assert_allclose(blend.result(), 0.9 * C + 0.1 * A, atol=1e-6)
    assert blend.rule().decision.threshold == 0.35


def test_a_set_that_the_plan_does_not_foresee_is_renormalised() -> None:
    rule = rule_for(make_spec(plan=PLAN), {"a", "b"})
    assert rule.shares == {"a": 0.5, "b": 0.3}
    assert rule.decision.threshold == 0.4


def test_in_logit_space_the_logits_are_averaged() -> None:
    spec = make_spec(blend={"space": "logit", "scale": 1.0, "bias": 0.0})
    blend = MemberBlend(spec, 2)
    blend.add("a", A)
    blend.add("b", B)
    logits = (0.5 * np.log(A / (1 - A)) + 0.3 * np.log(B / (1 - B))) / 0.8
    np.testing.assert_allclose(blend.result(), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_without_a_finished_unit_there_is_no_result() -> None:
    with pytest.raises(ValueError, match="no finished unit has any weight"):
        MemberBlend(make_spec(), 2).result()
