"""Which answer a metric scores, and what is trained for it by default: no network, no files."""

import pytest
from pydantic import TypeAdapter

from foldpack.competitions.answers.registry import FORMS
from foldpack.errors import FoldpackError
from foldpack.metrics.answers import FILLED_BY, fitting_answer, form_problem, task_answers
from foldpack.metrics.defaults import Training, default_training
from foldpack.metrics.registry import get_metric
from foldpack.settings.answer_forms import AnswerConfig
from foldpack.settings.label_kinds import LabelsConfig
from foldpack.settings.training.loss import LOSSES_OF_TASK, LossConfig
from foldpack.train.steps import can_follow

ANSWERS: dict[str, dict] = {
    "class": {"column": "y"}, "probability": {"column": "y", "of": "1"}, "probabilities": {}, "labels": {"column": "y"},
    "values": {"columns": ["y"]}, "grades": {"column": "y"}, "ranking": {"column": "y", "k": 5},
    "boxes": {"column": "y", "text": ["label", "x"]}, "points": {"column": "y", "text": ["label", "x", "y"]},
    "masks": {"column": "y"},
}


def answer(kind, **more):
    return TypeAdapter(AnswerConfig).validate_python({"kind": kind, "id": "id", **ANSWERS[kind], **more})


def labels(kind, **more):
    usual = {"one-hot": {"columns": ["a", "b"]}, "values": {"columns": ["v"]}, "grades": {"grades": 5}}
    needed = usual.get(kind, {"column": "y"}) | ({"column": "y"} if kind == "grades" else {})
    return TypeAdapter(LabelsConfig).validate_python({"kind": kind, **needed, **more})


def test_each_form_is_filled_by_the_decisions_that_it_can_write():
    assert {kind: set(form.decisions) for kind, form in FORMS.items()} == {k: set(FILLED_BY[k]) for k in FORMS}
    assert FILLED_BY.keys() == ANSWERS.keys()


@pytest.mark.parametrize("metric", ["auc", "log_loss", "pf1", "log_loss:1,2"])
def test_classes_called_0_and_1_become_a_probability_where_the_metric_wants_one(metric):
    found = fitting_answer(answer("class", sample="s.csv"), get_metric(metric), ["0", "1"])
    assert (found.kind, found.column, found.of, found.sample) == ("probability", "y", "1", "s.csv")
    mapped = answer("class", map={"cat": "1", "dog": "0"})
    assert fitting_answer(mapped, get_metric(metric), ["cat", "dog"]).of == "cat"


def test_an_answer_that_the_metric_scores_stays():
    for kind, metric in (("class", "accuracy"), ("probabilities", "auc"), ("labels", "f2"), ("grades", "qwk"),
                         ("ranking", "map5"), ("values", "rmse"), ("labels", "macro_f1"), ("grades", "accuracy")):
        assert fitting_answer(answer(kind), get_metric(metric), ["0", "1"]) == answer(kind)
        assert form_problem(kind, get_metric(metric)) is None


@pytest.mark.parametrize(("kind", "metric", "message"), [
    ("class", "auc", "metric 'auc' scores probabilities, and an answer of kind 'class' has none; set answer.kind to "
     "probability or probabilities, or the metric to one of: accuracy, error, macro_f1"),
    ("probabilities", "accuracy", "metric 'accuracy' scores one class an item, and an answer of kind 'probabilities' "
     "has none; set answer.kind to class or labels or grades, or the metric to one of: auc"),
    ("class", "qwk", "metric 'qwk' scores a grade an item, and an answer of kind 'class' has none"),
    ("masks", "auc", "answer of kind 'masks' has none; set answer.kind to probability or probabilities$"),
])
def test_an_answer_that_the_metric_does_not_score_is_refused(kind, metric, message):
    with pytest.raises(FoldpackError, match=message):
        fitting_answer(answer(kind), get_metric(metric), ["cat", "dog"])


@pytest.mark.parametrize(("known", "asked", "metric", "training"), [
    (labels("class"), "class", "accuracy", ("classify", "cross_entropy", "accuracy")),
    (labels("class"), "class", "f1_micro", ("classify", "cross_entropy", "micro_f1")),
    (labels("class"), "class", "f1_macro", ("classify", "cross_entropy", "macro_f1")),
    (labels("class"), "class", "rmse", ("classify", "cross_entropy", "accuracy")),
    (labels("class"), "class", "qwk", ("classify", "cross_entropy", "accuracy")),
    (labels("class"), "probability", "auc", ("classify", "cross_entropy", "auc")),
    (labels("class"), "probabilities", "f2", ("classify", "cross_entropy", "log_loss")),
    (labels("class"), "ranking", "f2", ("classify", "cross_entropy", "map:5")),
    (labels("class"), "class", "own.py:mine:lower", ("classify", "cross_entropy", "own.py:mine:lower")),
    (labels("one-hot", exclusive=True), "probabilities", "auc", ("classify", "cross_entropy", "auc")),
    (labels("one-hot", exclusive=False), "probabilities", "auc", ("classify", "bce", "auc")),
    (labels("labels"), "labels", "f2", ("classify", "bce", "f2")),
    (labels("labels"), "labels", "macro_f1", ("classify", "bce", "f1_macro")),
    (labels("labels"), "labels", "rmse", ("classify", "bce", "f1_micro")),
    (labels("labels"), "ranking", "recall5", ("classify", "bce", "map:5")),
    (labels("grades"), "grades", "qwk", ("regress", "mse", "qwk")),
    (labels("grades"), "values", "mae", ("regress", "l1", "mae")),
    (labels("grades"), "grades", "accuracy", ("classify", "cross_entropy", "accuracy")),
    (labels("values"), "values", "rmse", ("regress", "mse", "rmse")),
    (labels("values"), "values", "mae", ("regress", "l1", "mae")),
    (labels("values"), "values", "auc", ("regress", "mse", "rmse")),
    (labels("identity"), "ranking", "map5", ("embed", "arcface", "map5")),
    (labels("identity", none="new"), "ranking", "recall5", ("embed", "arcface", "map:5")),
    (labels("identity"), "class", "accuracy", ("classify", "cross_entropy", "accuracy")),
])
def test_labels_say_what_is_trained(known, asked, metric, training):
    found = default_training(known, answer(asked), metric)
    assert found is not None and found == Training(*training, range=found.range)
    assert LossConfig(name=found.loss)
    learned = {"classify": "multilabel" if found.loss == "bce" else "multiclass"}.get(found.task, found.task)
    assert found.loss in LOSSES_OF_TASK[learned]
    if ".py" not in metric:
        assert can_follow(learned, get_metric(found.metric))
        assert get_metric(found.metric).answer in task_answers(learned)


def test_nothing_is_trained_for_boxes_and_masks():
    assert default_training(labels("masks"), answer("masks"), "dice") is None
    assert default_training(labels("boxes", bbox="b", column=None), answer("boxes"), "box_map:0.4") is None


def test_values_have_the_range_of_their_labels_or_of_the_answer():
    plain, ranged = answer("values"), answer("values", range=[0, 5])
    assert default_training(labels("values", range=[1, 100]), ranged, "rmse").range == [1, 100]
    assert default_training(labels("values"), ranged, "rmse").range == [0, 5]
    assert default_training(labels("values"), plain, "rmse").range is None
    assert default_training(labels("grades"), answer("grades"), "qwk").range == [0, 4]
    assert default_training(labels("class"), answer("class"), "accuracy").range is None
