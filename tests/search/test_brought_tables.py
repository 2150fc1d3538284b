"""Tables as competitions and notebooks write them: columns beside the predictions and the labels, separators, ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from brought_files import IDS, NAMES, Commands, N, Y, frame_of, softmax_member, write_csv
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from foldpack.errors import DataError

A, B = softmax_member(1), softmax_member(2)
ALONE = [round(log_loss(Y, one), 4) for one in (A, B)]
TRUE = (Y == 1).astype(int)
P = expit(3 * TRUE - 1.5 + np.random.default_rng(5).normal(0, 1.5, N))
MANY = (np.random.default_rng(7).random((N, 3)) < 0.4).astype(int)
Q = expit(3 * MANY - 1.5 + np.random.default_rng(8).normal(0, 1.5, (N, 3)))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    commands = Commands(tmp_path, monkeypatch, capsys)
    pd.DataFrame({"id": IDS, "label": Y}).to_csv("y.csv", index=False)
    return commands


@pytest.mark.parametrize("sep", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_columns_may_be_separated_otherwise(run, sep, decimal):
    frame_of(A, ids=IDS).to_csv("a.csv", index=False, sep=sep, decimal=decimal, encoding="utf-8-sig")
    pd.DataFrame({"id": IDS, "label": Y}).to_csv("y.csv", index=False, sep=sep)
    assert run.alone("a.csv") == ALONE[:1]


def test_a_tsv_is_read(run):
    frame_of(A, ids=IDS).to_csv("a.tsv", index=False, sep="\t")
    assert run.alone("a.tsv") == ALONE[:1]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ids_that_a_join_made_floats_are_ids(run, ending):
    ids = np.random.default_rng(0).permutation(100_000)[:N]
    pd.DataFrame({"id": ids, "label": Y}).to_csv("y.csv", index=False)
    frame = frame_of(A, ids=ids.astype(np.float64)).iloc[::-1]
    frame.to_csv("a.csv", index=False) if ending == "csv" else frame.to_parquet("a.parquet")
    assert run.alone(f"a.{ending}") == ALONE[:1]


@pytest.mark.parametrize(("change", "hint"), [(lambda one: f"train/{one}.jpg", "their folder or ending"),
                                              (str.upper, "capital letters")])
def test_how_ids_differ_is_told(run, change, hint):
    write_csv("a.csv", A, ids=[change(one) for one in IDS])
    with pytest.raises(DataError, match=f"they differ in {hint}: write them alike"):
        run.search("a.csv")


@pytest.mark.parametrize("known", [True, False])
def test_the_decided_class_is_no_prediction(run, known):
    frame_of(A, ids=IDS).assign(pred=A.argmax(axis=1)).to_csv("a.csv", index=False)
    pd.DataFrame({"id": IDS, "label": np.array(NAMES)[Y] if known else Y}).to_csv("y.csv", index=False)
    assert run.alone("a.csv") == ALONE[:1]
    assert "'pred' (the likeliest class)" in str(run.search("a.csv")["notes"])
    frame_of(A, ids=IDS).assign(pred=A.argmin(axis=1)).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match="a.csv: column 'pred' holds whole numbers only"):
        run.search("a.csv")


def test_a_number_above_its_threshold_is_no_prediction(run):
    pd.DataFrame({"id": IDS, "y_true": TRUE, "y_pred": P > 0.4, "y_prob": P}).to_csv("a.csv", index=False)
    assert run.alone("a.csv", labels="a.csv", metric="auc") == [round(roc_auc_score(TRUE, P), 4)]


@pytest.mark.parametrize("patient", [[f"p{k // 3}" for k in range(N)], [k // 3 for k in range(N)]])
@pytest.mark.parametrize("member", ["a.csv", "b.csv", "a.npy"])
def test_a_patient_beside_labels_or_predictions_is_none(run, patient, member):
    frame_of(MANY, ids=IDS, id_name="StudyInstanceUID").assign(PatientID=patient).to_csv("y.csv", index=False)
    frame = frame_of(Q, ids=IDS, id_name="StudyInstanceUID")
    frame.to_csv("a.csv", index=False)
    frame.assign(PatientID=patient).to_csv("b.csv", index=False)
    np.save("a.npy", Q)
    assert run.alone(member, metric="auc") == [round(roc_auc_score(MANY, Q), 4)]


def test_a_patient_is_a_group(run):
    frame = pd.DataFrame({"image": IDS, "target": TRUE, "patient_id": [f"p{k // 3}" for k in range(N)], "sex": "m"})
    frame.to_csv("y.csv", index=False)
    pd.DataFrame({"image": IDS, "target": P}).to_csv("a.csv", index=False)
    run.search("a.csv", metric="auc", options=["--groups", "y.csv"])


@pytest.mark.parametrize("other", ["label_id", "class", "age", "source"])
def test_the_column_with_the_names_of_the_classes_is_the_labels(run, other):
    write_csv("a.csv", A, ids=IDS)
    numbers = (Y + 1) % 3  # a numbering that is not that of the columns
    pd.DataFrame({"id": IDS, "class_name": np.array(NAMES)[Y], other: numbers}).to_csv("y.csv", index=False)
    assert run.alone("a.csv") == ALONE[:1]


def test_labels_of_many_classes_are_found_by_the_predictions_names(run):
    frame_of(MANY, ids=IDS).assign(age=np.arange(N) % 60).to_csv("y.csv", index=False)
    write_csv("a.csv", Q, ids=IDS)
    assert run.alone("a.csv", metric="auc") == [round(roc_auc_score(MANY, Q), 4)]
