"""Level 2 in the kernel: when it applies, what it is given, and what the YAML may say of it."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.data.rows import Rows
from foldpack.engine.units import plan_units
from foldpack.ensemble.candidates import CANDIDATE_ROWS, candidate_table
from foldpack.ensemble.level2 import BoosterFuser, level2_probs, read_booster
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.errors import FoldpackError
from foldpack.search.level2.boosters import BoosterFit, fit_booster
from foldpack.settings.ensemble import parse_spec
from foldpack.settings.stages import SpecError, StageSpec

RNG = np.random.default_rng(7)
C = 5


def softmax_rows(items: int) -> np.ndarray:
    scores = np.exp(RNG.normal(0, 2, (items, C)))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def make_spec(task: str = "multiclass", **level2: object) -> StageSpec:
    members = [{"run": run, "weight": weight, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
                "folds": [{"fold": k, "sha256": "a" * 64} for k in range(2)]}
               for run, weight in (("a", 0.5), ("b", 0.3), ("c", 0.2), ("idle", 0.0))]
    part = {"top": 2, "members": ["b", "a"], "oof": 0.9, "nested": 0.9, "nested_se": 0.01, "gain": 0.1, "gain_se": 0.01,
            "boosters": [{"kind": kind, "fold": 0, "file": f"{kind}.txt", "sha256": "a" * 64}
                         for kind in ("lightgbm", "xgboost")], **level2}
    return parse_spec({"name": "best", "competition": "digits", "slug": "s", "task": task,
                       "classes": [f"c{k}" for k in range(C)], "prior": [0.2] * C, "members": members,
                       "threshold": 0.4 if task == "multilabel" else None,
                       "metric": {"name": "accuracy", "oof": 0.9}, "level2": part}).last


def boosters(items: int = 400) -> list[tuple[str, str]]:
    """One small booster of each kind, fitted on two members."""
    probs, y = np.stack([softmax_rows(items) for _ in range(2)]), RNG.integers(0, C, items)
    table = candidate_table(probs, probs.mean(axis=0), np.full(C, 0.2, np.float32), 2)
    stop = table.item % 3 == 0
    task = BoosterFit(table.features, y[table.item] == table.label, ~stop, stop)
    return [(kind, fit_booster(kind, task, 0, {})[0]) for kind in ("lightgbm", "xgboost")]


def booster_fuser(spec: StageSpec, pair: list[tuple[str, str]], *units: tuple[str, np.ndarray]) -> BoosterFuser:
    """After these units: run and (n, C) probabilities of each."""
    fuser = BoosterFuser(spec, ScoreFuser(spec, len(units[0][1])), [text for _, text in pair])
    of_run = {unit.member.run: unit for unit in plan_units(spec)}
    for run, probs in units:
        fuser.add(of_run[run], Rows({"probs": probs}))
    return fuser


def test_level_two_sees_the_mean_of_its_members_folds() -> None:
    first, second, other = softmax_rows(6), softmax_rows(6), softmax_rows(6)
    rows = booster_fuser(make_spec(), [], ("a", first), ("c", other), ("b", other), ("a", second)).member_rows(2, 5)
    assert rows.dtype == np.float32 and rows.shape == (2, 3, C)
    assert rows[0] == pytest.approx(other[2:5])  # in the order of the fit
    assert rows[1] == pytest.approx((first + second)[2:5] / 2)


def test_one_finished_fold_is_given_to_level_two_bit_by_bit_in_any_blend_space() -> None:
    spec = make_spec()
    spec = spec.model_copy(update={"fuse": spec.fuse.model_copy(update={"space": "logit", "scale": 1.3})})
    probs = softmax_rows(6)
    assert (booster_fuser(spec, [], ("a", probs), ("b", probs)).member_rows(0, 6) == probs).all()


def test_blocks_of_items_give_what_one_table_gives() -> None:
    items = CANDIDATE_ROWS + 300
    probs = np.stack([softmax_rows(items) for _ in range(2)])
    blend, prior, pair = probs.mean(axis=0), np.full(C, 0.2, np.float32), boosters()
    table = candidate_table(probs, blend, prior, 2)
    mean = np.mean([read_booster(kind, text)(table.features) for kind, text in pair], axis=0)
    answer = level2_probs(pair, lambda a, b: probs[:, a:b], blend, prior, 2)
    assert answer == pytest.approx(table.spread(mean, items, C), abs=1e-7)
    fuser = booster_fuser(make_spec(), pair, ("b", probs[0]), ("a", probs[1]))
    better = fuser.better(1000.0, last=True)
    assert better is not None
    blend = fuser.result()[0].columns["probs"]
    assert (better[0].columns["probs"] == level2_probs(pair, lambda a, b: probs[:, a:b], blend, prior, 2)).all()


def test_noise_in_the_seventh_digit_hardly_changes_an_answer() -> None:
    """A booster's cuts can be values of its own rows; rounded features keep such rows on their side."""
    items = 2000
    probs = np.stack([softmax_rows(items) for _ in range(2)])
    noisy = probs * (1 + RNG.uniform(-1e-6, 1e-6, probs.shape)).astype(np.float32)
    pair, prior = boosters(), np.full(C, 0.2, np.float32)
    answers = [level2_probs(pair, lambda a, b, p=p: p[:, a:b], p.mean(axis=0), prior, 2) for p in (probs, noisy)]
    assert np.mean(np.abs(answers[0] - answers[1]).max(axis=1) > 1e-6) < 0.02


def test_a_spec_with_level_two_survives_the_literal_and_refuses_what_does_not_fit() -> None:
    stage = make_spec("multilabel", threshold=0.3)
    assert StageSpec.model_validate(stage.model_dump(mode="json")) == stage
    for task, changes, message in (
        ("multiclass", {"members": ["a", "idle"]}, "level2.members names 'idle', which has no weight here"),
        ("multiclass", {"members": ["a", "a"]}, "level2.members names a run twice"),
        ("multiclass", {"reject": C}, "level2.reject is class 5 of 5, counted from 0"),
        ("multiclass", {"threshold": 0.5}, "level2 decides 'labels', but the stage 'class'"),
        ("multilabel", {}, "level2 needs a decision of its own, as its probabilities are not those of the blend"),
        ("multilabel", {"threshold": [0.1]}, "1 thresholds for 5 classes: level2"),
        ("multiclass", {"boosters": []}, "level2.0.boosters"),
        ("multiclass", {"topp": 3}, "level2.0.topp.*did you mean 'top'"),
    ):
        with pytest.raises(SpecError, match=message):
            make_spec(task, **changes)


def test_an_unknown_booster_is_named() -> None:
    with pytest.raises(FoldpackError, match="kind 'catboost' is not known; level 2 has lightgbm and xgboost"):
        read_booster("catboost", "")
