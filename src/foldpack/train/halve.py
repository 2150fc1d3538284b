"""A run in half precision: weights rounded to fp16, out-of-fold predictions made with the rounded weights.

The result is a run like any other, so the search sees what the kernel will get, and the cost of rounding is measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from foldpack.competitions.adapters import find_adapter
from foldpack.data.runs import RunMeta, checkpoint_path, read_meta, write_meta, write_oof
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.plugin import find_metric
from foldpack.models.checkpoint import read_checkpoint, restore_net
from foldpack.models.own_network import own_network
from foldpack.models.weight_files import RoundingReport, round_to_half
from foldpack.predict.device import pick_device
from foldpack.predict.golden import remember_golden
from foldpack.predict.loop import usual_forward
from foldpack.settings.run import config_hash, config_text, read_config
from foldpack.settings.training.extra_labels import EXTRA_BLOCKS
from foldpack.train.evaluate import predict_rows
from foldpack.train.load import CACHE, load_training_set
from foldpack.train.run import RunTrainer, Say


def halve_run(source: Path, target: Path, data_root: Path, folds_csv: Path, say: Say = print) -> tuple[float, float]:
    """Write `target`, the run of `source` in half precision -> OOF score before and after.

    `target/halved.json` records both, and what rounding did to each fold. Raises DataError, ConfigError, ModelError,
    and HalfPrecisionError for weights that fp16 cannot hold.
    """
    before = read_meta(source)
    folds_sha256 = sha256_file(folds_csv) if folds_csv.is_file() else ""
    if folds_sha256 != before.folds_sha256:
        raise DataError(f"{folds_csv}: not the folds that {source} was trained on; give its own folds file")
    if target.exists():
        raise DataError(f"{target}: exists already; choose another name, or remove it")
    config = read_config(source / "config.yml").model_copy(update={"run": target.name})
    alone = config.model_copy(update=dict.fromkeys(EXTRA_BLOCKS))  # nothing is learned, so from no other run either
    data = load_training_set(alone, find_adapter(config.competition), data_root, folds_csv, say,
                             target.parent / CACHE)
    target.mkdir(parents=True)
    write_atomic(target / "config.yml", config_text(config))
    trainer = RunTrainer(config, data, target, folds_sha256, say)
    reports = {fold.fold: halve_fold(source, trainer, fold.fold) for fold in before.folds}
    after = trainer.finish(sorted(reports)).model_copy(update={"doubts": before.doubts})
    write_meta(target, after)
    write_atomic(target / "halved.json", record_text(before, after, reports))
    return before.score, after.score


def halve_fold(source: Path, trainer: RunTrainer, fold: int) -> RoundingReport:
    """Round one fold's weights, predict its items with them, and write both into the trainer's folder."""
    path, config, data = checkpoint_path(source, fold), trainer.config, trainer.data
    weights, info = read_checkpoint(path)
    rounded, report = round_to_half(weights, str(path))
    device = pick_device()
    net = restore_net(rounded, info, str(path), trainer.task.builder, own_network(info.net)).to(device)

    forward = usual_forward(net, info.net, config.views, device, config.batch_size, trainer.task.task.predict)
    rows, others = np.flatnonzero(data.fold == fold), np.flatnonzero(data.fold != fold)
    views = predict_rows(forward, data, rows)[0]
    gallery = trainer.task.gallery(trainer.task.learnable(others), lambda rows: predict_rows(forward, data, rows)[0])
    score = trainer.task.score(find_metric(config.metric), rows, trainer.task.answers(views, gallery))
    write_oof(trainer.part(fold), views, config.oof_dtype)
    renamed = {"run": config.run, "score": score, "config_sha256": config_hash(config),
               "golden": remember_golden(net, info.net, device)}
    trainer.save_weights(fold, rounded, info.model_copy(update=renamed), gallery)
    return report


def record_text(before: RunMeta, after: RunMeta, reports: dict[int, RoundingReport]) -> str:
    """`halved.json`: from which run, the OOF scores before and after, and the rounding of each fold."""
    content = {
        "run": before.run,
        "metric": before.metric,
        "oof_before": before.score,
        "oof_after": after.score,
        "oof_change": after.score - before.score,
        "folds": {str(fold): asdict(report) for fold, report in sorted(reports.items())},
    }
    return json.dumps(content, indent=1) + "\n"
