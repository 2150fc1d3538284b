"""Every array metric equals an independent implementation: scikit-learn, or a loop written from the definition."""

import numpy as np
import pytest
from sklearn import metrics as sk

from foldpack.errors import FoldpackError
from foldpack.metrics.ranking import map_at_k, multi_map_at_k
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
]  # fmt: skip


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
