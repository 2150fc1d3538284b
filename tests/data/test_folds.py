"""Folds: balance, whole groups, determinism, errors, and folds.csv as a format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.data.answer_groups import answer_groups
from foldpack.data.folds import (
    FOLD_KINDS,
    held_out_groups,
    make_folds,
    only_here,
    read_folds,
    whole_answers,
    write_folds,
)
from foldpack.errors import DataError

RNG = np.random.default_rng(0)
CLASSES = RNG.choice(4, size=200, p=[0.55, 0.25, 0.15, 0.05])
LABELS = RNG.random((200, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.03]
GROUPS = np.array([f"g{k}" for k in RNG.integers(0, 60, 200)])


def targets_for(kind: str) -> np.ndarray:
    return LABELS if kind.startswith("multilabel") else CLASSES


def held_out_of(kind: str) -> float | None:
    return 0.1 if kind == "open_set" else None


@pytest.mark.parametrize("kind", list(FOLD_KINDS))
def test_every_item_has_one_fold_and_no_fold_is_empty(kind: str) -> None:
    fold = make_folds(kind, targets_for(kind), GROUPS, 4, 0, held_out_of(kind))
    assert fold.shape == (200,) and fold.dtype == np.int64
    assert sorted(np.unique(fold)) == [0, 1, 2, 3]
    assert np.bincount(fold).min() > 25  # of 50


@pytest.mark.parametrize("kind", list(FOLD_KINDS))
def test_the_same_seed_gives_the_same_folds_and_another_seed_others(kind: str) -> None:
    folds = [make_folds(kind, targets_for(kind), GROUPS, 4, seed, held_out_of(kind)) for seed in (7, 7, 8)]
    assert (folds[0] == folds[1]).all()
    assert (folds[0] != folds[2]).any()


@pytest.mark.parametrize("kind", [kind for kind in FOLD_KINDS if "grouped" in kind])
def test_groups_stay_whole(kind: str) -> None:
    fold = make_folds(kind, targets_for(kind), GROUPS, 4, 0)
    assert pd.Series(fold).groupby(GROUPS).nunique().max() == 1


WHALES = np.repeat(np.arange(41), RNG.integers(1, 12, 41))  # the last one stands for those that are like no other


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_an_open_set_has_so_many_identities_in_one_fold_alone(share: float) -> None:
    fold = make_folds("open_set", WHALES, None, 3, 0, share, none=40)
    of_fold = [set(WHALES[fold == k]) for k in range(3)]
    assert all(40 in inside for inside in of_fold)  # what is like no other is in all
    often = [identity for identity in range(40) if (WHALES == identity).sum() >= 3]
    alone = [identity for identity in often if sum(identity in inside for inside in of_fold) == 1]
    assert abs(len(alone) / len(often) - share) < 0.12
    stratified = make_folds("stratified_grouped", WHALES, np.arange(len(WHALES)), 3, 0)
    assert not only_here(WHALES, stratified)[np.isin(WHALES, often)].any()
    unknown = [only_here(WHALES, fold)[fold == k].mean() for k in range(3)]
    assert np.ptp(unknown) < 0.2


def test_groups_stay_whole_in_an_open_set_too() -> None:
    """A place is never in two folds; places that share an identity that is held out are together."""
    place = RNG.integers(0, 60, len(WHALES))
    fold = make_folds("open_set", WHALES, place, 3, 0, 0.2, none=40)
    assert pd.Series(fold).groupby(place).nunique().max() == 1
    held = held_out_groups(WHALES, place, 0.2, 40, 0)
    together = pd.Series(held).groupby(place).nunique()
    assert together.max() == 1 and len(np.unique(held)) < 60


def test_whose_identity_no_other_fold_has() -> None:
    chance = np.random.default_rng(5)
    who, fold = chance.integers(0, 30, 60), chance.integers(0, 4, 60)
    by_hand = [not any(who[j] == who[i] and fold[j] != fold[i] for j in range(60)) for i in range(60)]
    assert only_here(who, fold).tolist() == by_hand and 0 < sum(by_hand) < 60


def test_stratified_folds_have_equal_shares_of_each_class() -> None:
    fold = make_folds("stratified", CLASSES, None, 4, 0)
    counts = np.array([np.bincount(CLASSES[fold == k], minlength=4) for k in range(4)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()


def test_numbers_are_shuffled_into_folds_of_one_size() -> None:
    values = RNG.normal(size=(202, 2))
    assert sorted(np.bincount(make_folds("shuffled", values, None, 4, 0))) == [50, 50, 51, 51]
    for kind in ("stratified", "multilabel", "stratified_grouped"):
        with pytest.raises(DataError, match=f"folds of kind '{kind}' balance classes, and the labels are numbers; use"):
            make_folds(kind, values, GROUPS, 4, 0)


def test_multilabel_folds_have_nearly_equal_shares_of_each_label() -> None:
    fold = make_folds("multilabel", LABELS, None, 4, 0)
    counts = np.array([LABELS[fold == k].sum(axis=0) for k in range(4)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= np.maximum(3, 0.15 * LABELS.sum(axis=0) / 4)).all()


def test_stratified_grouped_folds_are_balanced_too() -> None:
    fold = make_folds("stratified_grouped", CLASSES, GROUPS, 4, 0)
    share = np.array([(CLASSES[fold == k] == 0).mean() for k in range(4)])
    assert np.ptp(share) < 0.15


def test_multilabel_grouped_folds_balance_the_labels_of_groups() -> None:
    fold = make_folds("multilabel_grouped", LABELS, GROUPS, 4, 0)
    share = np.array([LABELS[fold == k, 1].mean() for k in range(4)])
    assert np.ptp(share) < 0.15


def test_grouped_folds_take_groups_of_any_label_shape() -> None:
    assert (make_folds("grouped", LABELS, GROUPS, 3, 1) == make_folds("grouped", CLASSES, GROUPS, 3, 1)).all()


@pytest.mark.parametrize("kind", [kind for kind in FOLD_KINDS if "grouped" in kind])
@pytest.mark.parametrize("nothing", ["", "  ", None, float("nan"), pd.NaT])
def test_an_item_without_a_group_is_a_group_of_its_own(kind: str, nothing: object) -> None:
    """As one group, the 100 items without would all lie in one fold."""
    groups = GROUPS.astype(object)
    groups[::2] = nothing
    fold = make_folds(kind, targets_for(kind), groups, 4, 0)
    alone = np.array([f"alone{row}" if row % 2 == 0 else GROUPS[row] for row in range(200)])
    assert pd.Series(fold).groupby(alone).nunique().max() == 1
    assert min(np.bincount(fold[::2], minlength=4)) >= 10 and np.bincount(fold).min() > 25


def test_as_many_groups_as_folds_are_needed_and_those_without_count() -> None:
    groups = np.array(["a", "", "", "b"], dtype=object)
    assert sorted(make_folds("grouped", np.zeros(4, dtype=np.int64), groups, 4, 0)) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="5 folds from 4 groups"):
        make_folds("grouped", np.zeros(4, dtype=np.int64), groups, 5, 0)


@given(st.lists(st.tuples(st.sampled_from(["", "p", "q", "r"]), st.sampled_from("abcdefgh")), min_size=2, max_size=25))
def test_the_images_of_an_answer_share_a_group_with_all_of_its_groups(rows: list[tuple[str, str]]) -> None:
    """By brute force: what shares a group or an answer is together, along any chain, and nothing else."""
    answers = answer_groups([answer for _, answer in rows])
    if answers is None:
        return
    got = whole_answers(np.array([group for group, _ in rows], dtype=object), answers)
    near = np.array([[a == b or g == h != "" for h, b in rows] for g, a in rows])
    for _ in rows:
        near = near @ near
    assert ((got[:, None] == got) == near).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=12, max_size=60), st.integers(2, 4), st.integers(0, 3))
def test_no_group_is_ever_split(groups: list[int], n_folds: int, seed: int) -> None:
    names = np.array([f"g{group}" for group in groups])
    targets = np.zeros(len(groups), dtype=np.int64)
    if len(np.unique(names)) < n_folds:
        with pytest.raises(DataError, match="as many groups as folds"):
            make_folds("grouped", targets, names, n_folds, seed)
        return
    fold = make_folds("grouped", targets, names, n_folds, seed)
    assert set(fold) == set(range(n_folds))
    assert pd.Series(fold).groupby(names).nunique().max() == 1


@pytest.mark.parametrize(
    ("kind", "targets", "groups", "n_folds", "message"),
    [
        ("stratifed", CLASSES, None, 4, "unknown kind of folds 'stratifed': did you mean 'stratified'? Allowed: strat"),
        ("grouped", CLASSES, None, 4, "folds of kind 'grouped' need a group for every item; name the group column"),
        ("stratified", LABELS, None, 4, "need one class an item; use one of: multilabel, multilabel_grouped"),
        ("multilabel", CLASSES, None, 4, "need a label matrix; use one of: stratified, stratified_grouped"),
        ("stratified", CLASSES, None, 1, "1 folds from 200 items: at least 2 folds"),
        ("multilabel", LABELS, None, 201, "201 folds from 200 items: at least 2 folds and as many items as folds"),
        ("grouped", CLASSES, np.array(["a", "b"] * 100), 3, "3 folds from 2 groups: at least 2 folds and as many gro"),
        ("stratified", np.arange(200) % 60, None, 5, "5 stratified folds, but the largest class has 4 items; use"),
        ("stratified", np.zeros(0, dtype=int), None, 2, "2 folds from 0 items"),
    ],
)
def test_errors_say_what_is_allowed(kind, targets, groups, n_folds, message) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(kind, targets, groups, n_folds, 0)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def write_example(folder: Path) -> Path:
    path = folder / "folds.csv"
    table = pd.DataFrame({"label": ["é, \"x\"", "NA", "007"], "id": ["007", "null", "a b"], "fold": [0, 1, 0]})
    write_folds(path, table, {"kind": "stratified", "seed": 3})
    return path


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    table = read_folds(write_example(tmp_path))
    assert list(table.columns) == ["id", "fold", "label"]
    assert table["id"].tolist() == ["007", "null", "a b"]  # nothing becomes a number or NaN
    assert table["label"].tolist() == ["é, \"x\"", "NA", "007"]
    assert table["fold"].tolist() == [0, 1, 0] and table["fold"].dtype == np.int64
    note = json.loads((tmp_path / "folds.json").read_text())
    assert note["version"] == 1 and note["made_by"] == {"kind": "stratified", "seed": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folds.csv", "folds.json"]


def test_a_changed_table_is_refused_until_its_note_is_gone(tmp_path: Path) -> None:
    path = write_example(tmp_path)
    path.write_text(path.read_text().replace("null,1", "null,0"))
    with pytest.raises(DataError, match=r"folds.csv: changed since it was written; .* remove folds.json"):
        read_folds(path)
    (tmp_path / "folds.json").unlink()
    assert read_folds(path)["fold"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\na,1\n", "column 'fold' is missing, got: id, label"),
        ("fold\n1\n", "column 'id' is missing, got: fold"),
        ("id,fold\na,0\na,1\n", "id 'a' stands there more than once"),
        ("id,fold\na,0\nb,-1\n", "fold '-1' is not a number from 0 on"),
        ("id,fold\na,0\nb,\n", "fold '' is not a number from 0 on"),
        ("id,fold\na,0\nb,1.0\n", "fold '1.0' is not a number from 0 on"),
        ("id,fold\na,0\nb,99999999999999999999\n", "fold '99999999999999999999' is not a number from 0 on"),
        ("", "cannot read the folds"),
        ("id,fold\na,0\n\"b,1\n", "cannot read the folds"),
    ],
)
def test_tables_made_by_hand_are_checked(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_folds(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the folds .*; make them with `foldpack folds`"):
        read_folds(tmp_path / "folds.csv")


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("[]", "not a folds note; remove it or make the folds again"),
        ("{", "not a folds note"),
        ('{"version": 1}', "not a folds note"),
        ('{"version": 9, "sha256": ""}', "version 9, this foldpack reads version 1; update foldpack"),
    ],
)
def test_a_strange_note_is_refused(tmp_path: Path, note: str, message: str) -> None:
    path = write_example(tmp_path)
    (tmp_path / "folds.json").write_text(note)
    with pytest.raises(DataError, match=message):
        read_folds(path)
