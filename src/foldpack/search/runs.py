"""From finished runs to an ensemble: what was found, the YAML, and the numbers of the report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from foldpack.competitions.adapters import answer_form, find_adapter
from foldpack.competitions.answers.form import Form
from foldpack.data.runs import Run, read_run
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import DataError
from foldpack.metrics.plugin import find_metric
from foldpack.predict.views import cost_of_views
from foldpack.search.cells.cells import Cells, Kind
from foldpack.search.checks.chance import check_chance
from foldpack.search.checks.lint import absent_notes, duplicate_notes, score_notes
from foldpack.search.decide.queries import queries_of, run_weights
from foldpack.search.find import Found, Prefix, Progress, SearchOptions, find_ensemble
from foldpack.search.hours.cost import START_SECONDS, Machine, MemberCost
from foldpack.search.level2.files import remove_boosters
from foldpack.search.level2.fit import Level2Options, require_level2_fits
from foldpack.search.level2.step import Level2Source, add_level2
from foldpack.search.metric_fit import followed_metric, require_form_fits, require_metric_fits, run_rule
from foldpack.search.report.report import Report, report_numbers
from foldpack.search.retrieval.choice import choose_retrieval
from foldpack.search.run_rows import cell_folds, run_cells, run_reader, run_stream, run_truth
from foldpack.search.spec_parts import asked_decision, decision_spec, fuse_spec, metric_spec
from foldpack.search.weights.solvers import in_space
from foldpack.settings.ensemble import BudgetSpec, EnsembleSpec
from foldpack.settings.outputs import Classes
from foldpack.settings.retrieve import Neighbours, Retrieval
from foldpack.settings.stages import (
    FoldSpec,
    GallerySpec,
    MemberSpec,
    Name,
    PlanSpec,
    PrefixSpec,
    ShareSpec,
    SpecError,
    StageSpec,
    UnitSpec,
)
from foldpack.settings.strict_model import StrictModel, parse_strict

SINGLE_MARGIN = 0.005  # share of the score by which one member must beat the blend before it is told
ORDER_IMAGES = 10_000  # where the number of images is not given: the plan's order hardly depends on it


@dataclass(frozen=True)
class RunSearch:
    """What the search of runs is asked for. metric: a name or a .py file; None takes the competition's.

    images: to predict in the kernel; None makes no front and keeps all runs that get weight.

    hours: the kernel's limit; device_factor: how many times slower its device is; devices: how many it has;
    level2: also try a level 2, its boosters written into the folder `boosters`; retrieval: of runs of vectors, also try
    other ways to compare queries with galleries than their own.
    """

    metric: str | None = None
    hours: float = 9.0
    margin: float = BudgetSpec().margin
    images: int | None = None
    device_factor: float = 1.0
    devices: int = 1
    slug: str | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    level2: Level2Options | None = None
    boosters: Path | None = None
    retrieval: bool = True


class EnsembleSettings(StrictModel):
    """What the YAML takes over as it is, checked before the search."""

    name: Name
    hours: Annotated[float, Field(gt=0, le=24)]
    slug: Name | None


def search_runs(
    name: str, folders: list[Path], asked: RunSearch, progress: Progress | None = None
) -> tuple[EnsembleSpec, dict]:
    """Fit the blend of some runs. Returns the ensemble and the numbers of the report.

    Raises DataError when the runs do not belong together.
    """
    parse_strict(EnsembleSettings, {"name": name, "hours": asked.hours, "slug": asked.slug}, "ensemble", SpecError)
    runs = [read_run(folder) for folder in folders]
    require_same_rows(runs)
    # Forty lists of ids would be as large as the store.
    runs = [replace(run, ids=runs[0].ids, groups=runs[0].groups) for run in runs]
    competition = find_adapter(runs[0].meta.competition)
    followed = ("", "") if asked.metric else followed_metric(competition, runs[0].meta.metric, runs[0].meta.task)
    metric = find_metric(asked.metric or followed[0])
    require_metric_fits(metric, runs[0].meta)
    require_form_fits(metric, competition, runs[0].meta.classes)
    if asked.level2 is not None and not isinstance(runs[0].meta.outputs, Classes):
        raise DataError(f"run '{runs[0].meta.run}': it predicts {runs[0].meta.outputs.kind}, and level 2 chooses among "
                        "classes; leave --level2 out")
    asked = replace(asked, options=replace(asked.options, rule=run_rule(asked.options.rule, runs[0].meta, competition)))
    folds, own, told = cell_folds(runs[0]), runs[0].meta.embed, list[str]()
    trained = [run.meta.embed for run in runs]
    weights = None if own is None else run_weights(run_truth(runs[0]), runs[0].meta, competition, metric)
    if own is not None and asked.retrieval:
        tell = (lambda share: None) if progress is None else partial(progress, "retrieval")
        runs, told = choose_retrieval(runs, run_truth(runs[0]), folds, metric, asked.options.rule, tell, weights)
    cells = replace(run_cells(runs, progress), weights=weights)
    if asked.level2 is not None:
        require_level2_fits(cells, folds, asked.options.rule, asked.level2)
    found = find_ensemble(cells, metric, folds, run_options(runs, asked), progress)
    names = [run.meta.run for run in runs]
    notes = [note for note in [followed[1], *told] if note] + doubt_notes(runs)
    notes += [] if weights is None else [f"scores weigh the queries as {competition.name} says of its test set: "
                                         f"{queries_of(competition).told()}"]
    notes += duplicate_notes(found.correlation, names) + score_notes(found.single_scores, names, metric)
    chance = check_chance(cells, names, metric, asked.options.rule, folds, None if cells.full else run_reader(runs))
    if cells.kind != "values":
        notes += absent_notes(cells.targets, runs[0].meta.classes, metric)
    notes += floor_notes(cells, found) + limit_notes(found, asked) + single_notes(found, names)
    if any(run.meta.embed != before for run, before in zip(runs, trained, strict=True)):
        notes.append("how members retrieve was chosen on all folds, and the honest score takes it as given: it may be "
                     "a little too good; the line of each run has the score of the choice itself, made without the "
                     "scored part")
    if len(np.unique(folds)) < 2:
        notes.append("the runs have out-of-fold rows of one fold only: equal weights, no nested score")
    limit = asked.hours if asked.images is not None else None
    spec = run_spec(name, runs, found, asked, 1 if own is None else own.neighbours)
    level2: dict = {}
    stopped = found.interrupted
    if asked.level2 is not None and asked.boosters is not None:
        source = run_level2(runs, cells, found, spec)
        part, level2, more = add_level2(source, found, folds, asked.level2, asked.boosters, progress)
        notes += more
        stopped = not level2  # Ctrl-C, during the choice or in level 2
        if part is not None:
            part = part.model_copy(update={"decision": asked_decision(answer_form(competition), part.decision)})
        spec = spec.with_last(level2=[] if part is None else [part])
    elif asked.boosters is not None:
        remove_boosters(asked.boosters)
    return spec, report_numbers(Report(name, found, names, notes, limit, level2, [], chance, stopped))


def doubt_notes(runs: list[Run]) -> list[str]:
    """A line for each run whose out-of-fold predictions are not honest, as it says itself."""
    return [f"'{run.meta.run}': its out-of-fold score, and so that of a blend with it, may be too good: "
            f"{'; '.join(run.meta.doubts)}" for run in runs if run.meta.doubts]


def run_level2(runs: list[Run], cells: Cells, found: Found, spec: EnsembleSpec) -> Level2Source:
    """What level 2 is fitted on: the runs of the ensemble, row by row as the kernel will see them."""
    used = [run_stream(runs[m]) for m in found.used]
    stage = spec.last
    weights = np.array([member.weight for member in stage.members])
    part = cells.take_members(found.used)
    blended = found.used_blend.of(in_space(part, found.blend.solver))

    def members(first: int, end: int) -> np.ndarray:
        return np.stack([stream(first, end) for stream in used])

    def blend(first: int, end: int) -> np.ndarray:
        if stage.scores.space == "rank":  # a rank among all items, not among these rows
            return cells.dense(blended)[first:end]
        return blend_probs(members(first, end), weights, stage.scores, stage.outputs.exclusive)

    if stage.scores.space == "rank" and not cells.full:
        raise DataError("level 2 on a blend of ranks needs all predictions in memory; leave rank out of --spaces")
    return Level2Source([member.run for member in stage.members], members, blend, part.with_values(blended[None]),
                        np.asarray(stage.outputs.prior, dtype=np.float32), tuple(floor_notes(cells, found)))


def floor_notes(cells: Cells, found: Found) -> list[str]:
    """What a compact store cannot promise: a best threshold below its floor, scores that need every cell."""
    if cells.full:
        return []
    if found.metric.needs != "labels":
        exact = found.metric.name in ("accuracy", "error", "micro_f1", "map1", "map3", "top5_accuracy", "log_loss")
        if exact and cells.kind == "exclusive" and cells.each_best:
            return []
        return [f"{found.metric.name} counts cells with probabilities up to {cells.floor:.3g} as 0: not all fit memory"]
    tried = [threshold for threshold, _ in found.curve]
    scores = [score for _, score in found.curve]
    if scores and int(np.argmax(scores)) > len(tried) // 4:
        return []
    return [f"only probabilities above {cells.floor:.3g} fit memory; the best threshold may be lower"]


def single_notes(found: Found, names: list[str]) -> list[str]:
    """What to say when one member alone scores better than the blend, on the rows of the fit."""
    sign = 1 if found.metric.greater_is_better else -1
    best = int(np.nanargmax(sign * found.single_scores))
    alone = float(found.single_scores[best])
    if not sign * (alone - found.score) > SINGLE_MARGIN * abs(found.score):
        return []
    return [f"'{names[best]}' alone scores {alone:.4f}, the blend {found.score:.4f}: the others spoil it; search again "
            "without the weakest members"]


def limit_notes(found: Found, asked: RunSearch) -> list[str]:
    """What to say when even the cheapest members take longer than the limit."""
    if asked.images is None or found.hours is None:
        return []
    needed, limit = float(found.hours[found.used].sum()), limit_hours(asked)
    if needed <= limit:
        return []
    return [f"even the cheapest members need {needed:.2g} h for {asked.images:,} images on {asked.devices} device(s), "
            f"but {max(0.0, limit):.2g} h of {asked.hours:g} h are free for them: the kernel will leave units out; "
            "train a smaller network, take fewer views or folds, or give --devices 2 for two GPUs"]


def limit_hours(asked: RunSearch) -> float:
    """Hours of the limit that units may take: without the margin and the kernel's start."""
    return asked.hours * (1 - asked.margin) - START_SECONDS / 3600


def run_options(runs: list[Run], asked: RunSearch) -> SearchOptions:
    """The options of the array search, with each run's measured cost."""
    costs = [MemberCost(run.meta.seconds_per_image, len(run.meta.folds), cost_of_views(run.meta.views, run.meta))
             for run in runs]
    machine = Machine(asked.images or ORDER_IMAGES, asked.device_factor, asked.devices)
    limit = limit_hours(asked) if asked.images else None
    return replace(asked.options, costs=costs, machine=machine, limit_hours=limit,
                   with_front=asked.images is not None)


def require_same_rows(runs: list[Run]) -> None:
    """Raises DataError unless all runs predict the same items, classes and folds, against the same targets."""
    first = runs[0]
    for run in runs[1:]:
        for what, same in (
            ("competition", run.meta.competition == first.meta.competition),
            ("classes", run.meta.classes == first.meta.classes),
            ("ids", run.ids == first.ids),
            ("folds", np.array_equal(run.fold, first.fold)),
            ("targets", same_targets(run, first)),
            ("answers", same_answers(run, first)),
            ("outputs", run.meta.outputs == first.meta.outputs),
            ("range", run.meta.range == first.meta.range),
        ):
            if not same:
                raise DataError(f"runs '{first.meta.run}' and '{run.meta.run}' differ in their {what}; blend runs "
                                "that were trained on one folds.csv and on the same folds of it")
    names = [run.meta.run for run in runs]
    if len(set(names)) != len(names):
        raise DataError(f"a run is named twice: {', '.join(names)}; name each once")


def same_targets(run: Run, other: Run) -> bool:
    """Whether two runs were trained on the same labels; by their digests, which `read_run` has checked, if it can be.

    Looking at the arrays would keep every run's own map of them in memory.
    """
    return run.meta.targets_sha256 == other.meta.targets_sha256 or np.array_equal(run.targets, other.targets)


def same_answers(run: Run, other: Run) -> bool:
    """Whether two runs of the same images answer the same of them together."""
    if run.groups is None or other.groups is None:
        return run.groups is other.groups
    return run.groups.names == other.groups.names and np.array_equal(run.groups.order, other.groups.order)


def run_spec(name: str, runs: list[Run], found: Found, asked: RunSearch, neighbours: int = 1) -> EnsembleSpec:
    """The YAML of what was found. Runs without weight are left out. neighbours: of members that do not say how they
    retrieve."""
    meta = runs[0].meta
    task = meta.task if meta.task in ("regress", "embed") else "classify"
    fuse = fuse_spec(found.blend)
    if meta.embed is not None:
        fuse = Neighbours(**fuse.model_dump(exclude={"kind"}), neighbours=neighbours)
    kind: Kind = "values" if task == "regress" else "exclusive" if meta.outputs.exclusive else "labels"
    competition = find_adapter(meta.competition)
    form = answer_form(competition)
    decision = asked_decision(form, decision_spec(found.metric, kind, found.decision, found.rule))
    assert decision is not None
    return EnsembleSpec(
        name=name,
        competition=meta.competition,
        slug=asked.slug or competition.slug,
        metric=metric_spec(found),
        budget=BudgetSpec(hours=asked.hours, margin=asked.margin),
        stages=[StageSpec(
            name=task,
            task=task,
            outputs=meta.outputs,
            members=[member_of(runs[m], float(found.blend.weights[m]), neighbours) for m in found.used],
            plan=_plan_spec(runs, found, form),
            fuse=fuse,
            decision=decision,
        )],
    )


def member_of(run: Run, weight: float, neighbours: int = 1) -> MemberSpec:
    """A run's entry in the YAML. neighbours: of a member that retrieves by nothing else."""
    meta = run.meta
    retrieve = None if meta.embed is None else meta.embed.retrieval
    return MemberSpec(
        run=meta.run,
        weight=weight,
        views=meta.views,
        merge=meta.merge,
        network=meta.network,
        size=meta.size,
        canvas=meta.canvas,
        decoder=meta.decoder,
        geometry=meta.geometry,
        channels=meta.channels,
        start=meta.start,
        retrieve=None if retrieve == Retrieval(neighbours=neighbours) else retrieve,
        seconds_per_image=float(f"{meta.seconds_per_image:.3g}"),
        folds=[FoldSpec(fold=fold.fold, sha256=fold.sha256,
                        gallery=None if fold.gallery is None else GallerySpec(sha256=fold.gallery))
               for fold in meta.folds],
    )


def _plan_spec(runs: list[Run], found: Found, form: Form | None) -> PlanSpec:
    units = [UnitSpec(run=runs[unit.member].meta.run, fold=runs[unit.member].meta.folds[unit.fold].fold)
             for unit in found.plan]
    return PlanSpec(units=units, prefixes=[_prefix_spec(runs, prefix, found, form)
                                            for prefix in found.prefixes])


def _prefix_spec(runs: list[Run], prefix: Prefix, found: Found, form: Form | None) -> PrefixSpec:
    shares = [ShareSpec(run=runs[m].meta.run, weight=float(weight))
              for m, weight in zip(prefix.members, prefix.blend.weights, strict=True)]
    return PrefixSpec(
        members=shares,
        scale=prefix.blend.scale,
        bias=prefix.blend.bias,
        decision=asked_decision(form, prefix.decision),
        oof=round(prefix.score, 6),
    )
