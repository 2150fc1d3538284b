"""Numbers that are no predictions of every item: percent, votes, ranks, rows that nobody predicted, odd metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from brought_files import IDS, Commands, N, Y, softmax_member, write_csv
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata
from sklearn.metrics import log_loss, roc_auc_score

from foldpack.errors import DataError, FoldpackError

A = softmax_member(1)
TRUE = (Y == 1).astype(int)
P = expit(3 * TRUE - 1.5 + np.random.default_rng(5).normal(0, 1.5, N))
VOTES = np.array([np.bincount(np.random.default_rng(k).choice(3, 7, p=A[k]), minlength=3) for k in range(N)])
EVEN = np.arange(N) % 2 == 0


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    commands = Commands(tmp_path, monkeypatch, capsys)
    np.save("y.npy", Y)
    np.save("b.npy", TRUE)
    return commands


@pytest.mark.parametrize(("values", "message"), [
    (np.round(100 * A, 1), "the numbers of every item sum to 100.*, so they are no logits"),
    ((255 * A).astype(np.uint8), "no logits"),
    (VOTES + (np.arange(3) == 0) * EVEN[:, None], "whole numbers from 0 to .*, but votes, ranks or percent"),
    (rankdata(A, axis=0, method="ordinal"), "whole numbers from 1 to 90 are no logits"),
    (A * EVEN[:, None], "all numbers are 0 in 45 of 90 rows, first in row 1; every item needs a prediction"),
    (np.log(A) * EVEN[:, None], "all numbers are 0 in 45 of 90 rows"),
])
@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_numbers_of_classes_that_are_no_predictions_are_refused(run, values, message, metric):
    np.save("a.npy", values)
    with pytest.raises(DataError, match=f"a: .*{message}"):
        run.search("a.npy", labels="y.npy", metric=metric)


def test_two_columns_that_rise_together_are_no_two_classes(run):
    pd.DataFrame({"one": logit(P), "other": 1.5 * logit(P) - 0.2}).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match="a: its two columns rise together"):
        run.search("a.csv", labels="b.npy", metric="auc")


@pytest.mark.parametrize("values", [100 * P, np.round(5 * P), rankdata(P), np.column_stack([90 * P, 80 * P])])
@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_numbers_that_all_say_yes_are_no_logits_unless_only_their_order_counts(run, values, metric):
    np.save("a.npy", values)
    if values.ndim == 1:
        with pytest.raises(DataError, match="as logits all would say yes"):
            run.search("a.npy", labels="b.npy", metric=metric)
        assert run.alone("a.npy", labels="b.npy", metric="auc") == [round(roc_auc_score(TRUE, values), 4)]
    elif metric == "log_loss":
        np.save("t.npy", np.column_stack([TRUE, Y == 2]))
        with pytest.raises(DataError, match="as logits all would say yes"):
            run.search("a.npy", labels="t.npy", metric=metric)


def test_rows_of_unfinished_folds_are_pointed_out(run):
    np.save("a.npy", P * EVEN)
    assert "a: exactly 0 in 45 of 90 rows" in str(run.search("a.npy", labels="b.npy", metric="auc")["notes"])
    np.save("a.npy", (P > 0.5).astype(int))  # hard labels are no sign of it
    assert "exactly 0" not in str(run.search("a.npy", labels="b.npy", metric="auc")["notes"])


def test_a_row_of_zeros_in_a_blend_is_refused(run):
    write_csv("a.csv", A, ids=IDS)
    run.search("a.csv", labels="y.npy")
    write_csv("t.csv", A * (np.arange(N) != 3)[:, None], ids=IDS)
    with pytest.raises(DataError, match="t.csv: all numbers are 0 in 1 of 90 rows, first in row 3"):
        run.blend("t.csv")


@pytest.mark.parametrize(("text", "message"), [
    ("raise ValueError('boom')", "it failed on arrays of shape .90,., .90, 3.: ValueError: boom"),
    ("return 'good'", "it gave str 'good'; needed: one number"),
    ("return p", "it gave ndarray .*; needed: one number"),
    ("return float('nan')", "metric 'own' is nan for the members' mean"),
])
def test_a_metric_of_ones_own_that_fails_is_one_line(run, text, message):
    np.save("a.npy", A)
    (run.folder / "own.py").write_text(f"def metric(y, p):\n    {text}\n")
    with pytest.raises(FoldpackError, match=message):
        run.search("a.npy", labels="y.npy", metric="own.py")


def test_a_metric_of_groups_without_groups_is_one_line(run):
    np.save("a.npy", A)
    (run.folder / "own.py").write_text("def metric(y, p, groups):\n    return len(set(groups))\n")
    with pytest.raises(FoldpackError, match="None .no --groups."):
        run.search("a.npy", labels="y.npy", metric="own.py")


def test_labels_of_one_class_have_no_auc(run):
    np.save("a.npy", P)
    np.save("b.npy", np.ones(N, dtype=int))
    with pytest.raises(DataError, match="metric 'auc' is nan for the members' mean.*more than one class"):
        run.search("a.npy", labels="b.npy", metric="auc")


def test_one_file_is_not_the_test_of_two_members(run):
    np.save("a.npy", A)
    np.save("c.npy", softmax_member(2))
    np.save("t.npy", A)
    with pytest.raises(DataError, match="a file of --test is named twice"):
        run.search("a.npy", "c.npy", labels="y.npy", options=["--test", "t.npy", "--test", "t.npy"])


def test_logits_that_all_lie_in_0_to_1_are_told_by_an_option(run):
    logits = 0.5 + 0.05 * np.log(A)
    logits = logits - logits.min()
    assert logits.max() < 1
    np.save("a.npy", logits)
    expected = round(log_loss(Y, softmax(logits, axis=1)), 4)
    assert run.alone("a.npy", labels="y.npy", options=["--scores", "logit"]) == [expected]
    assert run.yaml()["members"][0]["scores"] == "logit"
    assert run.blend("a.npy") == pytest.approx(softmax(logits, axis=1), abs=1e-6)
    np.save("a.npy", np.log(A))
    with pytest.raises(DataError, match="a: numbers from .* are no probabilities; leave --scores out"):
        run.search("a.npy", labels="y.npy", options=["--scores", "probability"])


@pytest.mark.parametrize("classes", [1, 3])
def test_a_column_of_another_kind_is_no_class(run, classes):
    frame = pd.DataFrame({"a": P} if classes == 1 else dict(zip("abc", A.T, strict=True)))
    frame.assign(zscore=np.random.default_rng(1).normal(0, 1, N)).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match="a: all numbers of column 'a' lie in 0 to 1 and those of column 'zscore' do"):
        run.search("a.csv", labels="b.npy" if classes == 1 else "y.npy", metric="auc")


def test_one_fold_is_pointed_out(run):
    np.save("a.npy", A)
    np.save("f.npy", np.zeros(N, dtype=int))
    found = run.search("a.npy", labels="y.npy", options=["--folds", "f.npy"])
    assert "all rows are in one fold" in str(found["notes"])
