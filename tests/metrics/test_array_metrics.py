"""Every array metric equals an independent implementation: scikit-learn, or a loop written from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from foldpack.errors import FoldpackError
from foldpack.metrics.ranking import map_at_k, multi_map_at_k, recall_at_k
from foldpack.metrics.registry import METRICS, get_metric
from foldpack.metrics.regression import pinball

RNG = np.random.default_rng(7)
CLASSES = RNG.integers(0, 6, 400)
PROBS = RNG.dirichlet(np.ones(6), 400) * 0.7 + 0.3 * np.eye(6)[CLASSES] * RNG.random((400, 1))
PROBS /= PROBS.sum(axis=1, keepdims=True)
LABELS = RNG.random((300, 9)) < 0.2
SCORES = np.round(RNG.random((300, 9)) * 0.7 + 0.3 * LABELS, 2)  # rounded, so that ties are there
DECIDED = SCORES > 0.4
VALUES, GUESSES = RNG.normal(size=200), RNG.normal(size=200)
GRADES, GIVEN = RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)

CASES = [
    ("accuracy", CLASSES, PROBS, sk.accuracy_score(CLASSES, PROBS.argmax(1))),
    ("top5_accuracy", CLASSES, PROBS, sk.top_k_accuracy_score(CLASSES, PROBS, k=5)),
    ("log_loss", CLASSES, PROBS, sk.log_loss(CLASSES, PROBS)),
    ("log_loss", LABELS, SCORES * 0.98 + 0.01,
     np.mean([sk.log_loss(LABELS[:, c], SCORES[:, c] * 0.98 + 0.01) for c in range(9)])),
    ("macro_f1", CLASSES, PROBS, sk.f1_score(CLASSES, PROBS.argmax(1), average="macro")),
    ("micro_f1", CLASSES, PROBS, sk.f1_score(CLASSES, PROBS.argmax(1), average="micro")),
    ("error", CLASSES, PROBS, sk.zero_one_loss(CLASSES, PROBS.argmax(1))),
    ("auc", LABELS[:, 0], SCORES[:, 0], sk.roc_auc_score(LABELS[:, 0], SCORES[:, 0])),
    ("auc", LABELS, SCORES, sk.roc_auc_score(LABELS, SCORES)),
    ("auc", CLASSES, PROBS, sk.roc_auc_score(CLASSES, PROBS, multi_class="ovr")),
    ("average_precision", LABELS, SCORES, sk.average_precision_score(LABELS, SCORES)),
    ("qwk", GRADES, GIVEN, sk.cohen_kappa_score(GRADES, GIVEN, weights="quadratic")),
    ("rmse", VALUES, GUESSES, sk.root_mean_squared_error(VALUES, GUESSES)),
    ("mae", VALUES, GUESSES, sk.mean_absolute_error(VALUES, GUESSES)),
    ("pinball", VALUES, GUESSES, sk.mean_pinball_loss(VALUES, GUESSES)),
    ("map1", CLASSES, PROBS, sk.accuracy_score(CLASSES, PROBS.argmax(1))),
    ("recall5", CLASSES, PROBS, sk.top_k_accuracy_score(CLASSES, PROBS, k=5)),
    ("recall1", CLASSES, PROBS, sk.accuracy_score(CLASSES, PROBS.argmax(1))),
] + [
    (f"f{beta}{tail}", LABELS, DECIDED, sk.fbeta_score(LABELS, DECIDED, beta=beta, average=average, zero_division=0))
    for beta in (1, 2)
    for tail, average in (("", "samples"), ("_micro", "micro"), ("_macro", "macro"))
]


@pytest.mark.parametrize(("name", "y", "p", "expected"), CASES)
def test_metric_equals_scikit_learn(name, y, p, expected):
    assert get_metric(name)(y, p) == pytest.approx(expected, abs=1e-12)


def test_map_at_k_equals_the_loop_of_the_definition():
    ranked = np.array([RNG.permutation(6)[:5] for _ in CLASSES])
    ranked[::7, 3:] = -1
    total = 0.0
    for true, places in zip(CLASSES, ranked, strict=True):
        total += next((1 / (place + 1) for place, guess in enumerate(places) if guess == true), 0.0)
    assert map_at_k(CLASSES, ranked) == pytest.approx(total / len(CLASSES))
    for k in (1, 3, 5, 10):
        top = np.argsort(-PROBS, axis=1)[:, :k]
        assert get_metric(f"map{k}")(CLASSES, PROBS) == pytest.approx(map_at_k(CLASSES, top))
    assert get_metric("recall10")(CLASSES, PROBS) == 1.0


def test_map_with_many_right_answers_equals_the_loop():
    ranked = np.argsort(-SCORES, axis=1, kind="stable")[:, :5]
    total = 0.0
    for right, places in zip(LABELS, ranked, strict=True):
        hits, precision = 0, 0.0
        for place, guess in enumerate(places):
            if right[guess]:
                hits += 1
                precision += hits / (place + 1)
        total += precision / max(1, min(int(right.sum()), 5))
    assert multi_map_at_k(LABELS, ranked) == pytest.approx(total / len(LABELS))
    assert get_metric("map5")(LABELS, SCORES) == pytest.approx(total / len(LABELS))


def test_pinball_follows_its_quantile():
    assert pinball(VALUES, GUESSES, 0.9) == pytest.approx(sk.mean_pinball_loss(VALUES, GUESSES, alpha=0.9))


def test_an_auc_of_one_class_only_is_not_a_number():
    assert np.isnan(get_metric("auc")(np.ones(5, bool), np.arange(5.0)))
    assert np.isnan(get_metric("average_precision")(np.zeros(5, bool), np.arange(5.0)))


def test_constant_equal_grades_have_no_kappa():
    assert get_metric("qwk")(np.ones(4, int), np.ones(4, int)) == 0.0


def test_a_loss_gains_by_falling():
    assert get_metric("rmse").gain(VALUES, GUESSES) == -get_metric("rmse")(VALUES, GUESSES)
    assert get_metric("auc").gain(LABELS, SCORES) == get_metric("auc")(LABELS, SCORES)


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(FoldpackError, match="metric 'log_los' is not known: did you mean 'log_loss'. Allowed: acc"):
        get_metric("log_los")


def test_every_registered_name_is_the_name_of_its_metric():
    assert all(name == metric.name for name, metric in METRICS.items())


def apk(right: set[int], guesses: list[int], k: int) -> float:
    """Average precision of one list as Kaggle's script has it: cut at k, a repeated guess counts once."""
    hits, score = 0, 0.0
    for place, guess in enumerate(guesses[:k]):
        if guess in right and guess not in guesses[:place]:
            hits += 1
            score += hits / (place + 1)
    return score / min(len(right), k) if right else 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 12), st.integers(1, 7))
def test_map_at_k_is_kaggles_for_long_short_repeating_and_empty_lists(seed, classes, places, k):
    rng = np.random.default_rng(seed)
    ranked, relevant = rng.integers(-1, classes, (20, places)), rng.random((20, classes)) < 0.3
    expected = [apk(set(np.flatnonzero(right)), guesses.tolist(), k)
                for right, guesses in zip(relevant, ranked, strict=True)]
    assert multi_map_at_k(relevant, ranked, k) == pytest.approx(np.mean(expected))
    y = rng.integers(0, classes, 20)
    expected = [apk({true}, guesses.tolist(), k) for true, guesses in zip(y, ranked, strict=True)]
    assert map_at_k(y, ranked, k) == pytest.approx(np.mean(expected))
    assert recall_at_k(y, ranked, k) == np.mean([true in row[:k] for true, row in zip(y, ranked, strict=True)])


def test_a_list_that_is_longer_than_k_is_cut():
    ranked = np.array([[0, 1, 2, 3, 4, 5]])
    assert map_at_k(np.array([5]), ranked, 5) == recall_at_k(np.array([5]), ranked, 5) == 0.0
    assert multi_map_at_k(np.eye(6, dtype=bool)[[5]], ranked, 5) == 0.0
    assert map_at_k(np.array([5]), ranked) == pytest.approx(1 / 6)


def test_an_empty_place_is_never_right():
    assert map_at_k(np.array([-1, -1]), np.array([[0, -1], [-1, -1]])) == 0.0
    assert recall_at_k(np.array([-1]), np.array([[0, -1]])) == 0.0
    assert multi_map_at_k(np.array([[False, True]]), np.array([[-1, -1]])) == 0.0


def test_short_lists_are_measured_against_k():
    """Four right answers and two guesses, both right: 2 of the 4 that were asked for."""
    assert multi_map_at_k(np.ones((1, 4), dtype=bool), np.array([[0, 1]]), 5) == 0.5


def test_a_class_without_items_is_left_out_or_costs_nothing():
    few, probs = CLASSES % 5, PROBS  # class 5 never occurs
    assert get_metric("log_loss")(few, probs) == pytest.approx(sk.log_loss(few, probs, labels=range(6)))
    defined = [sk.roc_auc_score(few == c, probs[:, c]) for c in range(5)]
    assert get_metric("auc")(few, probs) == pytest.approx(np.mean(defined))
    defined = [sk.average_precision_score(few == c, probs[:, c]) for c in range(5)]
    assert get_metric("average_precision")(few, probs) == pytest.approx(np.mean(defined))
    assert get_metric("macro_f1")(few, probs) == pytest.approx(sk.f1_score(few, probs.argmax(1), average="macro"))


def test_kappa_counts_the_distance_to_a_grade_that_nobody_has():
    a, b = np.where(GRADES == 2, 3, GRADES), np.where(GIVEN == 2, 4, GIVEN)
    assert get_metric("qwk")(a, b) == pytest.approx(sk.cohen_kappa_score(a, b, labels=range(5), weights="quadratic"))
    assert get_metric("qwk")(a, b) != pytest.approx(sk.cohen_kappa_score(a, b, weights="quadratic"))


def test_rows_and_classes_without_labels_count_as_in_scikit_learn():
    empty_true, empty_both = LABELS.copy(), DECIDED.copy()
    empty_true[::3], empty_both[::6] = False, False
    empty_true[:, 2], empty_both[:, 2] = False, False
    for name, average in (("f2", "samples"), ("f2_micro", "micro"), ("f2_macro", "macro")):
        expected = sk.fbeta_score(empty_true, empty_both, beta=2, average=average, zero_division=0)
        assert get_metric(name)(empty_true, empty_both) == pytest.approx(expected)
        assert get_metric(name)(empty_true.astype(int), empty_both.astype(np.uint8)) == pytest.approx(expected)


BINARY = LABELS[:, 0]


@pytest.mark.parametrize(
    ("name", "y", "p"),
    [
        *((name, BINARY, SCORES[:, 0]) for name in ("accuracy", "log_loss", "macro_f1", "auc", "average_precision")),
        *((name, VALUES, GUESSES) for name in ("rmse", "mae", "pinball")),
        ("qwk", GRADES, GIVEN),
    ],
)
def test_one_column_is_as_good_as_none(name, y, p):
    """numpy would spread (n, 1) against (n,) to (n, n), and read class 0 as the positive one."""
    expected = get_metric(name)(y, p)
    others = [(y, p[:, None]), (y[:, None], p), (y[:, None], p[:, None]), (y.astype(float), p[:, None])]
    assert [get_metric(name)(*other) for other in others] == pytest.approx([expected] * 4, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "macro_f1", "auc", "average_precision", "top5_accuracy"])
@pytest.mark.parametrize(("label", "p"), [(-1, PROBS), (6, PROBS), (2, PROBS[:, 0]), (-1, PROBS[:, 0])])
def test_a_label_outside_the_columns_is_refused(name, label, p):
    y = CLASSES % 2
    y[3] = label
    known = 5 if p.ndim == 2 else 1
    message = rf"the label in row 3 \(from 0\) is {label}; predictions of shape \(400.*\) know the labels 0 to {known}"
    with pytest.raises(FoldpackError, match=message):
        get_metric(name)(y, p)


@pytest.mark.parametrize(
    ("name", "y", "p", "message"),
    [
        ("rmse", VALUES, GUESSES[:-1], r"the truth has shape \(200,\), the predictions \(199,\); this metric needs"),
        ("rmse", VALUES, np.stack((GUESSES, GUESSES), 1), r"the truth has shape \(200,\), the predictions \(200, 2\)"),
        ("qwk", GRADES[:5], GIVEN[:1], r"the truth has shape \(5,\), the predictions \(1,\)"),
        ("accuracy", CLASSES[:5], PROBS[:1], r"the truth has shape \(5,\), the predictions \(1, 6\)"),
        ("auc", LABELS, SCORES[:, :1], r"the truth has shape \(300, 9\), the predictions \(300,\)"),
        ("f2", LABELS, DECIDED[:, :1], r"the true labels have shape \(300, 9\), the decided ones \(300, 1\); F-beta"),
        ("recall5", LABELS[:, :5], SCORES, r"the true ids have shape \(300, 5\), the lists \(300, 5\); needed: \(n"),
        ("map5", LABELS[:5], SCORES, r"the right answers have shape \(5, 9\), the lists \(300, 5\); needed: \(n, C\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, y, p, message):
    with pytest.raises(FoldpackError, match=message):
        get_metric(name)(y, p)


def test_equal_scores_rank_the_lower_class_first_everywhere():
    flat = np.full((400, 9), 1 / 9)
    y = np.arange(400) % 9
    for name in ("top5_accuracy", "recall5"):
        assert get_metric(name)(y, flat) == pytest.approx(np.mean(y < 5))
    tied = np.round(PROBS, 1)
    assert get_metric("top5_accuracy")(CLASSES, tied) == get_metric("recall5")(CLASSES, tied)


def test_scores_of_any_type_of_number_rank_alike():
    """Of unsigned numbers and bools the negative is none."""
    scores = (SCORES * 100).astype(np.uint8)
    for name in ("average_precision", "map5", "auc"):
        assert get_metric(name)(LABELS, scores) == pytest.approx(get_metric(name)(LABELS, scores.astype(float)))
    assert get_metric("map5")(LABELS, DECIDED) == pytest.approx(get_metric("map5")(LABELS, DECIDED.astype(float)))


def test_nothing_is_ever_right_by_being_not_a_number():
    assert get_metric("top5_accuracy")(np.zeros(4, int), np.full((4, 9), np.nan)) == 0.0


def test_probabilities_are_not_lists_of_ids() -> None:
    """They would score 0 without a word."""
    probs = np.array([[0.1, 0.9], [0.8, 0.2]])
    for metric, truth in ((map_at_k, np.array([1, 0])), (recall_at_k, np.array([1, 0])),
                          (multi_map_at_k, np.eye(2, dtype=bool))):
        with pytest.raises(FoldpackError, match="lists of float64 with fractions; needed: ids, best first"):
            metric(truth, probs)
    assert map_at_k(np.array([1, 0]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 1.0
