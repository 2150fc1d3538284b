"""Calibration of members, fitted on their out-of-fold scores: a temperature over the identities of a query, or how
likely a pair is alike (Platt 1999). Taken for all members or for none, by what their even blend scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp

from foldpack.search.retrieval.judge import Judge, ScoreReader, nested_choice
from foldpack.search.weights.selection import standard_error
from foldpack.settings.retrieve import Calibration

BINS = 4096  # of scores in [0, 1]
MOST_CELLS = 1 << 25  # of answers with identities, that something is fitted on
MOST_SCALE = 1e4
DIGITS = 5  # of numbers as they are written

# (member, its calibration, None for scores as they are) -> its scores
CalibratedReader = Callable[[int, Calibration | None], ScoreReader]


def choose_calibration(judge: Judge, reader: CalibratedReader, own: Sequence[Calibration | None]
                       ) -> tuple[list[Calibration | None], str]:
    """(how each member is calibrated, a line for the report). own: by their configurations, which stay unless another
    way is better by more than one standard error over the parts of the answers."""
    ways: dict[str, list[Calibration | None]] = {"their own" if any(own) else "none": list(own)}
    plain = [reader(member, None) for member in range(len(own))]
    for kind, fit in (("softmax", fit_softmax), ("sigmoid", fit_sigmoid)):
        fitted = [fit(*scores_to_fit(judge, read)) for read in plain]
        if all(fitted):
            ways[kind] = list(fitted)
    gains = [judge.gains(even_blend([reader(member, how) for member, how in enumerate(hows)]))
             for hows in ways.values()]
    chosen, nested = nested_choice(gains)
    kind, scores = list(ways)[chosen], ", ".join(
        f"{kind} {abs(np.diagonal(table).mean()):.4f}" for kind, table in zip(ways, gains, strict=True))
    return ways[kind], (f"calibration of identities' scores: {kind}; {judge.metric.name} of the even blend: "
                        f"{scores}; {abs(nested.mean()):.4f} (+- {standard_error(nested):.4f}), each part of the "
                        "answers by what was chosen without it")


def even_blend(readers: Sequence[ScoreReader]) -> ScoreReader:
    """The mean of the members."""
    return lambda answers: np.stack([read(answers) for read in readers]).mean(axis=0)


def scores_to_fit(judge: Judge, read: ScoreReader) -> tuple[np.ndarray, np.ndarray]:
    """((n, P) scores of the identities, (n,) truths), of so many answers as fit memory."""
    classes = read(judge.rows[:1]).shape[1]
    step = max(1, -(-len(judge.rows) * classes // MOST_CELLS))
    scores = read(judge.rows[::step])
    return (scores[:, :-1] if judge.rule.new_class else scores), judge.targets[::step]


def fit_softmax(scores: np.ndarray, truth: np.ndarray) -> Calibration | None:
    """The scale that makes the truth likeliest. None where no answer's identity can be found.

    scores: (n, P) in [0, 1], 0 of identities without items; truth: (n,) int, P and more: of no identity.
    """
    known = np.flatnonzero(truth < scores.shape[1])
    known = known[scores[known, truth[known]] > 0]
    if not len(known):
        return None
    there = np.where(scores[known] > 0, scores[known], -np.inf).astype(np.float64)
    right = there[np.arange(len(known)), truth[known]]

    def surprise(log_scale: float) -> float:
        scale = np.exp(log_scale)
        return float((logsumexp(scale * there, axis=1) - scale * right).mean())

    found = minimize_scalar(surprise, bounds=(0.0, np.log(MOST_SCALE)), method="bounded")
    return Calibration(kind="softmax", scale=float(f"{np.exp(found.x):.{DIGITS}g}"))


def fit_sigmoid(scores: np.ndarray, truth: np.ndarray) -> Calibration | None:
    """Logistic regression of whether a pair is alike on its score. None where no answer's identity can be found, or
    where higher scores are not likelier right. Shapes as in `fit_softmax`; scores are counted in bins."""
    right = truth[:, None] == np.arange(scores.shape[1])
    pairs = [np.bincount((scores[(scores > 0) & kind] * (BINS - 1)).round().astype(np.int64), minlength=BINS)
             for kind in (right, ~right)]
    if not pairs[0].any() or not pairs[1].any():
        return None
    at, alike, total = np.arange(BINS) / (BINS - 1), pairs[0], pairs[0] + pairs[1]

    def surprise(line: np.ndarray) -> tuple[float, np.ndarray]:
        lifted = line[0] * at + line[1]
        ahead = expit(lifted) * total - alike
        return (float((np.logaddexp(0, lifted) * total - lifted * alike).sum() / total.sum()),
                np.array([(ahead * at).sum(), ahead.sum()]) / total.sum())

    scale, bias = minimize(surprise, np.array([10.0, -10.0]), jac=True, method="BFGS").x
    if not 0 < scale <= MOST_SCALE:
        return None
    return Calibration(kind="sigmoid", scale=float(f"{scale:.{DIGITS}g}"), shift=float(f"{-bias / scale:.{DIGITS}g}"))
