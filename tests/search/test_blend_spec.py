"""Blends of files of version 1 are read as ensembles of version 2, and apply as they did."""

import numpy as np
import pytest

from foldpack.errors import FoldpackError
from foldpack.search.files.blend_files import blend_files
from foldpack.search.files.blend_spec import read_blend
from foldpack.settings.ensemble import read_spec, write_spec
from foldpack.settings.strict_yaml import dump_strict

RNG = np.random.default_rng(4)
DIGEST = "0" * 64
PROBS = RNG.dirichlet(np.ones(4), (2, 30)).astype(np.float32)
VALUES = RNG.normal(2, 1, (2, 30)).astype(np.float32)
MEAN = 0.75 * PROBS[0] + 0.25 * PROBS[1]


def old(kind, metric, **changes):
    members = [{"name": name, "weight": weight, "sha256": DIGEST} for name, weight in (("a", 0.75), ("b", 0.25))]
    return {"version": 1, "name": "best", "kind": kind, "metric": {"name": metric, "oof": 0.5},
            "blend": {"space": "linear" if kind == "values" else "probability"}, "members": members, **changes}


def ranking(k, table=MEAN):
    return np.argsort(-table, axis=1, kind="stable")[:, :k]


def with_new(table, score):
    return np.hstack([table, np.full((len(table), 1), score, dtype=np.float32)])


CASES = {
    "class": (old("exclusive", "accuracy", classes=list("wxyz")), PROBS, MEAN.argmax(axis=1)),
    "labels": (old("labels", "f2", threshold=0.3, min_labels=0, max_labels=2, classes=list("wxyz"), id_column="id"),
               PROBS, (MEAN >= 0.3) & (np.argsort(np.argsort(-MEAN, axis=1), axis=1) < 2)),
    "ranking": (old("exclusive", "map3"), PROBS, ranking(3)),
    "ranking with new": (old("exclusive", "map3", new_score=0.35), PROBS,
                         np.where(ranking(3, with_new(MEAN, 0.35)) == 4, -1, ranking(3, with_new(MEAN, 0.35)))),
    "grades": (old("values", "qwk", cuts=[1.5, 2.5]), VALUES,
               np.searchsorted([1.5, 2.5], 0.75 * VALUES[0] + 0.25 * VALUES[1], side="right")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_blend_of_version_1_decides_as_it_did(tmp_path, case):
    data, predictions, expected = CASES[case]
    (tmp_path / "best.yml").write_text(dump_strict(data))
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path, table in zip(files, predictions, strict=True):
        np.save(path, table)
    blend_files(tmp_path / "best.yml", files, tmp_path / "out.npy", tmp_path / "decided.npy", tell=lambda line: None)
    assert np.array_equal(np.load(tmp_path / "decided.npy"), expected)
    spec = read_blend(tmp_path / "best.yml")
    assert spec.last.decision.kind == case.split()[0] and list(spec.last.shares) == ["a", "b"]
    write_spec(tmp_path / "new.yml", spec)
    assert (tmp_path / "new.yml").read_text().startswith("version: 2\n") and read_blend(tmp_path / "new.yml") == spec


@pytest.mark.parametrize(("kind", "metric", "decision"), [
    ("exclusive", "log_loss", "probs"), ("labels", "auc", "probs"), ("values", "rmse", "values"),
    ("exclusive", "my_own", "probs")])
def test_what_was_scored_by_its_numbers_hands_in_numbers(tmp_path, kind, metric, decision):
    (tmp_path / "best.yml").write_text(dump_strict(old(kind, metric)))
    assert read_blend(tmp_path / "best.yml").last.decision.kind == decision


def test_no_kernel_is_made_of_files(tmp_path):
    for name, data in (("old", old("exclusive", "accuracy")), ("new", None)):
        if data is None:
            write_spec(tmp_path / "new.yml", read_blend(tmp_path / "old.yml"))
        else:
            (tmp_path / "old.yml").write_text(dump_strict(data))
        with pytest.raises(FoldpackError, match=f"{name}.yml: a blend of files, which has no runs; a deploy needs"):
            read_spec(tmp_path / f"{name}.yml")


@pytest.mark.parametrize(("changes", "message"), [
    ({"members": []}, "key 'stages.0.files.members'|files.members: list should have at least 1 item"),
    ({"knid": 1}, "unknown key 'knid'"),
    ({"level2": {"top": 2}}, "stages.0.level2.0"),
    ({"threshold": 0.5}, "decision 'labels' does not fit link 'softmax'"),
])
def test_each_fault_of_an_old_blend_is_named(tmp_path, changes, message):
    (tmp_path / "best.yml").write_text(dump_strict(old("exclusive", "accuracy", **changes)))
    with pytest.raises(FoldpackError, match=message) as failure:
        read_blend(tmp_path / "best.yml")
    assert str(failure.value).startswith(f"{tmp_path / 'best.yml'}: ")
