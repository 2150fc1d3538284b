"""The training loop on a toy task: it learns, keeps the best epoch, stops early, and says when it cannot go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_training import STRONG, Scripted, quiet, toy_config, toy_set
from view_arrays import predict_logits, views_array

from foldpack.metrics.registry import get_metric
from foldpack.models.checkpoint import CheckpointInfo, restore_net
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import AugmentConfig, ConfigError, RunConfig
from foldpack.train.augment.image import Augmentation
from foldpack.train.dataset import AugmentedRows, TrainingSet
from foldpack.train.evaluate import is_better, score_probs
from foldpack.train.fit import fit_fold
from foldpack.train.loop.optimizer import build_optimizer
from foldpack.train.loop.training import FoldTraining, TrainingError
from foldpack.train.rates import build_scheduler


def test_it_learns_and_its_weights_give_its_predictions() -> None:
    config, data = toy_config(views=["identity", "hflip"]), toy_set()
    entries: list[dict[str, object]] = []
    result = fit_fold(config, data, 1, entries.append)
    assert result.score > 0.9 and views_array(result.views).shape == (2, 12, 3)
    assert [entry["epoch"] for entry in entries] == [0, 1, 2, 3] and entries[0]["left"] == 3
    assert entries[-1]["loss"] < entries[0]["loss"] and result.seconds_per_image > 0  # type: ignore[operator]
    info = CheckpointInfo(run="toy", fold=1, epoch=0, score=0.0, n_classes=3, net=config.net, config_sha256="",
                          folds_sha256="", seconds_per_image=0.0)
    net = restore_net(result.weights, info, "toy")
    again = predict_logits(net, config.net, data.pixels.canvases[data.fold == 1], config.views, torch.device("cpu"), 5)
    assert np.abs(again - views_array(result.views)).max() <= 1e-5


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_mixed_precision_trains_but_predicts_as_the_kernel_does(ema: float) -> None:
    """The kernel has no bf16 on the CPU: predictions out of fold must not have it either."""
    config, data = toy_config(precision="bf16", ema=ema, epochs=1), toy_set()
    result = fit_fold(config, data, 0, quiet)
    info = CheckpointInfo(run="toy", fold=0, epoch=0, score=0.0, n_classes=3, net=config.net, config_sha256="",
                          folds_sha256="", seconds_per_image=0.0)
    net = restore_net(result.weights, info, "toy")
    again = predict_logits(net, config.net, data.pixels.canvases[data.fold == 0], ["identity"], torch.device("cpu"), 64)
    assert np.abs(again - views_array(result.views)).max() <= 1e-5


def test_mixed_precision_is_really_used_in_training() -> None:
    training = FoldTraining(toy_config(precision="bf16"), toy_set(), 0)
    seen: list[torch.dtype] = []
    training.net.head.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    training.epoch(0)
    training.evaluate(0)
    training.epoch(1)
    assert seen[0] == torch.bfloat16 and seen[-1] == torch.bfloat16 and torch.float32 in seen


def test_the_same_seed_gives_the_same_weights() -> None:
    augment = {"hflip": 0.5, "affine": 0.5, "erase": 0.5, "mixup": 0.2, "cutmix": 0.5}
    results = [fit_fold(toy_config(seed=seed, epochs=1, augment=augment), toy_set(), 0, quiet) for seed in (1, 1, 2)]
    same = [torch.equal(results[0].weights["head.weight"], other.weights["head.weight"]) for other in results]
    assert same == [True, True, False]


@pytest.mark.parametrize(
    ("scores", "changes", "best", "ran"),
    [
        ([0.1, 0.5, 0.4, 0.3, 0.9], {}, 4, 5),
        ([0.1, 0.5, 0.4, 0.3, 0.9], {"patience": 2}, 1, 4),
        ([0.1, 0.5, 0.4, 0.6, 0.5], {"patience": 2}, 3, 5),
        ([0.5, 0.5, 0.5, 0.5, 0.5], {"patience": 3}, 0, 4),
        ([9.9, 0.5, 9.9, 0.4, 0.3], {"evaluate_every": 2}, 1, 5),  # epochs 1, 3 and the last are looked at
        ([9.9, 0.5, 9.9, 0.4, 0.9], {"evaluate_every": 2, "patience": 2}, 1, 4),
        ([0.3, 0.2, 0.4, 0.1, 0.5], {"metric": "log_loss"}, 3, 5),
        ([float("nan"), 0.2, float("nan"), 0.1, 0.1], {}, 1, 5),
    ],
)
def test_the_best_epoch_is_kept_and_patience_ends(monkeypatch, scores, changes, best, ran) -> None:
    monkeypatch.setattr(Scripted, "scores", scores)
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Scripted)
    entries: list[dict[str, object]] = []
    result = fit_fold(toy_config(epochs=5, **changes), toy_set(), 0, entries.append)
    assert (result.epoch, len(entries)) == (best, ran)


def test_a_loss_that_is_not_finite_is_one_clear_error() -> None:
    with pytest.raises(TrainingError) as caught:
        fit_fold(toy_config(optim={"lr": 1e30, "warmup_epochs": 0}), toy_set(), 0, quiet)
    assert "run 'toy': the network's answer is not finite in epoch 0, with 0.5 of its learning" in str(caught.value)
    assert str(caught.value).endswith("; lower optim.lr, set optim.clip_norm, or use precision: no")


def test_a_fold_that_never_scores_a_number_is_one_clear_error(monkeypatch) -> None:
    monkeypatch.setattr(Scripted, "scores", [float("nan")] * 2)
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Scripted)
    with pytest.raises(TrainingError, match="run 'toy': fold 0 scores no number in any epoch, so its predictions"):
        fit_fold(toy_config(epochs=2), toy_set(), 0, quiet)


def test_averaged_weights_are_evaluated_and_kept() -> None:
    training = FoldTraining(toy_config(ema=0.9), toy_set(), 0)
    training.epoch(0)
    result = training.evaluate(0)
    assert training.ema is not None
    raw, averaged = training.net.state_dict()["head.weight"], training.ema.module.state_dict()["head.weight"]
    assert torch.equal(result.weights["head.weight"], averaged) and not torch.equal(raw, averaged)


def test_batches_are_gathered_into_one_update() -> None:
    training = FoldTraining(toy_config(batch_size=8, accumulate=2), toy_set(), 0)  # 24 items: 3 batches
    training.epoch(0)
    assert training.updates_per_epoch == 2 and training.progress.updates == 2


def test_a_clipped_gradient_is_short(monkeypatch) -> None:
    training = FoldTraining(toy_config(optim={"lr": 1e-3, "clip_norm": 0.01}), toy_set(), 0)
    lengths: list[float] = []
    real = training.optimizer.step

    def step(*args: object) -> None:
        gradients = [one.grad.norm() for one in training.net.parameters() if one.grad is not None]
        lengths.append(float(torch.stack(gradients).norm()))
        real(*args)

    monkeypatch.setattr(training.optimizer, "step", step)
    training.epoch(0)
    assert lengths and max(lengths) <= 0.0101


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    config = toy_config(epochs=10, optim={"lr": 1e-2, "warmup_epochs": 2, "min_lr": 1e-5})
    training = FoldTraining(config, toy_set(), 0)
    rates = []
    for _ in range(10 * training.updates_per_epoch):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.step()
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-2, rel=0.15)
    assert rates[-1] < 5e-4 and rates.index(max(rates)) == pytest.approx(2 * training.updates_per_epoch, abs=1)


@pytest.mark.parametrize("loss", [
    {"name": "bce"}, {"name": "focal"}, {"name": "forgiving"}, {"name": "asymmetric"}, {"name": "soft_f"},
    {"name": "sum", "parts": {"bce": 1.0, "focal": 0.3}}, {"name": "sum", "parts": {"bce": 1.0, "soft_f": 0.3}}])
def test_multilabel_learns_with_mixing(loss: dict) -> None:
    config = toy_config(loss=loss, metric="f2", augment={"hflip": 0.0, "mixup": 0.1, "cutmix": 0.1})
    assert fit_fold(config, toy_set("multilabel"), 2, quiet).score > 0.8


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({"name": "adamwx"}, "run 'toy': optimiser 'adamwx' cannot be built: .*timm.optim.list_optimizers()"),
        ({"schedule": "cosin"},
         "run 'toy': schedule 'cosin' cannot be built: did you mean 'cosine'. Allowed: constant, cosine, cosine_re"),
    ],
)
def test_strange_optimisers_and_schedules(optim: dict, message: str) -> None:
    net, config = torch.nn.Linear(2, 2), toy_config(optim=optim)
    with pytest.raises(ConfigError, match=message):
        build_scheduler(config, build_optimizer(config, net), 1)


def test_scores_of_probabilities_and_their_order() -> None:
    probs = np.array([[0.9, 0.1], [0.4, 0.6]], dtype=np.float32)
    assert score_probs(get_metric("accuracy"), np.array([0, 0]), probs) == 0.5
    labels = np.array([[True, False], [False, True]])
    assert score_probs(get_metric("f2"), labels, probs) == 1.0  # at a threshold between 0.4 and 0.6
    accuracy, loss, nan = get_metric("accuracy"), get_metric("log_loss"), float("nan")
    assert is_better(accuracy, 0.2, 0.1) and not is_better(accuracy, 0.1, 0.1) and is_better(accuracy, 0.0, None)
    assert is_better(loss, 0.1, 0.2) and not is_better(loss, 0.3, 0.2)
    assert is_better(loss, 0.3, nan) and not is_better(loss, nan, 0.3) and not is_better(loss, nan, None)


def test_a_training_set_knows_its_prior() -> None:
    assert toy_set().prior() == [0.333333] * 3
    assert toy_set("multilabel").prior() == [0.666667] * 3
    assert [toy_set().target_row(row).tolist() for row in (0, 1)] == [[1, 0, 0], [0, 1, 0]]


def test_rows_come_augmented_with_their_own_target() -> None:
    data = toy_set()
    rows = AugmentedRows(data, np.array([5, 7]), Augmentation(AugmentConfig(hflip=1.0)), 0)
    image, target = rows[3, 1]
    assert len(rows) == 2 and target.tolist() == [0, 1, 0]
    assert (image.numpy() == data.pixels.row(7)[:, ::-1]).all()


def copies_of_one(count: int) -> TrainingSet:
    """The same picture so many times, and as often again in fold 1."""
    data = toy_set(count=2 * count)
    pixels = HeldPixels(data.pixels.kind, np.repeat(data.pixels.take(0, 1), 2 * count, axis=0))
    return replace(data, pixels=pixels, fold=np.repeat([0, 1], count))


def pictures_of(config: RunConfig, epochs: int) -> list[list[bytes]]:
    """What the network is shown in each epoch, in order, of 16 copies of one image."""
    training = FoldTraining(config, copies_of_one(16), 1)
    shown: list[list[bytes]] = []
    for epoch in range(epochs):
        training.order.epoch = epoch
        shown.append([picture.numpy().tobytes() for groups in training.loader for pixels, _ in groups
                      for picture in pixels.cpu()])
    return shown


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_copies_of_an_image_all_look_different_for_every_number_of_workers_and_in_every_epoch(workers: int) -> None:
    shown = pictures_of(toy_config(augment=STRONG, workers=workers), 3)
    assert [len(epoch) for epoch in shown] == [16, 16, 16]
    assert len({picture for epoch in shown for picture in epoch}) == 48
    assert shown == pictures_of(toy_config(augment=STRONG), 3)


def test_the_number_of_workers_changes_no_weight() -> None:
    """Dropout and mixing draw from torch's own generator, so the loader must not."""
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2, "proj_drop_rate": 0.2}}
    augment = {**STRONG, "mixup": 0.2, "cutmix": 0.5, "erase": 0.3}
    results = [fit_fold(toy_config(net=net, augment=augment, epochs=3, workers=workers), toy_set(), 1, quiet)
               for workers in (0, 2)]
    assert results[0].score == results[1].score and results[0].epoch == results[1].epoch
    assert all(torch.equal(results[0].weights[name], results[1].weights[name]) for name in results[0].weights)


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_every_seed_is_a_seed(seed: int) -> None:
    assert fit_fold(toy_config(seed=seed, epochs=1), toy_set(), 0, quiet).score >= 0
