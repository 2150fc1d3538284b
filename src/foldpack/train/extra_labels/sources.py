"""The finished runs that say something of items: named one by one, or as the members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foldpack.data.runs import Run, read_run
from foldpack.errors import DataError
from foldpack.models.checkpoint import CheckpointInfo
from foldpack.search.runs import require_same_rows
from foldpack.settings.ensemble import EnsembleSpec, read_spec
from foldpack.settings.stages import MemberSpec, ScoreBlend

FITTED_DOUBT = "blend weights were fitted on the labels of all folds"
CHOSEN_DOUBT = "which runs and views speak was chosen by a search on the labels of all folds; name the runs themselves"


@dataclass(frozen=True)
class Source:
    """A run with its share."""

    run: Run
    weight: float
    views: list[str]
    merge: str

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.meta.run


@dataclass(frozen=True)
class Sources:
    """All that speak, and how they are blended."""

    members: list[Source]
    rule: ScoreBlend
    doubts: list[str]  # why an out-of-fold score of whoever learns from them may be too good


def read_sources(names: Sequence[str], runs: Path, fitted: bool) -> Sources:
    """names: of finished runs, which count the same; or one ensemble's YAML, whose members with a weight do too, unless
    `fitted` takes the weights. Raises DataError, SpecError."""
    if len(names) == 1 and names[0].endswith((".yml", ".yaml")):
        sources = ensemble_sources(Path(names[0]), runs, fitted)
    elif fitted:
        raise DataError(f"--fitted takes the weights of an ensemble, and {', '.join(names)} is none; name its YAML")
    else:
        found = [read_run(runs / name) for name in names]
        sources = Sources([Source(run, 1.0, run.meta.views, run.meta.merge) for run in found], ScoreBlend(), [])
    require_same_rows([source.run for source in sources.members])
    for source in sources.members:
        meta, first = source.run.meta, sources.members[0].run.meta
        if meta.embed is not None:
            raise DataError(f"run '{meta.run}': task 'embed' says which item is like which, and that is no label; name "
                            "runs that classify or regress")
        if meta.folds_sha256 != first.folds_sha256:
            raise DataError(f"runs '{first.run}' and '{meta.run}' were trained on different folds.csv; name runs of "
                            "the same")
    doubts = [f"run '{source.name}': {doubt}" for source in sources.members for doubt in source.run.meta.doubts]
    return Sources(sources.members, sources.rule, [*sources.doubts, *doubts])


def ensemble_sources(path: Path, runs: Path, fitted: bool) -> Sources:
    """The members of an ensemble."""
    spec = read_spec(path)
    require_blend(spec, path, fitted)
    members = [member for member in spec.last.members if member.weight > 0]
    found = [Source(member_run(member, runs, path), member.weight if fitted else 1.0, member.views, member.merge)
             for member in members]
    return Sources(found, spec.last.scores if fitted else ScoreBlend(), [FITTED_DOUBT if fitted else CHOSEN_DOUBT])


def require_blend(spec: EnsembleSpec, path: Path, fitted: bool) -> None:
    """Raises DataError for an ensemble that is more than a blend of runs."""
    if len(spec.stages) > 1:
        raise DataError(f"{path}: it has {len(spec.stages)} stages, and labels are those of test images; name an "
                        "ensemble of one stage")
    if spec.last.level2:
        raise DataError(f"{path}: its level 2 was fitted on the labels of all folds, so no fold could learn from it "
                        "honestly; search again without --level2, under another name")
    if fitted and getattr(spec.last.fuse, "space", "") == "rank":
        raise DataError(f"{path}: it blends ranks, which are no probabilities; leave --fitted out")


def member_run(member: MemberSpec, runs: Path, path: Path) -> Run:
    """The run of a member, as the ensemble knows it. Raises DataError."""
    run = read_run(runs / member.run)
    if {fold.fold: fold.sha256 for fold in run.meta.folds} != {fold.fold: fold.sha256 for fold in member.folds}:
        raise DataError(f"{path}: run '{member.run}' was trained again since; search again")
    if strange := [view for view in member.views if view not in run.meta.views]:
        raise DataError(f"{path}: run '{member.run}' has no out-of-fold predictions of view '{strange[0]}'; its views "
                        f"are {', '.join(run.meta.views)}")
    return run


def require_fold(info: CheckpointInfo, source: Source, fold: int, path: Path) -> None:
    """Raises DataError for a checkpoint that is of another fold than its name says, or of other folds."""
    if (info.fold, info.folds_sha256) != (fold, source.run.meta.folds_sha256):
        raise DataError(f"{path}: it is of run '{info.run}' fold {info.fold}, or of another folds.csv than the run's; "
                        f"it may have learned from the items of fold {fold}; train the run again")
