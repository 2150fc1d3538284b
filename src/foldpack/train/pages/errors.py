"""The page of `foldpack errors`: where a run is wrong, from its out-of-fold predictions alone, with pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.protocol import Labelled
from foldpack.data.runs import Run, read_run
from foldpack.ensemble.thresholds import cut_grades, cut_values, decide
from foldpack.files import write_atomic
from foldpack.look.sheet import Card, fill_sheet
from foldpack.metrics.plugin import find_metric
from foldpack.search.decide.best_threshold import best_threshold
from foldpack.search.decide.cuts import best_cuts
from foldpack.search.report.figures import BLUE, new_axes, svg_text
from foldpack.search.run_rows import run_reader_of, run_truth
from foldpack.train.pages.mistakes import (
    Mistake,
    class_rows,
    confused_pairs,
    confusion,
    label_rows,
    value_rows,
    worst_of_classes,
    worst_of_labels,
    worst_values,
)
from foldpack.train.pages.neighbours import Neighbours
from foldpack.train.pages.thumbs import Thumbs
from foldpack.train.run import Say

TEMPLATE = Path(__file__).with_name("errors.html")
MATRIX_CLASSES = 25  # more do not fit a screen: then the pairs that are confused most often
PAIRS, ROWS = 30, 40  # shown at most
LABELS = 1  # of an item at least, as training scores it
CLASS_HEAD = ["class", "items", "recall", "precision", "taken for"]


@dataclass
class Findings:
    """What the page shows. groups: of mistakes, each with its heading's class."""

    head: list[str]
    rows: list[list[str]]
    groups: list[list[Mistake]]
    note: str = ""
    matrix: tuple[list[str], np.ndarray] | None = None
    pairs: list[tuple[str, str, int]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Predicted:
    """A run with what it predicts, a row an answer. answers: (m, C) float32; truth: (m, ...); images: (m,) the first
    image of each; labelled: the images of the run, row by row."""

    run: Run
    labelled: Labelled
    answers: np.ndarray
    truth: np.ndarray
    images: np.ndarray

    @property
    def names(self) -> list[str]:
        """Classes, identities or columns of values."""
        return self.run.meta.classes


def class_findings(said: Predicted, each: int) -> Findings:
    """Of one class an item."""
    answer = said.answers.argmax(axis=1)
    found = Findings(CLASS_HEAD, class_rows(said.truth, answer, said.names),
                     worst_of_classes(said.truth, said.answers, each))
    return with_confusion(found, confusion(said.truth, answer, len(said.names)), said.names)


def with_confusion(found: Findings, table: np.ndarray, names: list[str]) -> Findings:
    """With the matrix where it fits, else with its most frequent pairs."""
    if len(names) <= MATRIX_CLASSES:
        found.matrix = names, table
    else:
        found.pairs = [(names[k], names[j], count) for k, j, count in confused_pairs(table)[:PAIRS]]
    return found


def label_findings(said: Predicted, each: int) -> Findings:
    """Of several classes an item."""
    metric = find_metric(said.run.meta.metric)
    beta, average = (metric.beta, metric.average) if metric.needs == "labels" else (1.0, "samples")
    threshold = best_threshold(said.answers, said.truth, beta, LABELS, average=average)[0]
    chosen = decide(said.answers, threshold, LABELS)
    told = f"F{beta:g}" if metric.needs != "labels" else metric.name
    return Findings(["class", "items", "found", "missed", "false alarms", "recall", "precision"],
                    label_rows(said.truth, chosen, said.names),
                    worst_of_labels(said.truth, chosen, said.answers, each),
                    f"a class counts as predicted from {threshold:.3g} on, where {told} of these rows is best; an item "
                    "without one has its likeliest class")


def value_findings(said: Predicted, each: int) -> Findings:
    """Of numbers."""
    found = Findings(["column", "mean error", "root of squares", "bias", "correlation"],
                     value_rows(said.truth, said.answers, said.names), worst_values(said.truth, said.answers, each),
                     "bias: mean of prediction less truth")
    found.figures = [scatter_figure(said.truth[:, k], said.answers[:, k], name) for k, name in enumerate(said.names)]
    if find_metric(said.run.meta.metric).needs == "grades":
        grades = said.truth[:, 0].astype(np.int64)
        count = int(grades.max()) + 1
        cuts = best_cuts(said.answers[:, 0], grades, count)[0]
        names = [str(grade) for grade in range(count)]
        found = with_confusion(found, confusion(grades, cut_grades(said.answers[:, 0], cuts), count), names)
        found.note += "; grades are cut where kappa of these rows is best"
    return found


def identity_findings(said: Predicted, each: int) -> Findings:
    """Of retrieval: what is nearest, not counting "none of these"."""
    none = said.run.meta.none
    scores = said.answers[:, :-1] if none else said.answers
    known = said.truth < scores.shape[1]
    answer = scores.argmax(axis=1)
    names = said.names[: scores.shape[1]]
    groups = worst_of_classes(said.truth[known], scores[known], each)
    rows = np.flatnonzero(known)
    groups = [[Mistake(int(rows[one.row]), one.k) for one in group] for group in groups]
    found = Findings(CLASS_HEAD, class_rows(said.truth[known], answer[known], names), groups)
    if strange := np.flatnonzero(~known).tolist():
        near = sorted(strange, key=lambda row: -float(scores[row].max()))
        groups.append([Mistake(row, len(names), "false friend") for row in near[:each]])
        found.note = f"{len(strange)} items are of no identity: the last group has those that look most like one"
    return with_confusion(found, confusion(said.truth[known], answer[known], len(names)), names)


FINDINGS = {"multiclass": class_findings, "multilabel": label_findings, "regress": value_findings,
            "embed": identity_findings}


def scatter_figure(truth: np.ndarray, values: np.ndarray, name: str) -> str:
    """Prediction over truth as SVG, with the line where both are the same. At most 3000 points, evenly taken."""
    figure, axes = new_axes(4.2)
    rows = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), 3000)).round().astype(int))
    axes.plot(truth[rows], values[rows], "o", color=BLUE, markersize=3.5, alpha=0.5, markeredgewidth=0)
    ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
    axes.plot(ends, ends, color="#8c8c8c", linewidth=1)
    axes.set_xlabel(f"{name}, truth")
    axes.set_ylabel("prediction out of fold")
    return svg_text(figure)


def truth_text(said: Predicted, row: int) -> str:
    """The classes or numbers of an answer."""
    truth = said.truth[row]
    if said.run.meta.task == "regress":
        return ", ".join(f"{number:.4g}" for number in truth)
    return ", ".join(said.names[k] for k in (np.flatnonzero(truth) if truth.ndim else [int(truth)])) or "(none)"


def mistake_texts(said: Predicted, one: Mistake) -> list[str]:
    """What stands under a picture."""
    answers = said.answers[one.row]
    if said.run.meta.task == "regress":
        return [f"truth {said.truth[one.row, one.k]:.4g}", f"predicted {answers[one.k]:.4g}"]
    if said.run.meta.task == "multilabel":
        return [f"{one.kind}: {said.names[one.k]} {answers[one.k]:.3f}", f"truth: {truth_text(said, one.row)}"]
    real = said.names[: len(answers) - said.run.meta.none]
    best = int(answers[: len(real)].argmax())
    own = f" {answers[one.k]:.3f}" if one.k < len(real) else ""
    return [f"truth: {truth_text(said, one.row)}{own}", f"predicted: {real[best]} {answers[best]:.3f}"]


def item_text(said: Predicted, row: int) -> str:
    """Id, fold, and how many images are answered together."""
    groups, image = said.run.groups, int(said.images[row])
    name, count = said.run.ids[image], 1
    if groups is not None:
        name, count = groups.names[row], int(np.diff(groups.starts)[row])
    return f"{name}, fold {said.run.fold[image]}" + (f", {count} images" if count > 1 else "")


def worst_cards(said: Predicted, groups: list[list[Mistake]], most: int, thumbs: Thumbs,
                near: Neighbours | None) -> list[tuple[str, list[tuple[Card, list[Card]]]]]:
    """(class, its worst items with what lies nearest to each) for `most` items in all."""
    sections, room = [], most
    for group in (group for group in groups if group):
        shown, room = group[:room], room - len(group[:room])
        cards = []
        for one in shown:
            image = int(said.images[one.row])
            card = card_of_image(said, image, item_text(said, one.row), mistake_texts(said, one), thumbs)
            cards.append((card, [] if near is None else near_cards(said, near, image, thumbs)))
        if cards:
            sections.append((said.names[group[0].k] if group[0].k < len(said.names) else "(none)", cards))
    return sections


def card_of_image(said: Predicted, image: int, name: str, texts: list[str], thumbs: Thumbs) -> Card:
    """An image of the run with its picture."""
    items = said.labelled.items
    return Card(name, texts, thumbs.of_file(items.images[image], items.reader, said.run.meta.channels))


def near_cards(said: Predicted, near: Neighbours, image: int, thumbs: Thumbs) -> list[Card]:
    """What lies nearest to a query."""
    cards = []
    for other, identity, cosine in near.of(image):
        texts = [f"{said.names[identity]} {cosine:.3f}"]
        cards.append(Card("", texts, "") if other is None else
                     card_of_image(said, other, said.run.ids[other], texts, thumbs))
    return cards


def heat_rows(names: list[str], table: np.ndarray) -> list[tuple[str, list[tuple[int, float]]]]:
    """A confusion matrix row by row: each count, and of mistakes their share of the row, which colours the cell."""
    whole = np.maximum(table.sum(axis=1), 1)
    return [(name, [(int(count), 0.0 if k == j else round(float(count / whole[k]), 3))
                    for j, count in enumerate(table[k])]) for k, name in enumerate(names)]


def errors_html(said: Predicted, each: int, most: int) -> tuple[str, Findings]:
    """The page, and what it shows. each: worst items of a class; most: items with pictures."""
    meta, thumbs = said.run.meta, Thumbs()
    found = FINDINGS[meta.task](said, each)
    near = Neighbours(said.run, said.labelled.targets) if meta.task == "embed" else None
    sections = worst_cards(said, found.groups, most, thumbs, near)
    page = fill_sheet(
        TEMPLATE, title=f"Errors of {meta.run}", meta=meta, count=len(said.truth), found=found,
        heat=None if found.matrix is None else (found.matrix[0], heat_rows(*found.matrix)), rows=found.rows[:ROWS],
        more=max(0, len(found.rows) - ROWS), figures=[Markup(svg) for svg in found.figures], sections=sections,
        lost=sum(not card.picture for _, cards in sections for card, _ in cards),
        near_note="" if near is None else near.note)
    return page, found


def read_predicted(folder: Path, root: Path) -> Predicted:
    """A finished run and the images that it predicts. root: the competition's folder. Raises FoldpackError."""
    run = read_run(folder)
    labelled = find_adapter(run.meta.competition).train(root).take(run.ids, folder / "oof.csv")
    labelled.items.reader.prepare(labelled.items.images)
    answers = np.asarray(run_reader_of(run)(slice(None)))
    if run.meta.range is not None:
        answers = cut_values(answers, run.meta.range)
    images = np.arange(len(run.ids)) if run.groups is None else run.groups.first
    return Predicted(run, labelled, answers, run_truth(run), images)


def show_errors(folder: Path, root: Path, each: int, most: int, out: Path, say: Say = print) -> None:
    """Write the page. folder: of the run; root: the competition's. Raises FoldpackError."""
    said = read_predicted(folder, root)
    page, found = errors_html(said, each, most)
    write_atomic(out, page)
    meta = said.run.meta
    note = f"; {found.note}" if found.note else ""
    say(f"{meta.run}: oof {meta.metric} {meta.score:.4f} over {len(said.truth)} items{note}")
    for row in found.rows[:10]:
        say("  " + ", ".join(f"{name} {cell}" for name, cell in zip(found.head, row, strict=True) if cell))
    say(f"page {out}")
