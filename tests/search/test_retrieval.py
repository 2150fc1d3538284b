"""Ways to retrieve are tried on out-of-fold embeddings, taken only where they gain, and carried into the YAML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from retrieving import FOLDS, as_member, pictures, write_run
from sklearn.linear_model import LogisticRegression

from foldpack.data.rows import Rows
from foldpack.data.runs import (
    read_run,
    write_array,
    write_meta,
    write_oof,
    write_oof_rows,
)
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.thresholds import with_new_score
from foldpack.metrics.registry import get_metric
from foldpack.search.decide.decision import LabelRule
from foldpack.search.retrieval.calibration import fit_sigmoid, fit_softmax
from foldpack.search.retrieval.choice import changed, walk
from foldpack.search.retrieval.judge import Judge, answer_parts, best_columns, nested_choice
from foldpack.search.run_rows import run_reader_of
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import parse_spec, spec_to_dict
from foldpack.settings.retrieve import Rerank, Retrieval
from foldpack.settings.run import EmbedConfig
from foldpack.settings.stages import RankingDecision

MAP5 = get_metric("map5")
NEW = LabelRule(new_class=True)


def test_a_better_way_is_taken_and_makes_the_score_that_the_yaml_claims(tmp_path: Path) -> None:
    vectors, y = pictures(0, 1.6)
    run = write_run(tmp_path, "a", vectors, y)
    plain, _ = search_runs("best", [run], RunSearch(retrieval=False))
    spec, numbers = search_runs("best", [run], RunSearch())
    [member] = spec.members
    assert plain.members[0].retrieve is None and member.retrieve is not None
    assert spec.metric.nested is not None and plain.metric.nested is not None
    assert spec.metric.nested > plain.metric.nested + 0.02
    assert parse_spec(spec_to_dict(spec)) == spec and "retrieve" not in spec_to_dict(plain)["stages"][0]["members"][0]
    [note] = [note for note in numbers["notes"] if note.startswith("retrieval of 'a'")]
    assert "map5 0." in note and "with its own settings" in note and "ways tried" in note
    assert any(note.startswith("calibration of identities' scores: ") for note in numbers["notes"])
    assert any("how members retrieve was chosen on all folds" in note for note in numbers["notes"])
    stage = spec.last
    assert isinstance(stage.decision, RankingDecision) and stage.decision.none_score is not None
    scores = run_reader_of(as_member(read_run(run), stage))(slice(None))
    blended = blend_probs([scores], [1.0], stage.scores, True)
    table = with_new_score(blended, stage.decision.none_score, stage.decision.none_rank)
    assert MAP5(y, table) == pytest.approx(spec.metric.oof, abs=1e-5)


def test_where_nothing_gains_the_runs_own_way_stays(tmp_path: Path) -> None:
    vectors, y = pictures(1, 0.05, new=8)
    run = write_run(tmp_path, "a", vectors, y, EmbedConfig(dim=24, neighbours=2))
    spec, numbers = search_runs("best", [run], RunSearch())
    plain, _ = search_runs("best", [run], RunSearch(retrieval=False))
    assert spec == plain and spec.members[0].retrieve is None
    assert spec_to_dict(spec)["stages"][0]["fuse"]["neighbours"] == 2
    assert any("its own stays" in note for note in numbers["notes"])
    assert not any("was chosen on all folds" in note for note in numbers["notes"])


def test_members_of_other_spread_are_calibrated(tmp_path: Path) -> None:
    """A good member whose cosines are all near 1, and a poor one whose are not: the even blend hears the poor one."""
    good, y = pictures(2, 1.2, new=40)
    poor = np.concatenate([good, np.zeros_like(good)], axis=1)
    poor[:, :24] += np.random.default_rng(3).normal(size=good.shape).astype(np.float32) * 0.25
    squeezed = np.concatenate([good, np.full_like(good, 1.2)], axis=1)  # a part that all share
    runs = [write_run(tmp_path, name, (one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32), y)
            for name, one in (("good", squeezed), ("poor", poor))]
    spec, numbers = search_runs("best", runs, RunSearch())
    kinds = {member.retrieve.calibration.kind for member in spec.members
             if member.retrieve is not None and member.retrieve.calibration is not None}
    [note] = [note for note in numbers["notes"] if note.startswith("calibration")]
    assert len(kinds) == 1 and kinds < {"softmax", "sigmoid"}, note
    plain, _ = search_runs("best", runs, RunSearch(retrieval=False))
    assert spec.metric.oof > plain.metric.oof


def test_one_fold_is_enough(tmp_path: Path) -> None:
    """As of a large network that was trained on one: its answers are compared by identities."""
    vectors, y = pictures(4, 1.6, each=12)
    place = write_run(tmp_path, "a", vectors, y)
    run, fold = read_run(place), np.arange(len(y)) % FOLDS
    inside = fold == 0
    write_oof_rows(place / "oof.csv", [f"i{k}" for k in np.flatnonzero(inside)], fold[inside])
    digests = [write_oof(place / "oof", [Rows({"vector": vectors[inside]})], "float32"),
               write_array(place / "targets.npy", y[inside])]
    write_meta(place, run.meta.model_copy(update={"folds": run.meta.folds[:1], "oof_sha256": digests[0],
                                                  "targets_sha256": digests[1]}))
    spec, _ = search_runs("best", [place], RunSearch())
    plain, _ = search_runs("best", [place], RunSearch(retrieval=False))
    assert spec.members[0].retrieve is not None and spec.metric.oof > plain.metric.oof


@pytest.mark.parametrize(("folds", "parts"), [(1, 4), (2, 4), (3, 5), (4, 4), (7, 5)])
def test_few_folds_are_divided_by_identities(folds: int, parts: int) -> None:
    y, fold = np.arange(400) % 21, np.arange(400) // 7 % folds
    part = answer_parts(y, fold, 20)
    assert Judge(y, part, MAP5, NEW).folds == parts  # more than five are put together
    for one in np.unique(part):
        assert len(np.unique(fold[part == one])) == 1  # a part is of one fold
    for of, who in {(int(f), int(who)) for f, who in zip(fold, y, strict=True)}:
        spread = len(np.unique(part[(fold == of) & (y == who)]))
        assert spread == 1 if who < 20 else spread <= -(-4 // folds)


@pytest.mark.parametrize("none", [False, True])
def test_the_best_columns_score_what_all_columns_score(none: bool) -> None:
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 9, (300, 12)).astype(np.float32) / 9  # many are equal
    y = rng.integers(0, 12, 300)
    table, place = best_columns(scores, y, 5, none)
    assert table.shape == (300, 6 + none)
    for threshold in (-1.0, 0.3, 0.8, 2.0) if none else (None,):
        one, other = ((scores, table) if threshold is None else
                      (with_new_score(scores, threshold), with_new_score(table, threshold)))
        assert MAP5(y, one) == pytest.approx(MAP5(place, other), abs=1e-12)


def test_a_fold_has_no_say_in_what_it_is_scored_by() -> None:
    """Its own gains are not looked at when the last step of the others is fitted, nor their scores at it."""
    vectors, y = pictures(6, 1.0)
    fold = np.arange(len(y)) % FOLDS
    scores = np.random.default_rng(7).random((len(y), 13), dtype=np.float32) + 0.4 * (y[:, None] == np.arange(13))
    before = Judge(y, fold, MAP5, NEW).gains(lambda rows: scores[rows])
    spoiled = scores.copy()
    spoiled[fold == 1] = -scores[fold == 1]
    after = Judge(y, fold, MAP5, NEW).gains(lambda rows: spoiled[rows])
    others = [0, 2, 3]
    assert (before[others, 1] == after[others, 1]).all() and (before[1, 1] != after[1, 1])


def test_the_walk_takes_gains_above_a_standard_error_alone() -> None:
    grid = {"neighbours": (1, 2, 3), "centres": (0.0, 0.5)}
    sure, unsure = np.array([0.1, 0.12, 0.11]), np.array([0.3, -0.3, 0.1])
    worth = {(2, 0.0): sure, (3, 0.0): unsure, (2, 0.5): sure + unsure}
    end = walk(Retrieval(), grid, lambda one: worth.get((one.neighbours, one.centres), np.zeros(3)))
    assert end == Retrieval(neighbours=2)


def test_what_does_not_help_where_it_was_not_seen_is_not_taken() -> None:
    """(scored fold, fold left out, way): a way that looks good on each fold, but that the others would not choose."""
    plain = np.zeros((4, 4))
    lucky = np.full((4, 4), -0.1) + 0.3 * np.eye(4)
    assert nested_choice([plain, lucky])[0] == 0
    chosen, nested = nested_choice([plain, lucky, np.full((4, 4), 0.1) + 0.01 * np.arange(4)[:, None]])
    assert chosen != 0 and nested == pytest.approx(0.1 + 0.01 * np.arange(4))


def test_a_changed_setting_leaves_none_that_nothing_reads() -> None:
    own = Retrieval(neighbours=3, softmax=0.1, expand_query=2, alpha=1.0, rerank=Rerank())
    assert changed(own, "neighbours", 1) == Retrieval(expand_query=2, alpha=1.0, rerank=Rerank())
    assert changed(own, "expand_query", 0) == Retrieval(neighbours=3, softmax=0.1, rerank=Rerank())


def test_the_softmax_finds_the_scale_that_truths_were_drawn_with() -> None:
    rng = np.random.default_rng(8)
    scores = rng.random((4000, 20))
    chance = np.exp(12 * scores) / np.exp(12 * scores).sum(axis=1, keepdims=True)
    y = (chance.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    found = fit_softmax(scores.astype(np.float32), y)
    assert found is not None and found.kind == "softmax" and found.scale == pytest.approx(12, rel=0.05)
    assert fit_softmax(scores[:5], np.full(5, 20)) is None  # of none is the identity there


def test_the_sigmoid_is_the_logistic_regression_of_all_pairs() -> None:
    rng = np.random.default_rng(9)
    y = rng.integers(0, 12, 500)
    scores = (0.5 + 0.1 * rng.normal(size=(500, 11)) + 0.15 * (y[:, None] == np.arange(11))).clip(0.01, 1)
    found = fit_sigmoid(scores.astype(np.float32), y)
    peer = LogisticRegression(C=1e9, tol=1e-8).fit(scores.reshape(-1, 1), (y[:, None] == np.arange(11)).reshape(-1))
    assert found is not None and found.kind == "sigmoid"
    assert found.scale == pytest.approx(peer.coef_[0, 0], rel=0.01)
    assert found.shift == pytest.approx(-peer.intercept_[0] / peer.coef_[0, 0], rel=0.01)
    assert fit_sigmoid(1 - scores.astype(np.float32), y) is None  # the nearer the less alike
