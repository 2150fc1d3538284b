"""What the competition's answer says of a decision: of which class a probability is, how many are ranked."""

from __future__ import annotations

import pytest

from foldpack.competitions.answers.registry import form_of
from foldpack.search.spec_parts import asked_decision
from foldpack.settings.answer_forms import (
    AnswerForm,
    ClassAnswer,
    ProbabilitiesAnswer,
    ProbabilityAnswer,
    RankingAnswer,
)
from foldpack.settings.stages import ClassDecision, Decision, ProbsDecision, RankingDecision


@pytest.mark.parametrize(("answer", "decision", "asked"), [
    (ClassAnswer(kind="class", id="id", column="kind"), ClassDecision(), ClassDecision()),
    (ProbabilityAnswer(kind="probability", id="id", column="kind", of="yes"), ProbsDecision(),
     ProbsDecision(classes=["yes"])),
    (ProbabilitiesAnswer(kind="probabilities", id="id"), ProbsDecision(), ProbsDecision()),
    (RankingAnswer(kind="ranking", id="id", column="kind", k=3), RankingDecision(k=5, none_score=0.25),
     RankingDecision(k=3, none_score=0.25)),
])
def test_the_answer_says_of_which_class_and_how_many(answer: AnswerForm, decision: Decision, asked: Decision) -> None:
    assert asked_decision(form_of(answer), decision) == asked
    assert asked_decision(None, decision) == decision and asked_decision(form_of(answer), None) is None
