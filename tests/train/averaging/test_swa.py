"""The mean of the last epochs: it is the mean, its batch norms fit it, and it stays only where it scores better."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_house import tiny_config, write_small_folds
from torch import nn
from toy_training import toy_config, toy_set

from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run
from foldpack.settings.run import ConfigError, config_hash
from foldpack.train.fit import fit_fold
from foldpack.train.loop.freezing import Freezing
from foldpack.train.loop.training import FoldTraining
from foldpack.train.rates import build_scheduler
from foldpack.train.run import train_run

BATCH_NORM = {"arch": "test_resnet", "size": 16}


@pytest.mark.parametrize(("changes", "message"), [
    ({"swa": {"epochs": 2}, "epochs": 2}, "the last 2 epochs or more behind others, and there are 2 epochs; set"),
    ({"swa": {"epochs": 4}}, "swa.epochs is 4, and there are 4 epochs; set it to fewer"),
    ({"swa": {"epochs": 2}, "patience": 3}, "swa averages the last epochs, and patience may end a fold before them"),
    ({"swa": {"epochs": 1}}, "swa.epochs: input should be greater than or equal to 2, got 1"),
    ({"swa": {"lr": 0.1}}, "swa.epochs"),
])
def test_settings_that_do_not_fit_are_one_clear_line(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        toy_config(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_runs_without_it_keep_their_hash_and_both_keys_are_part_of_it() -> None:
    hashes = {config_hash(toy_config(swa=swa)) for swa in
              (None, {"epochs": 2}, {"epochs": 3}, {"epochs": 2, "lr": 0.1})}
    assert len(hashes) == 4 and config_hash(toy_config()) in hashes


@pytest.mark.parametrize("optim", [
    {"schedule": "cosine"}, {"schedule": "constant"}, {"schedule": "none", "warmup_epochs": 0},
    {"schedule": "onecycle", "warmup_epochs": 1}, {"schedule": "plateau", "patience_epochs": 0},
    {"layer_decay": 0.5}])
def test_the_last_epochs_have_a_rate_of_their_own_and_those_before_the_schedules(optim: dict) -> None:
    optim = {"lr": 1e-2, "warmup_epochs": 0, **optim}
    traces = []
    for swa in (None, {"epochs": 2, "lr": 3e-3}, {"epochs": 2}):
        config = toy_config(epochs=5, optim=optim, swa=swa)
        net = torch.nn.Linear(1, 1)
        groups = [{"params": net.weight}, {"params": net.bias, "lr": 2e-2, "lr_scale": 0.5}]
        optimizer = torch.optim.SGD(groups, lr=1e-2)
        schedule = build_scheduler(config, optimizer, 4)
        trace = []
        for update in range(1, 21):
            trace.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            if schedule is not None:
                schedule.step_update(update)
                if update % 4 == 0:
                    schedule.step(update // 4, 0.5)
        traces.append(np.array(trace))
    assert np.array_equal(traces[0], traces[2])
    assert np.array_equal(traces[0][:12], traces[1][:12])
    assert np.allclose(traces[1][12:], [3e-3, 3e-3 * 2 * 0.5])


def trained(**changes: Any) -> tuple[FoldTraining, list[dict[str, torch.Tensor]]]:
    """A fold after its epochs, and the weights after each of them."""
    training, seen = FoldTraining(toy_config(net=BATCH_NORM, **changes), toy_set(), 0), []
    for epoch in range(training.config.epochs):
        training.epoch(epoch)
        seen.append({name: one.detach().clone() for name, one in training.plain.state_dict().items()})
    return training, seen


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optim": {"lr": 3e-3, "freeze": 2, "head_epochs": 1}}])
def test_the_weights_are_the_mean_after_each_of_the_last_epochs(changes: dict) -> None:
    training, seen = trained(swa={"epochs": 3, "lr": 1e-2}, epochs=5, **changes)
    result = training.evaluate_average()
    assert list(result.weights) == list(seen[0]) and result.epoch == 4
    for name, _ in training.plain.named_parameters():
        mean = torch.stack([each[name].double() for each in seen[2:]]).mean(dim=0)
        assert torch.allclose(result.weights[name].double(), mean, atol=1e-7), name
    assert not torch.equal(result.weights["fc.weight"], seen[-1]["fc.weight"])


def test_batch_norms_fit_the_training_items_under_the_mean_and_frozen_ones_stay() -> None:
    for freeze in (0, 2):
        optim = {"lr": 1e-2, "warmup_epochs": 0, "freeze": freeze}
        training, seen = trained(swa={"epochs": 2}, optim=optim)
        weights = training.evaluate_average().weights
        net = training.swa.module
        norms = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
        learned = [(name, module) for name, module in norms if not freeze or name.startswith("layer")
                   and not name.startswith("layer1")]
        frozen = [name for name, module in norms if (name, module) not in learned]
        assert bool(frozen) == bool(freeze) and learned
        for name in frozen:
            assert torch.equal(weights[f"{name}.running_mean"], seen[-1][f"{name}.running_mean"])
        # The first batch norm that learns, computed apart: means over the batches of an epoch that was never trained.
        first, module = learned[0]
        met: list[torch.Tensor] = []
        module.register_forward_pre_hook(lambda module, inputs, met=met: met.append(inputs[0].detach()))
        net.train()
        Freezing(training.config, net)
        for images in training.images(training.config.epochs):
            net(images)
        means = torch.stack([each.mean(dim=(0, 2, 3)) for each in met]).mean(dim=0)
        variances = torch.stack([each.transpose(0, 1).flatten(1).var(dim=1) for each in met]).mean(dim=0)
        assert torch.allclose(weights[f"{first}.running_mean"], means, atol=1e-5)
        assert torch.allclose(weights[f"{first}.running_var"], variances, rtol=1e-4)


@pytest.mark.parametrize(("metric", "score", "taken"), [
    ("accuracy", 2.0, True), ("accuracy", -1.0, False), ("log_loss", -1.0, True), ("log_loss", 99.0, False),
    ("accuracy", float("nan"), False)])
def test_it_is_kept_only_where_it_scores_better_and_the_log_has_both(monkeypatch, metric, score, taken) -> None:
    real = FoldTraining.evaluate_average
    monkeypatch.setattr(FoldTraining, "evaluate_average", lambda self: replace(real(self), score=score))
    entries: list[dict[str, object]] = []
    result = fit_fold(toy_config(swa={"epochs": 2}, metric=metric), toy_set(), 0, entries.append)
    assert (result.score == score) is taken
    best = sorted((entry["score"] for entry in entries if "score" in entry), reverse=metric == "accuracy")[0]
    assert np.isnan(score) or entries[-1]["swa_score"] == score
    assert (entries[-1]["best_score"], entries[-1]["swa_taken"]) == (best, taken)


def test_a_run_says_in_its_log_and_in_a_line_what_became_of_it(tmp_path: Path) -> None:
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 100)
    write_small_folds(tmp_path / "data", tmp_path / "folds.csv", 2)
    said: list[str] = []
    config = tiny_config("tiny", swa={"epochs": 2}, epochs=3, folds=[0])
    train_run(config, tmp_path / "data", tmp_path / "folds.csv", tmp_path / "runs", said.append)
    [line] = [line for line in said if "mean of the last epochs" in line]
    [entry] = [each for each in map(json.loads, (tmp_path / "runs/tiny/log.jsonl").read_text().splitlines())
               if "swa_score" in each]
    assert line == (f"tiny fold 0 mean of the last epochs: accuracy {entry['swa_score']:.4f}, the best epoch "
                    f"{entry['best_score']:.4f}; {'taken' if entry['swa_taken'] else 'left out'}")
    assert read_run(tmp_path / "runs/tiny").meta.folds[0].score == max(entry["swa_score"], entry["best_score"])
