"""Is a member better than chance? Inverted, shuffled, misordered and made-up predictions are pointed out.

Two questions, on the rows of the search: does the member score better than one constant guess for all items, and do its
numbers have to do with the labels at all? The second is asked of ranks, by the permutation test of a linear statistic
(Hoeffding 1951), whose mean and variance are known without drawing permutations. Where the answer is no, the mistakes
that people make are undone one by one, to see whether that helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from foldpack.ensemble.spaces import item_ranks
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells, dense_cells
from foldpack.search.decide.decision import LabelRule, fit_decision

CHANCE_CELLS = 1_000_000  # of more cells than these, items with about so many are looked at
CHANCE_ITEMS = 500  # but at least so many items
RELATED = 2.5  # standard deviations of shuffled rows above which a member has to do with the labels
AGAINST = -4.0  # below it, numbers that nothing mends are still no accident
UNDONE = 3.0  # the same, for predictions in which a mistake was undone: several are tried
SHOWN_CLASSES = 10  # an order of so many columns is written out

# (member, (k,) items) -> (k, C) float32: that member's predictions of these items
Reader = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ChanceCheck:
    """constant: the score of one constant guess for all items, None where the metric has none; warnings: a line for

    every member that is worse, or that has nothing to do with the labels.
    """

    constant: float | None
    warnings: list[str]


def check_chance(
    cells: Cells, names: list[str], metric: Metric, rule: LabelRule, folds: np.ndarray, read: Reader | None = None
) -> ChanceCheck:
    """Hold every member against chance.

    cells: of all members, in probability space; folds: (items,) int, to tell rows that were left in the order of the
    folds; read: the members' predictions, needed where `cells` is a compact store.
    """
    judge = _Judge(cells, metric, rule, read or (lambda m, items: dense_rows(cells, m, items)))
    constant = judge.constant()
    texts = [judge.doubt(m, name, constant, folds) for m, name in enumerate(names)]
    return ChanceCheck(constant, [text for text in texts if text])


def dense_rows(cells: Cells, member: int, items: np.ndarray) -> np.ndarray:
    """(k, C) of a full store."""
    return cells.values[member].reshape(cells.items, cells.classes)[items]


class _Judge:
    """The rows that are looked at, with their labels."""

    def __init__(self, cells: Cells, metric: Metric, rule: LabelRule, read: Reader) -> None:
        self.cells, self.metric, self.rule, self.read = cells, metric, rule, read
        self.sign = 1 if metric.greater_is_better else -1
        most = max(CHANCE_ITEMS, CHANCE_CELLS // cells.classes)
        some = np.random.default_rng(0).choice(cells.items, min(most, cells.items), replace=False)
        self.items = np.sort(some)
        self.targets = cells.targets[self.items]
        self.groups = None if cells.groups is None else cells.groups[self.items]
        self.truth = truth_table(cells, self.targets)

    def score(self, table: np.ndarray) -> float:
        """The metric of (k, C) predictions, thresholds and the like fitted."""
        one = dense_cells(table[None] if self.cells.kind != "values" else table[None, :, 0], self.targets, self.groups)
        return fit_decision(one, one.values[0], self.metric, self.rule)[1]

    def gain(self, score: float | None) -> float:
        return -np.inf if score is None or not np.isfinite(score) else self.sign * score

    def constant(self) -> float | None:
        """The score of the best constant guess: the share of each class; of values their mean or their median.

        None for a metric that has none: correlations, and metrics of one's own that fail.
        """
        scores = []
        for guess in constant_guesses(self.cells):
            try:
                scores.append(self.score(np.tile(guess, (len(self.items), 1)).astype(np.float32)))
            except Exception:  # a metric of one's own may never have met a constant
                continue
        best = max(scores, key=self.gain, default=None)
        return best if best is not None and np.isfinite(best) else None

    def doubt(self, member: int, name: str, constant: float | None, folds: np.ndarray) -> str | None:
        """What to say of a member; None for a sound one."""
        table = self.read(member, self.items)
        score, related = self.score(table), relation(table, self.truth)
        worse = constant is not None and self.gain(score) < self.gain(constant) - 1e-9
        if not worse and related >= RELATED:
            return None
        part = "" if len(self.items) == self.cells.items else f" (on {len(self.items):,} of {self.cells.items:,} items)"
        than = "" if constant is None else f", one constant guess for all items scores {constant:.4f}"
        head = f"{name}: {self.metric.name} {score:.4f} alone{than}{part}: "
        if (table == table[:1]).all():
            return head + "it says the same of every item; leave it out, or mend its file"
        best = self.undone(member, table, folds, max(self.gain(score), self.gain(constant)))
        if best is not None:
            return head + f"{best[0]} {best[1]:.4f}; mend its file, or leave it out"
        if related >= RELATED:
            return head + ("it knows something of the labels, but a constant is better; its numbers may be badly "
                           "calibrated, or no probabilities")
        if related > AGAINST:
            return head + ("it looks unrelated to the labels, as noise does, or rows in another order; match its rows "
                           "to the labels, or leave it out")
        return head + "it runs against the labels; check the meaning of its numbers, or leave it out"

    def undone(self, member: int, table: np.ndarray, folds: np.ndarray, least: float) -> tuple[str, float] | None:
        """(what would help, the score with it): the best mistake to undo, if it helps beyond doubt."""
        found: tuple[str, float] | None = None
        for text, other in self.repairs(member, table, folds):
            score = self.score(other)
            if self.gain(score) > least and relation(other, self.truth) > UNDONE:
                found, least = (text, score), self.gain(score)
        return found

    def repairs(self, member: int, table: np.ndarray, folds: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Mistakes undone: turned round, columns in another order, rows backwards or in the order of the folds."""
        last = self.cells.classes - int(self.rule.new_class)  # "in no class" has a column that nobody predicted
        yield from inverted(table, self.cells.kind, last)
        if last > 2:
            half = np.random.default_rng(1).random(len(table)) < 0.5
            order = column_order(table[half, :last], self.truth[half, :last])
            if relation(table[~half][:, order], self.truth[~half, :last]) > UNDONE:  # where the order was not sought
                shown = f"the order {order.tolist()}" if last <= SHOWN_CLASSES else "another order"
                text = f"its columns look misordered: in {shown} they would score"
                yield text, np.hstack([table[:, order], table[:, last:]])
        count = self.cells.items
        yield "its rows look reversed: turned round they would score", self.read(member, count - 1 - self.items)
        place = np.empty(count, dtype=np.int64)
        place[np.argsort(folds, kind="stable")] = np.arange(count)
        if (place != np.arange(count)).any():
            text = "its rows look joined fold by fold: in the order of the labels they would score"
            yield text, self.read(member, place[self.items])


def truth_table(cells: Cells, targets: np.ndarray) -> np.ndarray:
    """(k, C) float64 of the truth: 0 and 1, or ranks of values."""
    if cells.kind == "exclusive":
        return (targets[:, None] == np.arange(cells.classes)).astype(np.float64)
    if cells.kind == "labels":
        return targets.reshape(len(targets), -1).astype(np.float64)
    return item_ranks(targets)[:, None].astype(np.float64)


def constant_guesses(cells: Cells) -> list[np.ndarray]:
    """(C,) each: what a guess that knows the labels' shares alone would say of every item."""
    if cells.kind == "values":
        return [np.array([cells.targets.mean()]), np.array([np.median(cells.targets)])]
    if cells.kind == "labels":
        return [cells.targets.reshape(cells.items, -1).mean(axis=0)]
    return [np.bincount(cells.targets, minlength=cells.classes) / cells.items]


def relation(table: np.ndarray, truth: np.ndarray) -> float:
    """How far the members' numbers go with the truth, in standard deviations of the same with shuffled rows.

    0 for a constant table; infinite where the truth is the same for every item, as nothing can be told then.
    table, truth: (k, C). The statistic is the sum of products, its numbers ranked by column. With one column it is the
    test of Mann and Whitney, or Spearman's.
    """
    ranks = item_ranks(table).astype(np.float64)
    a, b = ranks - ranks.mean(axis=0), truth - truth.mean(axis=0)
    rows, columns = a.shape
    if np.abs(b).max() < 1e-9:
        return float("inf")
    squares = np.sum((a @ a.T) * (b @ b.T)) if rows < columns else np.sum((a.T @ a) * (b.T @ b))
    if rows < 2 or squares <= 1e-12:
        return 0.0
    return float(np.sum(a * b) / np.sqrt(squares / (rows - 1)))


def inverted(table: np.ndarray, kind: str, last: int) -> Iterator[tuple[str, np.ndarray]]:
    """(what was done, (k, C)): each number turned round; columns from `last` on stay."""
    if kind == "values":
        ends = table.min() + table.max()
        yield f"it looks inverted: {ends:.4g} - x would score", ends - table
        return
    part, rest = table[:, :last], table[:, last:]
    if kind == "labels":
        yield "it looks inverted: 1 - p would score", np.hstack([1 - part, rest])
        return
    for text, turned in (("1 - p", 1 - part), ("the other sign of its logits", 1 / np.maximum(part, 1e-7))):
        scaled = turned / np.maximum(turned.sum(axis=1, keepdims=True), 1e-9)
        yield f"it looks inverted: {text} would score", np.hstack([scaled, rest])


def column_order(table: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(C,) for each class the column that goes with it best, each column once. table, truth: (k, C)."""
    ranks = item_ranks(table)
    return linear_sum_assignment(-(truth - truth.mean(axis=0)).T @ ranks)[1]
