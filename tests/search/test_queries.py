"""Out-of-fold queries weighed as the test set asks: against queries that are drawn so, and through the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from retrieving import pictures, write_run

from foldpack.competitions.adapters import get_competition
from foldpack.data.runs import read_run
from foldpack.ensemble.thresholds import with_new_score
from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search import runs as runs_module
from foldpack.search.decide.new_class import best_new_class
from foldpack.search.decide.queries import queries_of, query_weights, run_weights, weighted_score
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.label_kinds import QueriesConfig

MAP3, MAP5 = get_metric("map3"), get_metric("map5")
CHANCE = np.random.default_rng(4)
SIZES = [24, 12, 6, 3, 3]  # of the identities; the last class is none of them, 12 items
TRUTH = np.repeat(np.arange(6), [*SIZES, 12])
TABLE = (CHANCE.random((60, 6)) + 0.4 * (TRUTH[:, None] == np.arange(6))).astype(np.float32)


def repeated(queries: QueriesConfig) -> np.ndarray:
    """Rows, some several times: a test set that is as `queries` says, with the same answers."""
    times = np.ones(60, dtype=int)
    if queries.identities == "alike":
        times = 24 // np.array([*SIZES, 24])[TRUTH]
    if queries.none is not None:
        known = times[TRUTH < 5].sum()
        each = queries.none / (1 - queries.none) * known / 12
        scale = next(n for n in range(1, 100) if abs(each * n - round(each * n)) < 1e-9)
        times = np.where(TRUTH < 5, times * scale, round(each * scale))
    elif queries.identities == "alike":  # the share of the unknown stays 1 in 5
        times = np.where(TRUTH < 5, times, times[TRUTH < 5].sum() // 48) if times[TRUTH < 5].sum() % 48 == 0 else \
            np.where(TRUTH < 5, times * 2, times[TRUTH < 5].sum() * 2 // 48)
    return np.repeat(np.arange(60), times)


@pytest.mark.parametrize("queries", [
    QueriesConfig(none=0.5), QueriesConfig(none=0.04), QueriesConfig(identities="alike"),
    QueriesConfig(none=0.25, identities="alike")])
def test_weights_score_and_choose_as_a_test_set_of_such_queries_would(queries: QueriesConfig) -> None:
    weights = query_weights(TRUTH, 5, queries)
    assert weights is not None and weights.mean() == pytest.approx(1)
    rows = repeated(queries)
    best = best_new_class(TABLE, TRUTH, 3, weights)
    drawn = best_new_class(TABLE[rows], TRUTH[rows], 3)
    assert (best.threshold, best.rank) == (drawn.threshold, drawn.rank)
    assert best.score == pytest.approx(drawn.score, abs=1e-9)
    table = with_new_score(TABLE, best.threshold, best.rank)
    assert weighted_score(MAP3, TRUTH, table, weights) == pytest.approx(best.score, abs=1e-9)
    assert weighted_score(MAP3, TRUTH, TABLE, weights) == pytest.approx(MAP3(TRUTH[rows], TABLE[rows]), abs=1e-9)


def test_without_a_word_all_queries_count_alike() -> None:
    assert query_weights(TRUTH, 5, QueriesConfig()) is None
    assert weighted_score(MAP3, TRUTH, TABLE, None) == MAP3(TRUTH, TABLE)
    assert best_new_class(TABLE, TRUTH, 3, np.ones(60)) == best_new_class(TABLE, TRUTH, 3)


def test_a_share_that_cannot_be_met_stays() -> None:
    known, unknown = TRUTH[TRUTH < 5], TRUTH[TRUTH == 5]
    for part in (known, unknown):
        weights = query_weights(part, 5, QueriesConfig(none=0.5))
        assert weights is not None and (weights == 1).all()
    alike = query_weights(known, None, QueriesConfig(identities="alike"))
    assert alike is not None
    np.testing.assert_allclose([alike[known == k].sum() for k in range(5)], 48 / 5)


def asking(queries: dict) -> object:
    """The digits as identities, of which the test set is told to ask so."""
    competition = get_competition("digits-retrieval")
    told = competition.config.model_dump(mode="json")
    config = CompetitionConfig.model_validate({**told, "labels": {**told["labels"], "queries": queries}})
    return type(competition)(**{**vars(competition), "config": config})


def test_the_search_takes_the_threshold_that_suits_the_test_set(tmp_path: Path, monkeypatch) -> None:
    vectors, y = pictures(6, 1.3, new=24)  # of 120
    run = write_run(tmp_path, "a", vectors, y)
    found = {}
    for share in (None, 0.05, 0.7):
        competition = asking({} if share is None else {"none": share})
        monkeypatch.setattr(runs_module, "find_adapter", lambda name, competition=competition: competition)
        spec, numbers = search_runs("best", [run], RunSearch(retrieval=share == 0.7))
        found[share] = spec.last.decision.none_score, spec.metric.oof
        assert any("scores weigh the queries as" in note for note in numbers["notes"]) == (share is not None)
    assert found[0.05][0] < found[None][0] < found[0.7][0]  # more new ones: a higher score to be known
    assert len({score for _, score in found.values()}) == 3
    with pytest.raises(DataError, match="labels.queries weigh a mean average precision, and the metric is 'top5_acc"):
        run_weights(y, read_run(run).meta, asking({"identities": "alike"}), get_metric("top5_accuracy"))


def test_only_a_competition_file_tells_of_queries() -> None:
    assert queries_of(asking({"none": 0.3})) == QueriesConfig(none=0.3)  # type: ignore[arg-type]
    assert queries_of(get_competition("digits")) == QueriesConfig()
