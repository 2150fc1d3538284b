"""Folds: how training items are split, and the reader and writer of `folds.csv`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from foldpack.data.answer_groups import AnswerGroups
from foldpack.errors import DataError, did_you_mean
from foldpack.files import atomic_path, failure_words, sha256_file, write_atomic

FOLDS_VERSION = 1


def shuffled_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Folds of equally many items, whatever their labels: for values. `groups` is not used."""
    return _fold_of_row(KFold(n_folds, shuffle=True, random_state=seed).split(targets), len(targets))


def stratified_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Single-label classes in equal shares. targets: (n,) int64. Returns (n,) int64; `groups` is not used."""
    _check_largest_class(targets, n_folds)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # such as whales seen twice
        return _fold_of_row(splitter.split(np.zeros(len(targets)), targets), len(targets))


def multilabel_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Many labels an item in equal shares, iteratively (Sechidis 2011). targets: (n, C) bool."""
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    return _fold_of_row(splitter.split(np.zeros(len(targets)), targets.astype(int)), len(targets))


def grouped_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """All items of a group in one fold, folds of equally many groups. groups: (n,) of anything hashable."""
    splitter = GroupKFold(n_folds, shuffle=True, random_state=seed)
    return _fold_of_row(splitter.split(np.zeros(len(groups)), targets[:, 0] if targets.ndim > 1 else targets, groups),
                        len(groups))


def stratified_grouped_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Groups stay whole and classes are balanced. targets: (n,) int64."""
    _check_largest_class(targets, n_folds)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return _fold_of_row(splitter.split(np.zeros(len(targets)), targets, groups), len(targets))


def multilabel_grouped_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Groups stay whole; a group carries the union of its items' labels, and these are balanced. targets: (n, C)."""
    names, index = np.unique(groups, return_inverse=True)
    of_group = np.zeros((len(names), targets.shape[1]), dtype=bool)
    np.logical_or.at(of_group, index, targets.astype(bool))
    return multilabel_folds(of_group, names, n_folds, seed)[index]


def own_groups(groups: np.ndarray) -> np.ndarray:
    """Groups in which an item without one (None, NaN, NaT or blank text) is a group of its own.

    groups: (n,) of anything. Returns them as they are when none is missing, else (n,) int64 from 0.
    """
    missing = missing_groups(groups)
    if not missing.any():
        return groups
    number = np.full(len(groups), -1, dtype=np.int64)
    named = np.array([str(group) for group in groups[~missing]], dtype=str)
    names, number[~missing] = np.unique(named, return_inverse=True)
    number[missing] = len(names) + np.arange(int(missing.sum()))
    return number


def whole_answers(groups: np.ndarray, answers: AnswerGroups) -> np.ndarray:
    """Groups in which the images of an answer are together, too: what shares either is chained.

    groups: (n,) of anything, as `own_groups` takes them. Returns (n,) int64 from 0.
    """
    group = np.unique(own_groups(groups), return_inverse=True)[1]
    answer = np.empty(len(group), dtype=np.int64)
    answer[answers.order] = np.repeat(np.arange(len(answers)), np.diff(answers.starts)) + group.max() + 1
    size = int(answer.max()) + 1
    edges = coo_array((np.ones(len(group), dtype=bool), (group, answer)), (size, size))
    return connected_components(edges, directed=False)[1][group].astype(np.int64)


def only_here(targets: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n,) bool: whether no other fold has an item of the same class. targets, fold: (n,) int64."""
    pairs = np.unique(np.stack([targets, fold], axis=1), axis=0)
    classes, folds = np.unique(pairs[:, 0], return_counts=True)
    return folds[np.searchsorted(classes, targets)] == 1


def held_out_groups(targets: np.ndarray, groups: np.ndarray, share: float, none: int | None, seed: int) -> np.ndarray:
    """Groups in which all items of some identities, drawn by chance, are together: so each of these lies in one fold,
    and is unknown to the networks that predict it.

    targets: (n,) int64; groups: (n,) of anything; share: of the identities, 0 to 1; none: the class of items that are
    like no other, which is no identity. Returns (n,) int64 from 0; groups that share such an identity are chained.
    """
    identities = np.setdiff1d(targets, [] if none is None else [none])
    drawn = np.random.default_rng(seed).permutation(identities)[: round(share * len(identities))]
    group = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    held = np.isin(targets, drawn)
    size = int(group.max()) + 1 + int(targets.max()) + 1
    edges = coo_array((np.ones(int(held.sum()), dtype=bool), (group[held], group.max() + 1 + targets[held])),
                      (size, size))
    return connected_components(edges, directed=False)[1][group].astype(np.int64)


def missing_groups(groups: np.ndarray) -> np.ndarray:
    """(n,) bool: which items have no group. groups: (n,) of anything."""
    return np.array([not group.strip() if isinstance(group, str) else bool(pd.isna(group)) for group in groups], bool)


FOLD_KINDS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "stratified": stratified_folds,
    "shuffled": shuffled_folds,
    "multilabel": multilabel_folds,
    "grouped": grouped_folds,
    "stratified_grouped": stratified_grouped_folds,
    "multilabel_grouped": multilabel_grouped_folds,
    "open_set": stratified_grouped_folds,  # of the groups of `held_out_groups`
}
GROUPED_KINDS = ("grouped", "stratified_grouped", "multilabel_grouped")
# What a kind becomes where the competition itself says which items belong together.
GROUPED_TWINS = {"stratified": "stratified_grouped", "shuffled": "grouped", "multilabel": "multilabel_grouped"}
SINGLE_LABEL_KINDS = ("stratified", "stratified_grouped", "open_set")
MULTI_LABEL_KINDS = ("multilabel", "multilabel_grouped")


def make_folds(kind: str, targets: np.ndarray, groups: np.ndarray | None, n_folds: int, seed: int,
               held_out: float | None = None, none: int | None = None) -> np.ndarray:
    """Fold of every item, (n,) int64 in [0, n_folds).

    targets: (n,) int64 class indices, (n, C) bool, or (n, T) float values. groups: (n,), needed by the grouped kinds;
    an item without a group is one of its own. held_out, none: of `open_set`, as `held_out_groups` takes them.
    Raises DataError for an unknown kind, missing groups, targets of the wrong shape, or too few items.
    """
    if kind not in FOLD_KINDS:
        raise DataError(f"unknown kind of folds '{kind}': {did_you_mean(kind, list(FOLD_KINDS))}")
    if (kind == "open_set") != (held_out is not None):
        raise DataError("folds of kind 'open_set' need held_out, the share of identities that lie in one fold each, "
                        "such as 0.2" if held_out is None else
                        f"folds of kind '{kind}' do not read held_out; it is read by open_set")
    if kind in GROUPED_KINDS and groups is None:
        raise DataError(f"folds of kind '{kind}' need a group for every item; name the group column, or a file of "
                        "groups")
    if kind in SINGLE_LABEL_KINDS + MULTI_LABEL_KINDS and targets.dtype.kind == "f":
        raise DataError(f"folds of kind '{kind}' balance classes, and the labels are numbers; use one of: shuffled, "
                        "grouped")
    if kind in SINGLE_LABEL_KINDS and targets.ndim != 1:
        raise DataError(f"folds of kind '{kind}' need one class an item; use one of: {', '.join(MULTI_LABEL_KINDS)}")
    if kind in MULTI_LABEL_KINDS and targets.ndim != 2:
        raise DataError(f"folds of kind '{kind}' need a label matrix; use one of: {', '.join(SINGLE_LABEL_KINDS)}")
    filled = np.arange(len(targets)) if groups is None else own_groups(np.asarray(groups))
    count, unit = (len(np.unique(filled)), "groups") if kind in GROUPED_KINDS else (len(targets), "items")
    if held_out is not None:
        filled = held_out_groups(targets, filled, held_out, none, seed)
    if n_folds < 2 or count < n_folds:
        raise DataError(f"{n_folds} folds from {count} {unit}: at least 2 folds and as many {unit} as folds are needed")
    return FOLD_KINDS[kind](targets, filled, n_folds, seed)


def write_folds(path: Path, table: pd.DataFrame, made_by: dict[str, object]) -> None:
    """Write `folds.csv` (first columns `id,fold`, then the rest) and `folds.json` beside it.

    The JSON holds the format's version, the CSV's SHA-256 and `made_by`: kind, seed and whatever explains the split.
    """
    columns = ["id", "fold", *[name for name in table.columns if name not in ("id", "fold")]]
    with atomic_path(path) as temporary:
        table[columns].to_csv(temporary, index=False, lineterminator="\n")
    note = {"version": FOLDS_VERSION, "sha256": sha256_file(path), "made_by": made_by}
    write_atomic(path.with_suffix(".json"), json.dumps(note, indent=1, sort_keys=True) + "\n")


def read_folds(path: Path) -> pd.DataFrame:
    """Read `folds.csv`: `id` str, `fold` int64 >= 0, other columns as str. A table made by hand needs no JSON.

    Raises DataError for a missing file or column, a repeated id, or a fold that is not a number from 0.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as failure:
        raise DataError(f"{path}: cannot read the folds ({failure_words(failure)}); make them with "
                        "`foldpack folds`; a recipe makes its own") from None
    missing = [name for name in ("id", "fold") if name not in table.columns]
    if missing:
        raise DataError(f"{path}: column '{missing[0]}' is missing, got: {', '.join(table.columns)}")
    if repeated := table["id"][table["id"].duplicated()].tolist():
        raise DataError(f"{path}: id '{repeated[0]}' stands there more than once; every item has one fold")
    sound = table["fold"].str.fullmatch("[0-9]{1,9}")
    if not sound.all():
        wrong = table["fold"][~sound].iloc[0]
        raise DataError(f"{path}: fold '{wrong}' is not a number from 0 on")
    _check_note(path)
    return table.assign(fold=table["fold"].astype(np.int64))


def _check_note(path: Path) -> None:
    note_path = path.with_suffix(".json")
    if not note_path.exists():
        return
    try:
        note = json.loads(note_path.read_text(encoding="utf-8"))
        version, digest = note["version"], note["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{note_path}: not a folds note; remove it or make the folds again") from None
    if version != FOLDS_VERSION:
        raise DataError(f"{note_path}: version {version}, this foldpack reads version {FOLDS_VERSION}; update foldpack")
    if digest != sha256_file(path):
        raise DataError(f"{path}: changed since it was written; make the folds again, or remove {note_path.name}")


def _fold_of_row(splits, n_rows: int) -> np.ndarray:
    fold = np.full(n_rows, -1, dtype=np.int64)
    for k, (_, rows) in enumerate(splits):
        fold[rows] = k
    return fold


def _check_largest_class(targets: np.ndarray, n_folds: int) -> None:
    largest = int(np.bincount(targets).max()) if len(targets) else 0
    if largest < n_folds:
        raise DataError(f"{n_folds} stratified folds, but the largest class has {largest} items; use fewer folds")
