"""Names of classes as people bring them: numbered, with a prefix in one file and another in the next."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from brought_files import IDS, NAMES, Commands, N, Y, softmax_member, write_csv
from scipy.special import softmax
from sklearn.metrics import log_loss

from foldpack.errors import DataError

A, B = softmax_member(1), softmax_member(2)
ALONE = [round(log_loss(Y, one), 4) for one in (A, B)]
MANY = np.arange(N) % 12
WIDE = softmax(3 * np.eye(12)[MANY] + np.random.default_rng(3).normal(0, 1, (N, 12)), axis=1)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    commands = Commands(tmp_path, monkeypatch, capsys)
    pd.DataFrame({"id": IDS, "label": Y}).to_csv("y.csv", index=False)
    return commands


@pytest.mark.parametrize("pattern", ["prob_{}", "{}", "p{}", "{}.0", "class_{}_oof", "resnet50_{}"])
@pytest.mark.parametrize("first", [0, 1])
def test_numbered_columns_go_by_number_also_when_they_were_sorted_as_text(run, pattern, first):
    order = sorted(range(12), key=lambda c: str(c + first))
    write_csv("a.csv", WIDE[:, order], [pattern.format(c + first) for c in order], IDS)
    pd.DataFrame({"id": IDS, "label": MANY + first}).to_csv("y.csv", index=False)
    assert run.alone("a.csv") == [round(log_loss(MANY, WIDE), 4)]


def test_labels_that_count_from_0_go_in_the_order_of_the_numbers(run):
    write_csv("a.csv", A[:, [2, 0, 1]], ["prob_3", "prob_1", "prob_2"], IDS)
    assert run.alone("a.csv") == ALONE[:1]
    assert "0 is 'prob_1', 1 is 'prob_2'" in str(run.search("a.csv")["notes"])


def test_a_class_that_no_label_has_does_not_move_the_others(run):
    two = np.minimum(Y, 1)
    write_csv("a.csv", A, ["prob_1", "prob_2", "prob_3"], IDS)
    pd.DataFrame({"id": IDS, "label": two + 1}).to_csv("y.csv", index=False)
    assert run.alone("a.csv") == [round(log_loss(two, A, labels=[0, 1, 2]), 4)]


@pytest.mark.parametrize(("one", "other"), [("{}", "prob_{}"), ("prob_{}", "{}"), ("prob_{}", "pred.{}"),
                                            ("{}_oof", "pred_{}"), ("m1_{}", "m2_{}")])
@pytest.mark.parametrize("names", [NAMES, ["0", "1", "10"]])
def test_prefixes_may_differ(run, one, other, names):
    write_csv("a.csv", A, [one.format(name) for name in names], IDS)
    write_csv("c.csv", B[:, [2, 0, 1]], [other.format(names[c]) for c in (2, 0, 1)], IDS)
    pd.DataFrame({"id": IDS, "label": np.array(names)[Y]}).to_csv("y.csv", index=False)
    assert run.alone("a.csv", "c.csv") == ALONE
    expected = run.blend("a.csv", "c.csv")
    write_csv("c_test.csv", B[:, [1, 0, 2]], [f"x_{names[c]}" for c in (1, 0, 2)], IDS)
    assert run.blend("a.csv", "c_test.csv") == pytest.approx(expected, abs=1e-7)


def test_one_hot_labels_may_have_a_prefix_too(run):
    write_csv("y.csv", np.eye(3, dtype=int)[Y][:, [1, 0, 2]], ["target_dog", "target_cat", "target_owl"], IDS)
    write_csv("a.csv", A, [f"pred_{name}" for name in NAMES], IDS)
    assert run.alone("a.csv") == ALONE[:1]


@pytest.mark.parametrize("names", [["bat", "bog", "bowl"], ["x10", "x11", "x12"], ["pred_cat", "pred_dog", "oof_owl"]])
def test_names_that_only_share_letters_are_other_names(run, names):
    write_csv("a.csv", A, ["cat", "cog", "cowl"] if names[0] == "bat" else NAMES, IDS)
    write_csv("c.csv", B, names, IDS)
    with pytest.raises(DataError, match="c.csv: the columns are not the classes of a.csv"):
        run.search("a.csv", "c.csv")


def test_tests_in_different_orders_need_classes_with_names(run):
    np.save("a.npy", A)
    np.save("c.npy", B)
    run.search("a.npy", "c.npy")
    write_csv("a_test.csv", A, ids=IDS)
    write_csv("c_test.csv", B[:, [2, 0, 1]], ["owl", "cat", "dog"], IDS)
    with pytest.raises(DataError, match="c_test.csv: its columns are 'owl', 'cat', 'dog', those of a_test.csv 'cat'"):
        run.blend("a_test.csv", "c_test.csv")
    write_csv("c_test.csv", B, ids=IDS)
    assert run.blend("a_test.csv", "c_test.csv") == pytest.approx(run.blend("a.npy", "c.npy"), abs=1e-7)


@pytest.mark.parametrize("names", [["-1", "0", "1"], ["1.5", "2", "2.5"]])
def test_numbers_that_columns_are_called_by_are_looked_up(run, names):
    write_csv("a.csv", A[:, [2, 0, 1]], [names[c] for c in (2, 0, 1)], IDS)
    pd.DataFrame({"id": IDS, "label": np.array(names)[Y]}).to_csv("y.csv", index=False)
    assert run.alone("a.csv") == ALONE[:1]


def test_ids_with_a_point_are_ids(run):
    ids = [f"{k}.5" for k in range(N)]
    pd.DataFrame({"id": ids, "label": Y}).to_csv("y.csv", index=False)
    write_csv("a.csv", A[::-1], NAMES, ids[::-1])
    assert run.alone("a.csv") == ALONE[:1]
