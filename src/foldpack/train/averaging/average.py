"""`foldpack average`: a run whose weights are, fold by fold, the mean of checkpoints. It stays only if it is better."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelerate.utils import set_seed

from foldpack.competitions.adapters import find_adapter
from foldpack.data.runs import Run, RunMeta, append_log, checkpoint_path, read_run, write_meta, write_oof
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.plugin import find_metric
from foldpack.models.checkpoint import CheckpointInfo, read_checkpoint
from foldpack.settings.network import StartFrom
from foldpack.settings.run import ConfigError, RunConfig, config_text, read_config
from foldpack.settings.stages import Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.training.extra_labels import EXTRA_BLOCKS
from foldpack.train.averaging.kept_epochs import KeptEpochs, read_info
from foldpack.train.averaging.soup import greedy_soup, mean_weights, renew_norms
from foldpack.train.evaluate import FoldResult, is_better
from foldpack.train.load import CACHE, load_training_set
from foldpack.train.loop.training import FoldTraining, fold_seed
from foldpack.train.run import RunTrainer, Say

How = Literal["uniform", "greedy"]
Ingredients = list[tuple[Path, CheckpointInfo]]  # of a fold, best first


class AverageSettings(StrictModel):
    """What the command is asked for."""

    name: Name  # of the new run
    how: How


@dataclass(frozen=True)
class AveragedFold:
    """What became of a fold."""

    result: FoldResult
    chosen: Ingredients
    before: float  # score of the fold in the run that is to be beaten


def average_runs(names: Sequence[str], new: str, how: str, root: Path, folds_csv: Path, runs: Path,
                 say: Say = print) -> RunMeta | None:
    """Average the kept epochs of one run, or the checkpoints of several, fold by fold, and predict out of fold.

    Writes `runs/<new>/` if that scores better than the run itself, of several the best of them; else nothing, and None
    comes back. how: "uniform", the mean of all, or "greedy", see `greedy_soup`. root: the competition's folder.
    Raises FoldpackError.
    """
    parse_strict(AverageSettings, {"name": new, "how": how}, "foldpack average", ConfigError)
    if (runs / new).exists():
        raise ConfigError(f"{runs / new}: there is such a run already; give another --name, or remove it")
    if len(set(names)) != len(names):
        raise ConfigError(f"a run is named twice: {', '.join(names)}; name each once")
    found = [read_run(runs / name) for name in names]
    metric = find_metric(found[0].meta.metric)
    base = found[0]
    for run in found[1:]:
        base = run if is_better(metric, run.meta.score, base.meta.score) else base
    require_same_runs(found, base, folds_csv)
    parts = {fold.fold: ingredients(found, fold.fold) for fold in base.meta.folds}
    require_mean(base, len(found) > 1, parts)
    old = read_config(base.folder / "config.yml")
    config = old.model_copy(update={"run": new, "keep": 0, "folds": list(parts)})
    folder = runs / f".{new}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        doubts = list(dict.fromkeys(doubt for run in found for doubt in run.meta.doubts))
        if how == "greedy":
            doubts.append("greedy chose what to average by the very predictions that are scored, so the score is a "
                          "little too good")
        meta = write_average(config, base, parts, how, root, folds_csv, folder, runs / CACHE, say, doubts)
        gained = is_better(metric, meta.score, base.meta.score)
        say(f"{new}: oof {metric.name} {meta.score:.4f}; {base.meta.run}: {base.meta.score:.4f}; "
            + (f"better, so it is {runs / new}" if gained else "no better, so nothing is written")
            + ("; greedy chose by these scores, so its own is a little too good" if how == "greedy" else ""))
        if gained:
            folder.rename(runs / new)
        return meta if gained else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ingredients(found: Sequence[Run], fold: int) -> Ingredients:
    """What is averaged of a fold, best first. Raises ModelError for a checkpoint that cannot be read."""
    metric = find_metric(found[0].meta.metric)
    if len(found) == 1:
        return KeptEpochs(found[0].folder, fold, 0, metric).best()
    parts = [(path, read_info(path)) for path in (checkpoint_path(run.folder, fold) for run in found)]
    sign = -1 if metric.greater_is_better else 1
    return sorted(parts, key=lambda each: sign * each[1].score)


def require_same_runs(found: Sequence[Run], base: Run, folds_csv: Path) -> None:
    """Raises DataError for runs that lie apart: they began with other weights, or learned from other items."""
    first = base.meta
    if first.folds_sha256 != sha256_file(folds_csv):
        raise DataError(f"run '{first.run}' was trained on other folds than those of {folds_csv}; give --folds its own")
    starts = [(run.meta.start, begun_with(run)) for run in found]
    if len(found) > 1 and starts[0] == (None, None) == starts[-1]:
        raise DataError(f"run '{first.run}' started from scratch: means of runs need runs that started from the same "
                        "weights; name one run, whose kept epochs are averaged")
    trained = [each.fold for each in first.folds]
    for run in found:
        for what, same in (("folds", run.meta.folds_sha256 == first.folds_sha256
                            and [each.fold for each in run.meta.folds] == trained),
                           ("start weights", (run.meta.start, begun_with(run)) == starts[0]),
                           ("metric", run.meta.metric == first.metric),
                           ("classes", run.meta.classes == first.classes and run.meta.task == first.task)):
            if not same:
                raise DataError(f"runs '{first.run}' and '{run.meta.run}' differ in their {what}; a mean needs runs "
                                "of the same network, fine-tuned from the same weights on the same folds")


def begun_with(run: Run) -> str | None:
    """The hash of the run whose fold weights it began with."""
    begin = read_config(run.folder / "config.yml").begin
    return None if begin is None else begin.sha256


def require_mean(base: Run, several: bool, parts: dict[int, Ingredients]) -> None:
    """Raises DataError for checkpoints that have no mean: too few, or of different networks."""
    if not several and all(len(part) < 2 for part in parts.values()):
        raise DataError(f"{base.folder}: it kept {max(map(len, parts.values()), default=0)} epochs a fold, and a mean "
                        "needs 2; set keep: 3 in its YAML and train it again, or name several runs")
    infos = [info for part in parts.values() for _, info in part]
    for info in infos:
        if (info.net, info.n_classes, info.head) != (infos[0].net, infos[0].n_classes, infos[0].head):
            raise DataError(f"runs '{infos[0].run}' and '{info.run}' differ in their networks: '{infos[0].net.arch}' "
                            f"and '{info.net.arch}', or their settings; a mean needs the same `net`")


def write_average(config: RunConfig, base: Run, parts: dict[int, Ingredients], how: str, root: Path, folds_csv: Path,
                  folder: Path, cache: Path, say: Say, doubts: list[str]) -> RunMeta:
    """Average, predict and write all folds of the new run into `folder`. doubts: of the averaged runs."""
    plain = config.net.model_copy(update={"pretrained": StartFrom()})  # all its weights will be those of checkpoints
    others = dict.fromkeys(EXTRA_BLOCKS)
    settings = config.model_copy(update={"ema": 0.0, "swa": None, "compile": False, "net": plain, **others})
    data = load_training_set(settings, find_adapter(config.competition), root, folds_csv, say, cache)
    trainer = RunTrainer(config, data, folder, sha256_file(folds_csv), say)
    folder.mkdir(parents=True)
    write_atomic(folder / "config.yml", config_text(config))
    before = {each.fold: each.score for each in base.meta.folds}
    averaged: dict[int, list[str]] = {}
    for fold, part in parts.items():
        one = average_fold(FoldTraining(settings, data, fold), part, how, before[fold])
        write_oof(trainer.part(fold), one.result.views, config.oof_dtype)
        trainer.save_weights(fold, one.result.weights, trainer.info(fold, one.result), one.result.gallery)
        averaged[fold] = [sha256_file(path) for path, _ in one.chosen]
        names = [f"{info.run} epoch {info.epoch}" for _, info in one.chosen]
        append_log(folder, {"fold": fold, "averaged": names, "score": round(one.result.score, 6),
                            "before": round(before[fold], 6)})
        say(f"{config.run} fold {fold}: {config.metric} {one.result.score:.4f}, before {before[fold]:.4f}; the mean of "
            f"{len(part) if how == 'uniform' else f'{len(one.chosen)} of {len(part)}'}: {', '.join(names)}")
    meta = trainer.finish(list(parts))
    meta = meta.model_copy(update={"doubts": doubts, "folds": [each.model_copy(update={"averaged": averaged[each.fold]})
                                                     for each in meta.folds]})
    write_meta(folder, meta)
    return meta


def average_fold(training: FoldTraining, part: Ingredients, how: str, before: float) -> AveragedFold:
    """One fold. training: of the fold, nothing learned."""

    def evaluate(chosen: Sequence[int]) -> FoldResult:
        return predict_mean(training, [part[each] for each in chosen])

    if how == "uniform":
        return AveragedFold(evaluate(range(len(part))), part, before)
    chosen, result = greedy_soup(len(part), evaluate, lambda result: result.score, training.metric)
    return AveragedFold(result, [part[each] for each in chosen], before)


def predict_mean(training: FoldTraining, part: Ingredients) -> FoldResult:
    """What the mean of some checkpoints predicts out of fold; one alone stays as it is."""
    net = training.plain
    net.load_state_dict(mean_weights(read_checkpoint(path)[0] for path, _ in part))
    if len(part) > 1:
        last = training.config.epochs - 1
        training.begin(last)
        set_seed(fold_seed(training.config, training.fold))
        renew_norms(net, training.images(last))
    return training.evaluate(part[0][1].epoch)
