"""Tuning of level 2: kept, taken up again, refused on other data, and blind to the fold that it is scored on."""

import numpy as np
import optuna
import pytest
from test_level2 import fit, specialists

from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search.level2.fit import Level2Options
from foldpack.search.level2.tuning import RANGES, Tuning
from foldpack.search.studies import open_storage

FIXED = {"lightgbm": {"num_leaves": 7}, "xgboost": {"max_depth": 3}}
ACCURACY = get_metric("accuracy")


def tuned(trials, study, seed=1, labels=None, settings=FIXED, name="best"):
    probs, y = specialists(seed, items=150)
    options = Level2Options(settings=settings, tuning=Tuning(trials, study, name))
    y = y if labels is None else labels(y)
    return fit(probs, probs.mean(axis=0), y, np.arange(len(y)) % 3, ACCURACY, options)


@pytest.mark.parametrize("ending", ["db", "journal"])
def test_a_study_is_kept_and_taken_up_where_it_stopped(tmp_path, ending):
    study = str(tmp_path / "new" / f"trials.{ending}")
    for trials in (1, 3):
        found = tuned(trials, study)
    storage = open_storage(study)
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == sorted(f"best/{kind}/fold{k}" for kind in FIXED for k in range(3))
    kept = optuna.load_study(study_name="best/lightgbm/fold0", storage=storage)
    assert len(kept.trials) == 3  # one, and two more: not one and three
    assert kept.trials[0].params["learning_rate"] == 0.05  # the usual settings first
    assert "num_leaves" not in kept.trials[2].params and set(kept.trials[2].params) < set(RANGES["lightgbm"])
    assert kept.best_value <= kept.trials[0].value
    again = tuned(3, study)  # nothing left to try: the same boosters
    assert [one.text for one in again.boosters] == [one.text for one in found.boosters]


def test_a_database_url_is_a_study_too(tmp_path):
    tuned(1, f"sqlite:///{tmp_path / 'shared.db'}")
    assert len(optuna.get_all_study_names(open_storage(str(tmp_path / "shared.db")))) == 6


def test_a_study_of_other_data_or_a_strange_file_is_refused(tmp_path):
    study = str(tmp_path / "trials.journal")
    tuned(1, study)
    for change in ({"seed": 2}, {"settings": {}}):
        with pytest.raises(DataError, match="'best/lightgbm/fold0' was made on other predictions, labels, folds or"):
            tuned(1, study, **change)
    tuned(1, study, seed=2, name="other")  # another ensemble in the same file
    with pytest.raises(DataError, match=r"--study x.txt: not a URL, and the file's ending is none of .db, .sqlite"):
        tuned(1, "x.txt")


def test_tuning_never_sees_the_fold_that_it_is_scored_on(monkeypatch):
    """With every label of fold 0 turned over, settings and boosters of fold 0 stay what they were; others change."""
    monkeypatch.setattr("test_level2.class_prior", lambda targets, classes: np.full(classes, 0.1, np.float32))
    found = [tuned(3, None), tuned(3, None, labels=lambda y: np.where(np.arange(len(y)) % 3 == 0, (y + 1) % 8, y))]
    texts = [{(one.kind, one.fold): one.text for one in each.boosters} for each in found]
    for kind in FIXED:
        assert texts[0][kind, 0] == texts[1][kind, 0]
        assert texts[0][kind, 1] != texts[1][kind, 1]
