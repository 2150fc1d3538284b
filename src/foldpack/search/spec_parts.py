"""What the YAML says of a search, whether of runs or of files: the metric, how members are fused, what is decided."""

from __future__ import annotations

import numpy as np

from foldpack.competitions.answers.form import Form
from foldpack.metrics.registry import Metric, known_metric
from foldpack.search.cells.cells import Kind
from foldpack.search.decide.decision import Fitted, LabelRule
from foldpack.search.find import Found
from foldpack.search.weights.solvers import Blend
from foldpack.settings.answer_forms import ProbabilityAnswer, RankingAnswer
from foldpack.settings.ensemble import MetricSpec
from foldpack.settings.outputs import ScoreBlend
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    LabelsDecision,
    ProbsDecision,
    RankingDecision,
    ValuesDecision,
)

TWO_CLASSES = LabelsDecision(threshold=0.5, min_labels=0)  # the likelier of two, by the probability of one


def metric_spec(found: Found) -> MetricSpec:
    """The metric and the scores that it gave."""
    nested = None if found.choice is None or np.isnan(found.choice.mean) else found.choice
    return MetricSpec(
        name=found.metric.name,
        oof=round(found.score, 6),
        nested=None if nested is None else round(nested.mean, 6),
        nested_se=None if nested is None else round(nested.se, 6),
        uniform=round(found.uniform_score, 6),
        answer=None if known_metric(found.metric.name) is not None else found.metric.answer,
    )


def fuse_spec(blend: Blend) -> ScoreBlend:
    """The blend space and its numbers."""
    solver = blend.solver
    return ScoreBlend.model_validate(
        {"space": solver.space, "power": solver.power, "scale": blend.scale, "bias": blend.bias})


def decision_spec(metric: Metric, kind: Kind, fitted: Fitted, rule: LabelRule) -> Decision:
    """The decision that hands in what the metric scores. kind: of the truth."""
    if fitted is not None:
        return fitted
    if metric.answer == "ranking":
        return RankingDecision(k=metric.map_at or metric.hit_at)
    if metric.answer == "class":
        return ClassDecision() if kind == "exclusive" else TWO_CLASSES
    if kind != "values":
        return ProbsDecision()
    return ValuesDecision(range=None if rule.range is None else list(rule.range))


def asked_decision(form: Form | None, decision: Decision | None) -> Decision | None:
    """The same decision with what the competition's answer says of it: of which class, or how many are ranked.

    form: None where nobody knows. None stays None: a prefix or a level 2 that decides as its stage does.
    """
    answer = None if form is None else form.answer
    if isinstance(answer, ProbabilityAnswer) and isinstance(decision, ProbsDecision):
        return ProbsDecision(classes=[answer.of])
    if isinstance(answer, RankingAnswer) and isinstance(decision, RankingDecision):
        return decision.model_copy(update={"k": answer.k})
    return decision
