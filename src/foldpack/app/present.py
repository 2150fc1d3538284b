"""How an answer looks, a function a task: a part of a page, and a view's answer in a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foldpack.app.asking import AskedEnsemble, Said
from foldpack.app.likeness import Alike, Pictures, likest
from foldpack.data.readers.protocol import Reader
from foldpack.ensemble.answers import decided_rows
from foldpack.ensemble.thresholds import top_classes
from foldpack.look.objects import Drawing
from foldpack.look.pictures import data_uri, picture_of
from foldpack.look.sheet import fill_sheet
from foldpack.settings.stages import GradesDecision, LabelsDecision, RankingDecision, StageSpec
from foldpack.train.pages.thumbs import picture_of_tensor, shrunk

TEMPLATE = Path(__file__).with_name("answer.html")
MOST = 12  # classes that are shown, beside those that are answered
SIDE = 256  # pixels, of the image itself


@dataclass(frozen=True)
class Bar:
    """A class or identity with its score. share, threshold: in [0, 1]; alike: of an identity, its nearest items."""

    name: str
    number: float
    answered: bool  # whether it is in the answer
    place: int | None = None  # in a ranking, from 1
    threshold: float | None = None
    alike: tuple[Alike, ...] = ()

    @property
    def share(self) -> float:
        """How long the bar is."""
        return min(1.0, max(0.0, self.number))


@dataclass(frozen=True)
class Part:
    """What a task shows. head: above the bars; bars: the best first; more: that are not shown; facts: name and text."""

    head: str = ""
    bars: tuple[Bar, ...] = ()
    more: int = 0
    facts: tuple[tuple[str, str], ...] = ()


def class_part(said: Said, stage: StageSpec, pictures: Pictures) -> Part:
    """Probabilities as bars, with thresholds where labels are decided."""
    numbers, decision, names = said.numbers, said.decision, stage.outputs.names
    if isinstance(decision, RankingDecision):
        return ranking_part(said, stage, pictures)
    decided, answered = decided_rows(decision, numbers[None]), np.zeros(len(names), dtype=bool)
    limits: list[float] | None = None
    head = "Probability of each class"
    if decided is not None and isinstance(decision, LabelsDecision):
        answered, own = decided[0], decision.threshold
        limits = own if isinstance(own, list) else [own] * len(names)
        most = "" if decision.max_labels is None else f" and at most {decision.max_labels}"
        head += f", with its threshold; at least {decision.min_labels}{most} are answered"
    elif decided is not None:
        answered[decided[0]] = True
    order = top_classes(numbers[None], len(names))[0]
    shown = [int(k) for rank, k in enumerate(order) if rank < MOST or answered[k]]
    bars = [Bar(names[k], float(numbers[k]), bool(answered[k]), threshold=None if limits is None else limits[k])
            for k in shown]
    return Part(head, tuple(bars), len(names) - len(bars))


def ranking_part(said: Said, stage: StageSpec, pictures: Pictures) -> Part:
    """The ranked classes or identities with their scores, each with what is nearest in the gallery where there is one;
    "none of these" where it stands."""
    decision, names = said.decision, stage.outputs.names
    assert isinstance(decision, RankingDecision)
    decided = decided_rows(decision, said.numbers[None])
    assert decided is not None
    ranked = [len(names) - 1 if k < 0 else int(k) for k in decided[0]]
    limit = decision.none_score
    head = f"The {len(ranked)} best"
    if limit is not None:
        last = "" if decision.none_rank is None else f", at place {decision.none_rank} at the latest"
        head += f"; '{names[-1]}' stands behind all that reach {limit:.4g}{last}"
    bars = []
    for place, k in enumerate(ranked, 1):
        none = limit is not None and k == len(names) - 1
        alike = () if none or not said.vectors else tuple(likest(said, pictures, k))
        bars.append(Bar(names[k], float(limit) if none and limit is not None else float(said.numbers[k]), True, place,
                        limit, alike))
    return Part(head, tuple(bars), 0)


def value_part(said: Said, stage: StageSpec, pictures: Pictures) -> Part:
    """Values as they are handed in, and the grade that they are cut to."""
    names, decision = stage.outputs.names, said.decision
    decided = decided_rows(decision, said.numbers[None])
    facts = [(name, f"{number:.6g}") for name, number in zip(names, said.numbers.tolist(), strict=True)]
    if isinstance(decision, GradesDecision) and decided is not None:
        facts.append(("grade", str(int(np.ravel(decided)[0]))))
        facts.append(("cuts", ", ".join(f"{cut:.4g}" for cut in decision.cuts)))
    elif decided is not None:
        facts += [(f"{name}, cut to its range", f"{number:.6g}")
                  for name, number in zip(names, np.ravel(decided).tolist(), strict=True)]
    return Part(facts=tuple(facts))


def best_name(numbers: np.ndarray, stage: StageSpec) -> str:
    """The best class or identity in a word."""
    real = len(numbers) - bool(getattr(stage.outputs, "none", False))
    k = int(numbers[:real].argmax())
    return f"{stage.outputs.names[k]} {numbers[k]:.3f}"


def value_words(numbers: np.ndarray, stage: StageSpec) -> str:
    """The values in a word."""
    return ", ".join(f"{number:.4g}" for number in numbers[:3].tolist())


@dataclass(frozen=True)
class Presentation:
    """How the answers of a task look."""

    part: Callable[[Said, StageSpec, Pictures], Part]
    word: Callable[[np.ndarray, StageSpec], str]  # what one view says


PRESENTATIONS = {
    "classify": Presentation(class_part, best_name),
    "embed": Presentation(ranking_part, best_name),
    "regress": Presentation(value_part, value_words),
}


def answer_html(asked: AskedEnsemble, said: Said, path: Path, chosen: str, pictures: Pictures) -> str:
    """What is said of an image, as a part of a page."""
    stage, how = asked.stage, PRESENTATIONS[asked.stage.task]
    views = []
    for view in said.views:
        image = picture_of_tensor(torch.from_numpy(view.picture), asked.networks.config(view.unit))
        views.append((view.name, how.word(view.numbers, stage), data_uri(shrunk(image))))
    cells = [(name, " | ".join(column)) for name, column in said.cells.items()]
    part = how.part(said, stage, pictures)
    return fill_sheet(TEMPLATE, title=path.name, picture=own_picture(path, asked.reader, stage), chosen=chosen,
                      cells=cells, notes=[*said.notes, *([pictures.note] if pictures.note else [])], part=part,
                      views=views, networks=len(said.units))


def own_picture(path: Path, reader: Reader, stage: StageSpec) -> str:
    """The image, small, as networks see it; "" where only a network's own canvas can be made of it."""
    return picture_of(path, Drawing(), reader, stage.members[0].channels, SIDE)


def message_html(text: str) -> str:
    """In place of an answer."""
    return fill_sheet(TEMPLATE.with_name("message.html"), text=text)
