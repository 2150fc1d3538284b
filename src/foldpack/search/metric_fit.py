"""Whether a metric scores what the kernel of some runs hands in, and what is known of their last step beforehand."""

from __future__ import annotations

from dataclasses import replace

from foldpack.competitions.adapters import answer_form
from foldpack.competitions.protocol import Competition
from foldpack.competitions.training_items import TrainableCompetition
from foldpack.data.runs import RunMeta
from foldpack.errors import DataError
from foldpack.metrics.answers import answer_problem, form_problem, task_answers
from foldpack.metrics.defaults import default_training
from foldpack.metrics.of_competition import metric_name
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import METRICS, Metric, base_name
from foldpack.search.decide.decision import LabelRule
from foldpack.settings.answer_forms import ProbabilityAnswer, ValuesAnswer

ONE_SIDED = ("weighted_auc", "average_precision", "pf1")  # of two classes they are not the same for either


def followed_metric(competition: Competition, own: str, task: str) -> tuple[str, str]:
    """(metric that a search follows where none is asked for, a line on it or ""): that of `competition.yml`.

    own: of the run, which is followed where a competition's own code tells of it, and where such runs hand in nothing
    that the competition's metric scores; task: of the run, as `task_answers` takes it. Raises FoldpackError.
    """
    if not isinstance(competition, TrainableCompetition):
        return own, ""
    asked = metric_name(competition.config.metric)
    usual = default_training(competition.config.labels, competition.config.answer, asked)
    if usual is None:
        return own, ""
    metric, told = find_metric(usual.metric), f"competition '{competition.name}' is scored by '{asked}'"
    if metric.name == find_metric(own).name:
        return own, "" if usual.metric == asked else f"{told}; of such runs '{own}' is followed"
    if form_problem(competition.form.answer.kind, metric) or answer_problem(metric.name, metric.answer,
                                                                            task_answers(task)):
        return own, f"{told}, which scores nothing that such runs hand in; '{own}' of the first run is followed"
    which = "it" if usual.metric == asked else f"of such runs '{usual.metric}'"
    return usual.metric, f"{told}; {which} is followed, and not '{own}', by which the first run chooses its epochs"


def require_metric_fits(metric: Metric, meta: RunMeta) -> None:
    """Raises DataError for a metric that does not score what the kernel of such runs hands in."""
    if problem := answer_problem(metric.name, metric.answer, task_answers(meta.task)):
        raise DataError(f"{problem}, or a .py file that says what it `needs`; name one of them with --metric")
    if metric.of_two and len(meta.classes) != (1 if meta.task == "multilabel" else 2):
        raise DataError(f"metric '{metric.name}' is of two classes, and these runs have {len(meta.classes)}; name "
                        "another with --metric, such as auc")
    if meta.task == "multilabel" and metric.hit_at:
        raise DataError(f"metric '{metric.name}' knows one right class an item, but these runs have any number of "
                        "them; name a mean average precision with --metric, such as map5")
    if metric.needs == "grades" and len(meta.classes) > 1:
        raise DataError(f"metric '{metric.name}' scores one grade an item, and these runs predict "
                        f"{len(meta.classes)} values: {', '.join(meta.classes)}; name another with --metric, such as "
                        "rmse")
    if meta.none and not metric.map_at:
        raise DataError(f"metric '{metric.name}' does not say where '{meta.classes[-1]}' stands in a ranking; allowed: "
                        f"{', '.join(sorted(name for name, one in METRICS.items() if one.map_at))}; name one of them "
                        "with --metric")


def require_form_fits(metric: Metric, competition: Competition, classes: list[str]) -> None:
    """Raises DataError for a metric that does not score what the competition's answer has. classes: of the runs."""
    form = answer_form(competition)
    if form is None:
        return
    if problem := form_problem(form.answer.kind, metric):
        raise DataError(f"competition '{competition.name}': {problem}")
    positive = form.answer.of if isinstance(form.answer, ProbabilityAnswer) else None
    if positive in classes and len(classes) == 2 and classes[1] != positive and base_name(metric) in ONE_SIDED:
        raise DataError(f"competition '{competition.name}': metric '{metric.name}' takes the second class for the "
                        f"positive one, which is '{classes[1]}', and answer.of is '{positive}'; set labels.classes to "
                        f"[{classes[1]}, {positive}] and train again")


def run_rule(rule: LabelRule, meta: RunMeta, competition: Competition) -> LabelRule:
    """The same rule, which also looks for the score of the class that stands for "none of the others", and cuts values
    to the range of the runs and to that of the competition's answer."""
    if meta.none:
        return replace(rule, new_class=True)
    if meta.task != "regress":
        return rule
    form = answer_form(competition)
    asked = form.answer.range if form is not None and isinstance(form.answer, ValuesAnswer) else None
    limits = [each for each in (meta.range, asked) if each is not None]
    return replace(rule, range=(max(low for low, _ in limits), min(high for _, high in limits))) if limits else rule
