"""The search of runs of values: cut to a range, or into grades; the YAML hands in what was scored."""

import numpy as np
import pytest
from answered_as import answered_as
from made_competition import PLAIN
from view_arrays import rows_of_array

from foldpack.data.rows import Rows
from foldpack.data.runs import FoldMeta, RunMeta, write_array, write_meta, write_oof, write_oof_rows
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import DataError
from foldpack.metrics.classification import quadratic_kappa
from foldpack.metrics.registry import get_metric
from foldpack.metrics.regression import mae, rmse
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import LabelRule, fit_decision
from foldpack.search.find import SearchOptions, find_ensemble
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.competition import competition_text, parse_competition
from foldpack.settings.ensemble import parse_spec, spec_to_dict

N, DIGEST = 160, "0" * 64
RNG = np.random.default_rng(4)
GRADES = np.sort(RNG.integers(0, 5, N))
FOLD = np.where(GRADES == 4, np.arange(N) % 2, np.arange(N) % 4)  # two of the folds lack the highest grade


def write_values(folder, name, targets, seed, **more):
    """A run of (n, T) targets with noise. Returns its (n, T) float32 predictions."""
    noise = np.random.default_rng(seed).normal(0, 0.8, targets.shape)
    values = (targets + noise).astype(np.float32)
    (folder / name).mkdir(parents=True)
    write_oof_rows(folder / name / "oof.csv", [f"i{k}" for k in range(N)], FOLD)
    digests = [write_oof(folder / name / "oof", rows_of_array(values[None], "value"), "float32"),
               write_array(folder / name / "targets.npy", targets.astype(float))]
    folds = [FoldMeta(fold=k, items=int((FOLD == k).sum()), score=0.5, epoch=1, sha256=DIGEST) for k in range(4)]
    write_meta(folder / name, RunMeta(**{
        "run": name, "competition": "digits-values", "task": "regress", "size": 32, "views": ["identity"],
        "classes": [f"v{k}" for k in range(targets.shape[1])], "prior": targets.mean(axis=0).tolist(),
        "metric": "rmse", "score": 0.5, "folds": folds, "seconds_per_image": 0.01, "config_sha256": DIGEST,
        "folds_sha256": DIGEST, "oof_sha256": digests[0], "targets_sha256": digests[1],
        "versions": {"torch": "2", "timm": "1"}, **more}))
    return values


def searched(folder, targets, metric, **more):
    """(ensemble, its answers to the rows of the search), of two runs."""
    members = {name: write_values(folder, name, targets, k, **more) for k, name in enumerate(("a", "b"))}
    spec, _ = search_runs("best", [folder / name for name in members], RunSearch(metric=metric))
    assert parse_spec(spec_to_dict(spec)) == spec
    stage = spec.last
    blended = blend_probs([members[one.run] for one in stage.members], [one.weight for one in stage.members],
                          stage.fuse, False)
    return spec, answers_of(Rows({"value": blended}), stage.decision, stage.outputs).numbers


def test_grades_have_a_cut_each_and_the_kappa_that_is_promised(tmp_path):
    asked = answered_as(tmp_path, get_metric("qwk"), {"kind": "grades", "column": "label", "grades": 5})
    spec, said = searched(tmp_path, GRADES[:, None], "qwk", competition=asked)
    assert spec.last.decision.kind == "grades" and len(spec.last.decision.cuts) == 4
    assert quadratic_kappa(GRADES, said[:, 0]) == pytest.approx(spec.metric.oof, abs=1e-6)
    assert {0, 4} <= set(said[:, 0].tolist()) <= set(range(5))
    assert 0.5 < spec.metric.nested <= spec.metric.oof
    assert [len(prefix.decision.cuts) for prefix in spec.last.plan.prefixes] == [4] * len(spec.last.plan.prefixes)


def test_a_fold_without_the_highest_grade_is_scored_as_the_others():
    """The cuts are of all grades, whatever rows they are fitted on: the kappa may not ignore the ones beyond."""
    values = (GRADES + RNG.normal(0, 0.1, N)).astype(np.float32)
    qwk = get_metric("qwk")
    found = find_ensemble(dense_cells(np.stack([values, values]), GRADES.astype(float)), qwk, np.arange(N) * 4 // N,
                          SearchOptions(spaces=["linear"]))
    assert found.rule.grades == 5 and len(found.decision.cuts) == 4 and np.isfinite(found.choice.per_fold).all()
    few = dense_cells(values[None, :40], GRADES[:40].astype(float))
    assert len(fit_decision(few, few.values[0], qwk, LabelRule(grades=5))[0].cuts) == 4


def test_values_are_cut_to_the_range_of_their_runs_and_scored_so(tmp_path):
    spec, said = searched(tmp_path, GRADES[:, None], "rmse", range=[0.0, 4.0])
    assert spec.last.decision.range == [0, 4] and said.min() == 0 and said.max() == 4
    assert rmse(GRADES, said[:, 0]) == pytest.approx(spec.metric.oof, abs=1e-6)
    two, said = searched(tmp_path / "two", np.stack([GRADES, 2 - GRADES], axis=1), "mae", range=[-1.0, 3.0])
    assert said.shape == (N, 2) and (said.min(), said.max()) == (-1, 3)
    assert mae(np.stack([GRADES, 2 - GRADES], axis=1), said) == pytest.approx(two.metric.oof, abs=1e-6)
    plain, said = searched(tmp_path / "plain", GRADES[:, None], "rmse")
    assert plain.last.decision.range is None and said.max() > 4 and plain.metric.oof > spec.metric.oof


def test_the_range_of_the_answer_holds_too(tmp_path, monkeypatch):
    changed = {"labels": {"kind": "values", "columns": ["v0"]}, "metric": {"name": "rmse"},
               "answer": {"kind": "values", "id": "id", "columns": ["v0"], "range": [1, 3]}}
    settings = parse_competition({**PLAIN, **changed}, "competition.yml")
    (tmp_path / "competition.yml").write_text(competition_text(settings))
    monkeypatch.chdir(tmp_path)
    spec, said = searched(tmp_path, GRADES[:, None], "rmse", competition="competition.yml", range=[0.0, 9.0])
    assert spec.last.decision.range == [1, 3] and (said.min(), said.max()) == (1, 3)
    assert rmse(GRADES, said[:, 0]) == pytest.approx(spec.metric.oof, abs=1e-6)


def test_runs_of_other_ranges_and_grades_of_several_values_are_refused(tmp_path):
    write_values(tmp_path, "a", GRADES[:, None], 1, range=[0.0, 4.0])
    write_values(tmp_path, "b", GRADES[:, None], 2)
    with pytest.raises(DataError, match="runs 'a' and 'b' differ in their range"):
        search_runs("best", [tmp_path / "a", tmp_path / "b"], RunSearch())
    write_values(tmp_path, "two", np.stack([GRADES, GRADES], axis=1), 3)
    line = "metric 'qwk' scores one grade an item, and these runs predict 2 values: v0, v1; name another with --metric"
    with pytest.raises(DataError, match=line):
        search_runs("best", [tmp_path / "two"], RunSearch(metric="qwk"))
