"""The report of a search: one HTML file that needs nothing else, and the same numbers as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape

import numpy as np
from markupsafe import Markup

from foldpack.look.sheet import BASE, fill_sheet
from foldpack.search.checks.chance import ChanceCheck
from foldpack.search.checks.drift import Drift
from foldpack.search.decide.decision import Fitted
from foldpack.search.find import Found
from foldpack.search.report.figures import (
    correlation_figure,
    curve_figure,
    front_figure,
    importance_figure,
    score_figure,
    weight_figure,
)
from foldpack.search.weights.solvers import Blend


@dataclass(frozen=True)
class Report:
    """What a report is made of. limit_hours: of the kernel, or None; level2: numbers of the second level, or none;

    drift: a comparison of each member's test and out-of-fold predictions, where test predictions were given; chance: of
    each member with a constant guess; interrupted: Ctrl-C ended the choice or level 2.
    """

    name: str
    found: Found
    names: list[str]
    notes: list[str]
    limit_hours: float | None = None
    level2: dict = field(default_factory=dict)
    drift: list[Drift] = field(default_factory=list)
    chance: ChanceCheck = ChanceCheck(None, [])
    interrupted: bool = False

    @property
    def all_notes(self) -> list[str]:
        """The notes, after that of a stop."""
        if not self.found.interrupted:
            return self.notes
        return ["Ctrl-C ended the choice: the best found so far is kept, its nested score is missing", *self.notes]


def report_numbers(report: Report) -> dict:
    """Every number of the report as plain data, rounded to six digits."""
    found, names = report.found, report.names
    unsure = found.uncertainty
    members = [
        {
            "name": names[m],
            "alone": found.single_scores[m],
            "weight": found.blend.weights[m],
            "weight_low": unsure.weight_low[m],
            "weight_high": unsure.weight_high[m],
            "inclusion": unsure.inclusion[m],
            "worth": unsure.worth[m],
            "worth_low": unsure.worth_low[m],
            "worth_high": unsure.worth_high[m],
            "hours": None if found.hours is None else found.hours[m],
        }
        for m in range(found.members)
    ]
    numbers = {
        "name": report.name,
        "metric": found.metric.name,
        "greater_is_better": found.metric.greater_is_better,
        "scores": score_numbers(found) | {"constant": report.chance.constant},
        "blend": blend_numbers(found.blend),
        **decided_numbers(found.decision),
        "intervals_of": found.interval_solver.name,
        "candidates": candidate_numbers(found),
        "members": members,
        "correlation": found.correlation,
        "threshold_curve": found.curve,
        "front": [{"members": [names[m] for m in entry.point.members], "hours": entry.point.hours,
                   "score": entry.score} for entry in found.front],
        "limit_hours": report.limit_hours,
        "plan": [{"member": names[unit.member], "fold": unit.fold, "hours": unit.hours} for unit in found.plan],
        "prefixes": [{"members": [names[m] for m in prefix.members], "weights": prefix.blend.weights,
                      "threshold": decided_numbers(prefix.decision)["threshold"], "score": prefix.score}
                     for prefix in found.prefixes],
        "level2": report.level2,
        "drift": [vars(one) for one in report.drift],
        "warnings": report.chance.warnings,
        "notes": report.all_notes,
        "interrupted": report.interrupted,
    }
    return {key: plain(value) for key, value in numbers.items()}


def decided_numbers(decision: Fitted) -> dict:
    """The numbers of a last step: None for those that it has not."""
    said = {} if decision is None else decision.model_dump()
    return {"threshold": said.get("threshold"), "cuts": said.get("cuts"), "new_score": said.get("none_score"),
            "new_rank": said.get("none_rank")}


def score_numbers(found: Found) -> dict:
    """In-sample, nested with its standard error, uniform and best single."""
    choice = found.choice
    best = found.single_scores.max() if found.metric.greater_is_better else found.single_scores.min()
    scores = {"in_sample": found.score, "uniform_in_sample": found.uniform_score, "best_single_in_sample": best}
    if choice is not None:
        scores |= {
            "nested": choice.mean,
            "nested_se": choice.se,
            "uniform": choice.uniform,
            "best_single": choice.best_single_per_fold.mean(),
            "optimism": found.score - choice.mean,
            "nested_per_fold": choice.per_fold,
            "uniform_per_fold": choice.uniform_per_fold,
        }
    return scores


def blend_numbers(blend: Blend) -> dict:
    """The chosen blend and its certificate."""
    return {"solver": blend.solver.name, "space": blend.solver.space, "power": blend.solver.power,
            "scale": blend.scale, "bias": blend.bias, "kkt_gap": blend.gap, "loss": blend.loss}


def candidate_numbers(found: Found) -> list[dict]:
    """Every candidate's mean over held-out folds, the chosen one marked."""
    choice = found.choice
    if choice is None:
        return []
    return [
        {"solver": found.solvers[one.solver].name if one.share else "uniform", "share": one.share, "score": score,
         "chosen": one == choice.chosen}
        for one, score in zip(choice.candidates, choice.by_candidate, strict=True)
    ]


def plain(value: object) -> object:
    """Numpy and dataclass parts -> lists, numbers and text that JSON knows; floats to six significant places."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}") if np.isfinite(value) else None
    return value


def report_json(numbers: dict) -> str:
    """The numbers as JSON text."""
    return json.dumps(numbers, indent=1, allow_nan=False) + "\n"


def report_html(numbers: dict) -> str:
    """One HTML page with inline figures; nothing is fetched."""
    scores = numbers["scores"]
    parts = [f"<h1>{escape(numbers['name'])}: {escape(numbers['metric'])}</h1>", summary_html(numbers)]
    parts += [f'<p class="warning">Warning: {escape(warning)}</p>' for warning in numbers["warnings"]]
    parts += [f'<p class="note">{escape(note)}</p>' for note in numbers["notes"]]
    figures = [
        ("Scores", score_figure(scores, numbers["metric"])),
        (f"Weights, with 5 % to 95 % of bootstrap refits: {numbers['intervals_of']}",
         weight_figure(numbers["members"])),
        ("Score against hours", front_figure(numbers["front"], numbers["limit_hours"], numbers["metric"])),
        ("Score against threshold", curve_figure(numbers["threshold_curve"], numbers["threshold"])),
        ("Correlation of members", correlation_figure(numbers["correlation"], [m["name"] for m in numbers["members"]])),
        ("What level 2 looks at", importance_figure(numbers["level2"].get("importance", {}))),
    ]
    for title, svg in figures:
        if svg:
            parts.append(f"<h2>{escape(title)}</h2>{svg}")
    parts += [members_html(numbers), candidates_html(numbers), plan_html(numbers)]
    return fill_sheet(BASE, title=numbers["name"], body=Markup("\n".join(parts)))


def summary_html(numbers: dict) -> str:
    """One paragraph: what was found and how sure it is."""
    scores, blend = numbers["scores"], numbers["blend"]
    text = [f"Blend: {blend['solver']}."]
    if scores.get("nested") is not None:
        text.append(f"Nested {scores['nested']:.5f} ± {scores['nested_se']:.5f}, uniform {scores['uniform']:.5f}, "
                    f"best single {scores['best_single']:.5f}; in-sample {scores['in_sample']:.5f}, "
                    f"so the optimism is {scores['optimism']:+.5f}.")
    else:
        text.append(f"In-sample {scores['in_sample']:.5f}; there is no nested score.")
    if blend["kkt_gap"] is not None:
        text.append(f"Certificate: the loss is within {blend['kkt_gap']:.1e} of its optimum.")
    if isinstance(numbers["threshold"], float):
        text.append(f"Threshold {numbers['threshold']:.4f}.")
    if numbers["level2"]:
        text.append(numbers["level2"]["verdict"])
    return f"<p>{escape(' '.join(text))}</p>"


def members_html(numbers: dict) -> str:
    """A table of the members."""
    head = ["member", "alone", "weight", "5 %", "95 %", "used in", "worth", "hours"]
    rows = [
        [m["name"], f"{m['alone']:.5f}", f"{m['weight']:.4f}", f"{m['weight_low']:.3f}", f"{m['weight_high']:.3f}",
         f"{m['inclusion']:.0%}", f"{m['worth']:.2e}", "" if m["hours"] is None else f"{m['hours']:.2f}"]
        for m in numbers["members"]
    ]
    return "<h2>Members</h2>" + table_html(head, rows) + (
        "<p>Worth: rise of the loss when the member is left out and the others are refitted.</p>"
    )


def choice_text(numbers: dict) -> str:
    """By which rule the blend was chosen; "" where nothing was tried."""
    tried = numbers["candidates"]
    chosen = next((one for one in tried if one["chosen"]), None)
    if chosen is None:
        return ""
    if len(numbers["members"]) == 1:
        return "There is one member, and nothing to weigh."
    rule = "beats them in held-out score by more than one standard error of the paired difference"
    if chosen["solver"] == "uniform":
        return f"Equal weights stand: no fit {rule}."
    equal = next(one["score"] for one in tried if one["solver"] == "uniform")
    text = (f"Equal weights are left only for a fit that {rule}; this one does, with {chosen['score']:.5f} against "
            f"{equal:.5f}.")
    scores = numbers["scores"]
    if scores.get("nested") is None:
        return text
    if len(scores["nested_per_fold"]) == 2:
        return (f"{text} Of two folds none is left to repeat the choice on, so the nested score is that of equal "
                "weights.")
    gain = (scores["nested"] - scores["uniform"]) * (1 if chosen["score"] > equal else -1)
    return text if gain > 0 else (f"{text} Repeated without the scored fold the choice gains nothing, "
                                  f"{scores['nested']:.5f} against {scores['uniform']:.5f}: expect no more of it than "
                                  "of equal weights.")


def candidates_html(numbers: dict) -> str:
    """A table of what was tried."""
    rows = [[c["solver"] + (" ← chosen" if c["chosen"] else ""), f"{c['share']:.2f}", _fixed(c["score"])]
            for c in numbers["candidates"]]
    head = ["solver", "share of its weights", "held-out score"]
    return f"<h2>Tried</h2><p>{choice_text(numbers)}</p>" + table_html(head, rows) if rows else ""


def plan_html(numbers: dict) -> str:
    """A table of the units in their order."""
    rows = [[u["member"], str(u["fold"]), f"{u['hours']:.2f}"] for u in numbers["plan"]]
    return "<h2>Plan</h2>" + table_html(["member", "fold", "done after hours"], rows) if rows else ""


def table_html(head: list[str], rows: list[list[str]]) -> str:
    """A table that scrolls sideways on a narrow screen."""
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="numbers"><tr>{top}</tr>{body}</table></div>'


def report_lines(numbers: dict) -> list[str]:
    """The report for a terminal."""
    scores, blend = numbers["scores"], numbers["blend"]
    lines = [f"{numbers['name']}: {len(numbers['members'])} members, metric {numbers['metric']}"]
    lines += [f"  note: {note}" for note in numbers["notes"]]
    for m in numbers["members"]:
        lines.append(f"  {m['name']}: alone {m['alone']:.4f}, weight {m['weight']:.4f} "
                     f"({m['weight_low']:.3f} to {m['weight_high']:.3f})")
    gap = "" if blend["kkt_gap"] is None else f", KKT gap {blend['kkt_gap']:.1e}"
    lines.append(f"  blend: {blend['solver']}{gap}")
    lines += [f"  {why}" for why in [choice_text(numbers)] if why]
    if numbers["intervals_of"] != blend["solver"]:
        lines.append(f"  intervals of the weights: refits of {numbers['intervals_of']}, whose loss has them")
    constant = "" if scores["constant"] is None else f", one constant guess for all {scores['constant']:.4f}"
    lines.append(f"  in-sample {scores['in_sample']:.4f}, uniform {scores['uniform_in_sample']:.4f}{constant}")
    if scores.get("nested") is not None:
        lines.append(f"  nested {scores['nested']:.4f} +- {scores['nested_se']:.4f}, uniform {scores['uniform']:.4f}, "
                     f"best single {scores['best_single']:.4f}: all fitted without the scored fold")
    if isinstance(numbers["threshold"], float):
        lines.append(f"  threshold {numbers['threshold']:.4f}")
    if numbers["new_score"] is not None:
        latest = "" if numbers["new_rank"] is None else f", and stands at place {numbers['new_rank']} at the latest"
        lines.append(f"  'in no class' scores {numbers['new_score']:.4f}{latest}")
    if numbers["level2"]:
        lines.append(f"  {numbers['level2']['verdict']}")
    return lines + [f"warning: {warning}" for warning in numbers["warnings"]]


def _fixed(score: float | None) -> str:
    return "" if score is None else f"{score:.5f}"
