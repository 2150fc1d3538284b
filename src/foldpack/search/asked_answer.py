"""What a competition's answer says of the decision: its kind, which a metric has to score, and its numbers."""

from __future__ import annotations

from foldpack.competitions.answers.form import Form
from foldpack.errors import DataError
from foldpack.metrics.answers import IN_WORDS
from foldpack.metrics.registry import METRICS, Metric
from foldpack.settings.answer_forms import ProbabilityAnswer, RankingAnswer
from foldpack.settings.stages import DECISIONS, Decision, Outputs, ProbsDecision, RankingDecision


def require_answer_fits(form: Form | None, metric: Metric, outputs: Outputs) -> None:
    """Raises DataError where a metric scores something else than the competition asks for, as the promised score would
    be that of other cells, and where networks of these outputs cannot give it. form: None where nobody knows."""
    if form is None or metric.answer in form.decisions and metric.answer in DECISIONS[outputs.link]:
        return
    asked = f"the competition asks for {' or '.join(IN_WORDS[kind] for kind in form.decisions)} (answer: " \
            f"{form.answer.kind})"
    given = [kind for kind in form.decisions if kind in DECISIONS[outputs.link]]
    if not given:
        raise DataError(f"{asked}, but these runs can hand in "
                        f"{' or '.join(IN_WORDS[kind] for kind in DECISIONS[outputs.link])}; train others")
    fitting = sorted(name for name, one in METRICS.items() if one.answer in given)
    raise DataError(f"{asked}, but metric '{metric.name}' scores {IN_WORDS[metric.answer]}; name one of these with "
                    f"--metric: {', '.join(fitting)}")


def asked_decision(form: Form | None, decision: Decision) -> Decision:
    """The same decision with what the answer says of it: of which class, or how many are ranked."""
    answer = None if form is None else form.answer
    if isinstance(answer, ProbabilityAnswer) and isinstance(decision, ProbsDecision):
        return ProbsDecision(classes=[answer.of])
    if isinstance(answer, RankingAnswer) and isinstance(decision, RankingDecision):
        return decision.model_copy(update={"k": answer.k})
    return decision


def asked_part(form: Form | None, part: Decision | None) -> Decision | None:
    """The decision of a prefix or of level 2, where it has one of its own."""
    return None if part is None else asked_decision(form, part)
