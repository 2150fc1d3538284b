"""All forms of answers, by the kind that `competition.yml` names."""

from __future__ import annotations

from foldpack.competitions.answers.boxes import BoxesForm
from foldpack.competitions.answers.form import Form
from foldpack.competitions.answers.masks import MasksForm
from foldpack.competitions.answers.names import ClassForm, LabelsForm, RankingForm
from foldpack.competitions.answers.numbers import (
    GradesForm,
    ProbabilitiesForm,
    ProbabilityForm,
    ValuesForm,
)
from foldpack.settings.answer_forms import AnswerForm

FORMS: dict[str, type[Form]] = {
    "boxes": BoxesForm,
    "class": ClassForm,
    "grades": GradesForm,
    "labels": LabelsForm,
    "masks": MasksForm,
    "points": BoxesForm,
    "probabilities": ProbabilitiesForm,
    "probability": ProbabilityForm,
    "ranking": RankingForm,
    "values": ValuesForm,
}


def form_of(answer: AnswerForm) -> Form:
    """The form that a competition asks for. answer: as `competition.yml` says it."""
    return FORMS[answer.kind](answer)
