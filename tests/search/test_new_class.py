"""The threshold of "in no class" is the best of all, and goes through the search to the files."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.ensemble.thresholds import with_new_score
from foldpack.errors import DataError
from foldpack.metrics.ranking import map_at_k
from foldpack.metrics.registry import get_metric
from foldpack.search.decide.decision import LabelRule
from foldpack.search.decide.new_class import best_new_class
from foldpack.search.files.arrays import ArraySearch, search_arrays
from foldpack.search.files.blend_files import blend_files
from foldpack.search.files.blend_spec import read_blend
from foldpack.search.find import SearchOptions
from foldpack.search.level2.fit import Level2Options
from foldpack.search.report.report import report_lines
from foldpack.settings.ensemble import write_spec

NEW = LabelRule(new_class=True)


def brute_force(table, y, k):
    """The best MAP@k with "in no class" put at each score, between them, and beyond, and at each last place."""
    values = np.unique(table[:, :-1])
    tried = np.concatenate([[values[0] - 1], values, (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    best = 0.0
    for threshold, last in product(tried, [*range(k), len(table[0])]):
        lists = []
        for row in table[:, :-1]:
            order = sorted(range(len(row)), key=lambda c, row=row: (-row[c], c))
            place = min(last, sum(row[c] >= threshold for c in order))
            lists.append([*order[:place], len(row), *order[place:]][:k])
        best = max(best, np.mean([1 / (one.index(t) + 1) if t in one else 0 for one, t in zip(lists, y, strict=True)]))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.sampled_from([1, 3, 5]), st.integers(1, 6))
def test_the_threshold_is_the_best_of_all(seed, classes, items, k, levels):
    """Few levels of score: many ties."""
    rng = np.random.default_rng(seed)
    table = (rng.integers(0, levels, (items, classes + 1)) / levels).astype(np.float32)
    y = rng.integers(0, classes + 1, items)
    best = best_new_class(table, y, k)
    assert best.score == pytest.approx(brute_force(table.astype(float), y, k), abs=1e-8)
    ranked = np.argsort(-with_new_score(table, best.threshold, best.rank), axis=1, kind="stable")[:, :k]
    assert map_at_k(y, ranked) == pytest.approx(best.score, abs=1e-12)  # what is applied scores what was promised


@pytest.mark.parametrize("rank", [None, 1, 2, 4])
def test_it_stands_where_its_score_says_and_at_its_rank_at_the_latest(rank):
    """Equal scores, too: others keep their order, all places are distinct."""
    table = np.random.default_rng(3).integers(0, 4, (200, 7)).astype(np.float32)
    ranked = np.argsort(-with_new_score(table, 1.5, rank), axis=1, kind="stable")
    for row, order in zip(table[:, :-1], ranked.tolist(), strict=True):
        others = sorted(range(6), key=lambda c, row=row: (-row[c], c))
        place = min(sum(score >= 1.5 for score in row), 6 if rank is None else rank - 1)
        assert order == [*others[:place], 6, *others[place:]]


def test_a_last_place_is_taken_only_where_it_is_better():
    """New items that look more known than known ones: behind the best class is a good place whatever comes after it."""
    scores = np.array([[0.95, 0.94, 0.93, 0.0], [0.9, 0.2, 0.1, 0.0], [0.9, 0.2, 0.1, 0.0]] * 5, dtype=np.float32)
    best = best_new_class(scores, np.array([3, 0, 0] * 5), 3)
    assert best.rank == 2 and best.score == pytest.approx(5 / 6)
    assert best_new_class(scores, np.array([0, 0, 0] * 5), 3).rank is None


def whales(folder, seed=0, items=400, classes=20):
    """Two members; a third of the items shows a whale that no class knows."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(items) < 0.33, -1, rng.integers(0, classes, items))
    paths = []
    for name in "ab":
        scores = rng.normal(0, 1, (items, classes)) + 4 * (y[:, None] == np.arange(classes))
        paths.append(folder / f"{name}.npy")
        np.save(paths[-1], np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    np.save(folder / "y.npy", y)
    return paths, y


def test_the_search_fits_it_and_the_yaml_applies_it(tmp_path):
    paths, y = whales(tmp_path)
    map5 = get_metric("map5")
    asked = ArraySearch(paths, tmp_path / "y.npy", map5, options=SearchOptions(rule=NEW))
    spec, numbers = search_arrays(tmp_path / "best.yml", asked)
    write_spec(tmp_path / "best.yml", spec)
    assert read_blend(tmp_path / "best.yml") == spec and 0 < spec.last.decision.none_score < 1
    used = [tmp_path / f"{member.name}.npy" for member in spec.last.files.members]
    assert blend_files(tmp_path / "best.yml", used, tmp_path / "out.npy", tmp_path / "lists.npy") == (400, 21)
    lists = np.load(tmp_path / "lists.npy")
    assert lists.shape == (400, 5) and (lists == -1).sum(axis=1).max() == 1
    score = map_at_k(np.where(y == -1, 99, y), np.where(lists == -1, 99, lists))
    assert score == pytest.approx(spec.metric.oof, abs=1e-6)
    assert numbers["scores"]["nested"] == pytest.approx(spec.metric.oof, abs=0.05)
    assert f"'in no class' scores {spec.last.decision.none_score:.4f}" in "\n".join(report_lines(numbers))
    always_last = map5(np.where(y == -1, 20, y), with_new_score(np.load(tmp_path / "out.npy"), -1.0))
    assert spec.metric.oof > always_last + 0.1


def test_where_it_makes_no_sense_it_is_refused(tmp_path):
    paths, y = whales(tmp_path)
    with pytest.raises(DataError, match="ranks classes for a metric like map5; it does not fit 'accuracy'"):
        search_arrays(tmp_path / "e.yml", ArraySearch(paths, tmp_path / "y.npy", get_metric("accuracy"),
                                                      options=SearchOptions(rule=NEW)))
    asked = ArraySearch(paths, tmp_path / "y.npy", get_metric("map5"), options=SearchOptions(rule=NEW))
    with pytest.raises(DataError, match="leave out --level2 or --new-class"):
        search_arrays(tmp_path / "e.yml", ArraySearch(**{**vars(asked), "level2": Level2Options()}))
    np.save(tmp_path / "y.npy", np.abs(y))
    with pytest.raises(DataError, match="no label is -1"):
        search_arrays(tmp_path / "e.yml", asked)
