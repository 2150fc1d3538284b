"""Names with numbers behind a colon, what `competition.yml` says of a metric, and metrics of a project's own."""

import numpy as np
import pytest
from sklearn import metrics as sk

from foldpack.errors import FoldpackError
from foldpack.metrics.of_competition import competition_metric, metric_name
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.ranking import map_at_k
from foldpack.metrics.registry import FAMILIES, METRICS, get_metric, known_metric
from foldpack.metrics.regression import pinball
from foldpack.settings.competition import MetricConfig

RNG = np.random.default_rng(3)
Y, P = RNG.integers(0, 9, 200), RNG.dirichlet(np.ones(9), 200)
LABELS = RNG.random((100, 5)) < 0.4
DECIDED = LABELS ^ (RNG.random((100, 5)) < 0.2)


def test_any_k_beta_and_quantile_may_stand_behind_the_name():
    assert get_metric("map:7")(Y, P) == pytest.approx(map_at_k(Y, np.argsort(-P, axis=1), 7))
    assert get_metric("top_accuracy:3")(Y, P) == pytest.approx(sk.top_k_accuracy_score(Y, P, k=3))
    assert get_metric("recall:7").hit_at == 7
    for name, average in (("fbeta:1.5", "samples"), ("fbeta_micro:0.5", "micro"), ("fbeta_macro:3", "macro")):
        beta = float(name.partition(":")[2])
        expected = sk.fbeta_score(LABELS, DECIDED, beta=beta, average=average, zero_division=0)
        assert get_metric(name)(LABELS, DECIDED) == pytest.approx(expected)
        assert (get_metric(name).needs, get_metric(name).beta) == ("labels", beta)
    values = RNG.normal(size=50)
    assert get_metric("pinball:0.9")(values, values + 1) == pytest.approx(pinball(values, values + 1, 0.9))


def test_a_name_is_one_metric_however_it_is_written():
    for long, short in (("map:5", "map5"), ("fbeta:2", "f2"), ("fbeta_micro:1.0", "f1_micro"), ("recall:1", "recall1"),
                        ("top_accuracy:5", "top5_accuracy")):
        assert get_metric(long) is METRICS[short]
    assert get_metric("map:7") is get_metric("map:7")
    assert get_metric("log_loss:1.0,2").name == "log_loss:1,2"
    assert get_metric("map:1").answer == "class"
    assert all(get_metric(family.example) for family in FAMILIES.values())


@pytest.mark.parametrize(("name", "message"), [
    ("map", "metric 'map' is not known: behind 'map:' stands a whole number from 1 on, such as map:7"),
    ("map:0", "a whole number from 1 on, such as map:7"),
    ("map:2.5", "a whole number from 1 on"),
    ("map:5,6", "a whole number from 1 on"),
    ("fbeta:x", "behind 'fbeta:' stands a number above 0, such as fbeta:1.5"),
    ("fbeta:inf", "a number above 0"),
    ("pinball:1", "a number between 0 and 1, such as pinball:0.9"),
    ("log_loss:0,0", "a number from 0 on for each class, with commas, not all 0, such as log_loss:1,2,1"),
    ("log_loss:", "a number from 0 on for each class"),
    ("rmse:2", "metric 'rmse:2' is not known: 'rmse' takes nothing behind a colon"),
    ("fbeto:2", r"metric 'fbeto:2' is not known: did you mean 'fbeta:1.5'\?"),
])
def test_numbers_that_do_not_fit_say_what_does(name, message):
    assert known_metric(name) is None
    with pytest.raises(FoldpackError, match=message):
        get_metric(name)


@pytest.mark.parametrize(("config", "name"), [
    ({"name": "map", "k": 7}, "map:7"),
    ({"name": "map", "k": 5}, "map5"),
    ({"name": "map5"}, "map5"),
    ({"name": "fbeta", "beta": 1.5}, "fbeta:1.5"),
    ({"name": "fbeta_micro", "beta": 1.0}, "f1_micro"),
    ({"name": "log_loss", "weights": [1, 2.5, 1]}, "log_loss:1,2.5,1"),
    ({"name": "rmse", "greater": False}, "rmse"),
    ({"name": "box_map:0.4", "greater": True}, "box_map:0.4"),
    ({"name": "own.py"}, "own.py"),
    ({"name": "own.py", "greater": False}, "own.py::lower"),
    ({"name": "own.py:mine", "greater": True}, "own.py:mine:greater"),
])
def test_a_competition_names_its_metric_in_one_word(config, name):
    assert metric_name(MetricConfig(**config)) == name


@pytest.mark.parametrize(("config", "message"), [
    ({"name": "map5", "k": 5}, "metric 'map5' does not read k; it is read by map, recall, top_accuracy"),
    ({"name": "auc", "beta": 2.0}, "metric 'auc' does not read beta; it is read by fbeta"),
    ({"name": "map", "k": 3, "beta": 2.0}, "metric 'map' does not read beta"),
    ({"name": "own.py:mine", "k": 3}, "metric 'own.py:mine' does not read k; write them into the file"),
    ({"name": "own.py:mine:lower", "greater": True}, "says itself which way is better; leave greater out"),
    ({"name": "rmse", "greater": True}, "metric 'rmse' is better where it is lower, and greater says true; leave it"),
    ({"name": "dice", "greater": False}, "metric 'dice' is better where it is greater, and greater says false"),
    ({"name": "acuracy"}, "metric 'acuracy' is not known: did you mean 'accuracy'"),
    ({"name": "map"}, "metric 'map' is not known: behind 'map:' stands a whole number"),
])
def test_a_metric_of_a_competition_that_cannot_be_is_refused(config, message):
    with pytest.raises(FoldpackError, match=message):
        metric_name(MetricConfig(**config))


def test_a_competitions_metric_scores():
    assert competition_metric(MetricConfig(name="map", k=7))(Y, P) == get_metric("map:7")(Y, P)
    assert competition_metric(MetricConfig(name="box_map:0.4")).needs == "objects"


def test_which_way_a_metric_of_ones_own_is_better_may_stand_behind_it(tmp_path, monkeypatch):
    (tmp_path / "way_of_metric.py").write_text(
        "def mine(y, p):\n    return float((y - p).sum())\n\n\ndef metric(y, p):\n    return 1.0\n\n\n"
        "metric.greater_is_better = False\n")
    monkeypatch.chdir(tmp_path)
    assert find_metric("way_of_metric.py:mine").greater_is_better
    assert not find_metric("way_of_metric.py:mine:lower").greater_is_better
    assert find_metric("way_of_metric.py:mine:lower").name == "mine"
    assert not find_metric("way_of_metric.py").greater_is_better
    assert find_metric("way_of_metric.py::greater").greater_is_better
    assert not competition_metric(MetricConfig(name="way_of_metric.py:mine", greater=False)).greater_is_better
