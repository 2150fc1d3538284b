"""The whole search on arrays."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.find import SearchOptions, find_ensemble, members_within, rounded
from foldpack.search.hours.cost import Machine, MemberCost
from foldpack.search.weights import selection
from foldpack.search.weights.solvers import Blend, Solver

RNG = np.random.default_rng(71)
LABELS = RNG.random((250, 6)) < 0.15
PROBS = np.array([1 / (1 + np.exp(-(2.5 * LABELS - 2 + RNG.normal(0, s, LABELS.shape)))) for s in (1, 1.1, 1.2, 4)])
FOLDS = np.arange(250) % 4
COSTS = [MemberCost(0.02 * (k + 1), 5, 2) for k in range(4)]


def search(**options):
    return find_ensemble(dense_cells(PROBS, LABELS), get_metric("f2"), FOLDS, SearchOptions(**options))


def test_the_search_finds_a_blend_with_all_its_numbers():
    found = search()
    assert found.score >= found.uniform_score > found.single_scores.max()
    assert found.choice.mean > found.choice.uniform - 0.01
    assert found.blend.weights.sum() == pytest.approx(1, abs=1e-5)
    assert 3 not in found.used or found.blend.weights[3] < 0.2
    assert found.correlation.shape == (4, 4)
    assert found.uncertainty.inclusion[:3].min() > 0.9
    assert found.front == [] and found.plan == []


def test_a_time_limit_leaves_out_what_does_not_fit_and_makes_a_plan():
    free = search(costs=COSTS, machine=Machine(40_000))
    limit = free.hours.sum() / 2
    tight = search(costs=COSTS, machine=Machine(40_000), limit_hours=limit)
    assert tight.hours[tight.used].sum() <= limit
    assert [entry.point for entry in free.front] == [entry.point for entry in tight.front]
    assert tight.score <= free.score + 0.01
    assert {unit.member for unit in tight.plan} == set(tight.used.tolist())
    assert tight.plan[-1].hours == pytest.approx(tight.hours[tight.used].sum())
    last = tight.prefixes[-1]
    assert sorted(last.members) == tight.used.tolist()
    assert last.blend.weights == pytest.approx(tight.blend.weights[last.members])
    assert last.score == pytest.approx(tight.score, abs=1e-6)


def test_the_result_is_the_same_for_any_number_of_threads():
    results = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            results.append(search(costs=COSTS, machine=Machine(40_000)))
    one, two = results
    assert (one.blend.weights == two.blend.weights).all() and one.decision == two.decision
    assert one.score == two.score and (one.choice.per_fold == two.choice.per_fold).all()
    assert one.plan == two.plan


def test_one_fold_gives_equal_weights_and_no_nested_score():
    found = find_ensemble(dense_cells(PROBS, LABELS), get_metric("f2"), np.zeros(250, int))
    assert found.choice is None
    assert found.blend.weights == pytest.approx(np.full(4, 0.25))


def test_an_interrupt_keeps_the_best_found_so_far(monkeypatch):
    finished = []

    class Interrupted(selection._Scorer):
        def gains(self, fold, left_out):
            if len(finished) == 4:
                raise KeyboardInterrupt
            finished.append(left_out)
            return super().gains(fold, left_out)

    monkeypatch.setattr(selection, "_Scorer", Interrupted)
    found = search()
    assert np.isnan(found.choice.mean)
    assert found.score >= found.uniform_score - 0.01


def test_tiny_weights_are_left_out_and_the_rest_rounded():
    blend = rounded(Blend(Solver("probability", "certified"), np.array([0.5, 0.4989999, 0.0010001]), 1.23456789))
    assert blend.weights.tolist() == [0.500501, 0.499499, 0.0]
    assert blend.scale == 1.234568


def test_of_very_many_equal_members_none_is_left_out():
    rng = np.random.default_rng(5)
    y = rng.random(60) < 0.5
    probs = np.clip(0.5 + 0.1 * (y - 0.5) + rng.normal(0, 0.2, (501, 60)), 0, 1).astype(np.float32)
    options = SearchOptions(spaces=["probability"])
    found = find_ensemble(dense_cells(probs, y), get_metric("log_loss"), np.zeros(60, int), options)
    assert np.isfinite(found.score) and found.blend.weights.sum() == pytest.approx(1, abs=1e-3)
    equal = rounded(Blend(Solver("probability", "certified"), np.full(501, 1 / 501)))
    assert (equal.weights == round(1 / 501, 6)).all()
    uneven = rounded(Blend(Solver("probability", "certified"), np.append(np.full(500, 0.9 / 500), 0.1)))
    assert uneven.weights.tolist() == [0.0018] * 500 + [0.1]  # together they have nine tenths


def noise(seed, members=13, items=200):
    rng = np.random.default_rng(seed)
    return dense_cells(rng.random((members, items), dtype=np.float32), rng.random(items) < 0.5)


def limited(members, kept):
    """Options under which `kept` of the members, all of one cost, fit into the time."""
    costs = [MemberCost(0.01, 1, 1, 0.0)] * members
    machine = Machine(36_000, start_seconds=0.0)
    return SearchOptions(costs=costs, machine=machine, limit_hours=0.1 * kept + 0.01, spaces=["probability"])


def test_members_chosen_for_a_time_limit_do_not_flatter_the_nested_score():
    """The best 2 of 13 members of pure noise look good on the rows that chose them, and only there."""
    auc, nested, inside = get_metric("auc"), [], []
    for seed in range(6):
        found = find_ensemble(noise(seed), auc, np.arange(200) % 3, limited(13, 2))
        assert 1 <= len(found.used) <= 2
        nested.append(found.choice.mean)
        inside.append(found.score)
    assert np.mean(inside) > 0.55 and abs(np.mean(nested) - 0.5) < 0.03


def test_the_choice_of_members_never_sees_the_scored_fold(monkeypatch):
    seen = []

    def recorded(problem, hours, limit, rows):
        seen.append(rows)
        return members_within(problem, hours, limit, rows)

    monkeypatch.setattr("foldpack.search.find.members_within", recorded)
    folds = np.arange(200) % 3
    find_ensemble(noise(1, 6), get_metric("auc"), folds, limited(6, 2))
    left_out = [sorted(set(folds.tolist()) - set(folds[rows].tolist())) for rows in seen]
    assert all(set(folds[rows].tolist()).isdisjoint(out) for rows, out in zip(seen, left_out, strict=True))
    assert [out for out in left_out if out] == [[0], [1], [2], [0, 1], [0, 2], [1, 2]]
