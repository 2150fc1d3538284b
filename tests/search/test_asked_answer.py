"""What the kernel hands in is what the competition asks for, whatever a metric scores; else the search refuses."""

from __future__ import annotations

import pytest
from made_stages import classes_of

from foldpack.competitions.answers.registry import form_of
from foldpack.errors import DataError
from foldpack.metrics.registry import METRICS
from foldpack.search.asked_answer import asked_decision, asked_part, require_answer_fits
from foldpack.settings.answer_forms import (
    AnswerForm,
    ClassAnswer,
    GradesAnswer,
    LabelsAnswer,
    ProbabilitiesAnswer,
    ProbabilityAnswer,
    RankingAnswer,
    ValuesAnswer,
)
from foldpack.settings.outputs import Values
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    GradesDecision,
    LabelsDecision,
    Outputs,
    ProbsDecision,
    RankingDecision,
    ValuesDecision,
)

SOFTMAX, SIGMOID = classes_of(["no", "yes"]), classes_of(["a", "b"], "sigmoid")
VALUE = Values(names=["age"], prior=[1.0])
ONE = ClassAnswer(kind="class", id="id", column="kind")
CHANCE = ProbabilityAnswer(kind="probability", id="id", column="kind", of="yes")
CHANCES = ProbabilitiesAnswer(kind="probabilities", id="id")
BEST = RankingAnswer(kind="ranking", id="id", column="kind", k=3)
SET = LabelsAnswer(kind="labels", id="id", column="kinds")
GRADE = GradesAnswer(kind="grades", id="id", column="grade")
AGE = ValuesAnswer(kind="values", id="id", columns=["age"])


@pytest.mark.parametrize(("answer", "decision", "asked"), [
    (ONE, ClassDecision(), ClassDecision()),
    (CHANCE, ProbsDecision(), ProbsDecision(classes=["yes"])),
    (CHANCES, ProbsDecision(), ProbsDecision()),
    (BEST, RankingDecision(k=5, none_score=0.25), RankingDecision(k=3, none_score=0.25)),
    (SET, LabelsDecision(threshold=0.5), LabelsDecision(threshold=0.5)),
    (GRADE, GradesDecision(cuts=[0.5]), GradesDecision(cuts=[0.5])),
    (AGE, ValuesDecision(), ValuesDecision()),
])
def test_the_answer_says_of_which_class_and_how_many(answer: AnswerForm, decision: Decision, asked: Decision) -> None:
    assert asked_decision(form_of(answer), decision) == asked == asked_part(form_of(answer), decision)
    assert asked_decision(None, decision) == decision and asked_part(form_of(answer), None) is None


@pytest.mark.parametrize(("answer", "metric", "outputs", "said"), [
    (ONE, "auc", SOFTMAX, "the competition asks for one class an item (answer: class), but metric 'auc' scores probabi"
                          "lities; name one of these with --metric: accuracy, "),
    (CHANCE, "accuracy", SOFTMAX, "the competition asks for probabilities (answer: probability), but metric 'accuracy' "
                                  "scores one class an item; name one of these with --metric: auc, "),
    (SET, "auc", SIGMOID, "the competition asks for a set of labels an item or one class an item (answer: labels), but "
                          "metric 'auc' scores probabilities; name one of these with --metric: f1, "),
    (GRADE, "rmse", VALUE, "the competition asks for a grade an item or one class an item (answer: grades), but metric "
                           "'rmse' scores a value an item; name one of these with --metric: qwk"),
    (ONE, "auc", SIGMOID, "the competition asks for one class an item (answer: class), but these runs can hand in a se"
                          "t of labels an item or probabilities or a ranked list of classes an item; train others"),
    (AGE, "auc", SOFTMAX, "the competition asks for a value an item (answer: values), but these runs can hand in one"),
])
def test_a_metric_of_something_else_is_refused(answer: AnswerForm, metric: str, outputs: Outputs, said: str) -> None:
    require_answer_fits(None, METRICS[metric], outputs)
    with pytest.raises(DataError) as caught:
        require_answer_fits(form_of(answer), METRICS[metric], outputs)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("answer", "metric", "outputs"), [
    (ONE, "accuracy", SOFTMAX), (CHANCE, "auc", SOFTMAX), (CHANCES, "log_loss", SIGMOID), (BEST, "map5", SOFTMAX),
    (SET, "f2", SIGMOID), (SET, "micro_f1", SOFTMAX), (GRADE, "qwk", VALUE), (GRADE, "accuracy", SOFTMAX),
    (AGE, "mae", VALUE)])
def test_a_metric_that_scores_the_answer_fits(answer: AnswerForm, metric: str, outputs: Outputs) -> None:
    require_answer_fits(form_of(answer), METRICS[metric], outputs)
