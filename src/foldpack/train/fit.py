"""Train one network on all folds but one, keep the epoch that scores best on the one left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn

from foldpack.data.geometry import input_shape
from foldpack.data.rows import Rows
from foldpack.errors import FoldpackError
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import Metric
from foldpack.models.checkpoint import GoldenLogits
from foldpack.models.classifier import normalise
from foldpack.models.gallery import Gallery
from foldpack.predict.golden import remember_golden
from foldpack.predict.loop import usual_forward
from foldpack.predict.view import View
from foldpack.predict.view_pixels import apply_view
from foldpack.predict.views import cost_of_views
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.allocator import keep_freed_memory
from foldpack.train.augment.image import seen_net
from foldpack.train.augment.mixing import BatchMixer
from foldpack.train.dataset import Group, TrainingSet, told_plainly, training_batches
from foldpack.train.device.accelerator import compiled, open_accelerator
from foldpack.train.device.grad_checkpointing import use_grad_checkpointing
from foldpack.train.evaluate import is_better, predict_rows
from foldpack.train.extra_labels.begin import begin_fold
from foldpack.train.freezing import Freezing, named_part, stages_of
from foldpack.train.rates import build_scheduler
from foldpack.train.sampling import build_order, item_weights
from foldpack.train.steps import STEPS

PREDICT_BATCH = 64
CALMER = "lower optim.lr, set optim.clip_norm, or use precision: no"


class TrainingError(FoldpackError):
    """Training that cannot go on."""


@dataclass
class FoldResult:
    """The best epoch of one fold."""

    weights: dict[str, torch.Tensor]  # on the CPU
    views: list[Rows]  # of the fold's items, by view
    score: float
    epoch: int
    seconds_per_image: float  # one view
    golden: GoldenLogits  # what the network says to the golden picture
    gallery: Gallery | None = None  # what queries are compared with, where the task does so


def fit_fold(
    config: RunConfig, data: TrainingSet, fold: int, log: Callable[[dict[str, object]], None],
    keep: Callable[[FoldResult], None] = lambda result: None
) -> FoldResult:
    """Train on the items outside `fold` and predict those inside it with the best epoch's weights.

    `log` gets a flat dict after every epoch; its `lr` is the rate at the epoch's start. `keep` gets what every
    evaluated epoch gave. Raises TrainingError when the loss is not finite.
    """
    set_seed(fold_seed(config, fold))
    training = FoldTraining(config, data, fold)
    best: FoldResult | None = None
    stale = 0
    for epoch in range(config.epochs):
        started, rate = time.monotonic(), training.rate()
        loss = training.epoch(epoch)
        entry: dict[str, object] = {"fold": fold, "epoch": epoch, "lr": rate, "loss": round(loss, 6)}
        last = epoch == config.epochs - 1
        if last or (epoch + 1) % config.evaluate_every == 0:
            result = training.evaluate(epoch)
            entry["score"] = round(result.score, 6)
            keep(result)
            better = best is None or is_better(training.metric, result.score, best.score)
            best, stale = (result, 0) if better or best is None else (best, stale + config.evaluate_every)
            if training.end_epoch(epoch, result.score) and config.optim.reload_best:
                training.go_back(best.weights)
        log({**entry, "seconds": round(time.monotonic() - started, 2), "left": config.epochs - epoch - 1})
        if config.patience is not None and stale >= config.patience:
            break
    assert best is not None  # the last epoch is always evaluated
    if math.isnan(best.score):
        raise TrainingError(f"run '{config.run}': fold {fold} scores no number in any epoch, so its predictions are "
                            f"none; {CALMER}")
    return best


def fold_seed(config: RunConfig, fold: int) -> int:
    """The seed of one fold's weights, order and augmentation, 0 to 2**32 - 1; a negative `seed` is as good as any."""
    return (config.seed * 1000 + fold) % 2**32


class FoldTraining:
    """Network, optimiser and data of one fold."""

    def __init__(self, config: RunConfig, data: TrainingSet, fold: int) -> None:
        self.config = config
        self.data = data = data.of_fold(fold)
        self.fold = fold
        self.metric: Metric = find_metric(config.metric)
        self.accelerator = open_accelerator(config)
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        self.task = STEPS[data.task](config, data)
        self.inside = np.flatnonzero(data.fold == fold)
        self.rows = self.task.learnable(np.flatnonzero(data.fold != fold))
        self.order = build_order(config, data, self.rows, fold_seed(config, fold))
        loader = training_batches(data, self.rows, config, fold_seed(config, fold), self.order,
                                  item_weights(config, data, self.rows))
        net = self.task.build(self.rows)
        begin_fold(config, net, fold)
        self.freezing = Freezing(config, net)
        use_grad_checkpointing(config, net)
        if config.optim.head_epochs and self.accelerator.num_processes > 1:
            raise ConfigError(f"run '{config.run}': optim.head_epochs is for one process, and there are "
                              f"{self.accelerator.num_processes}; set it to 0, or train on one")
        optimizer = build_optimizer(config, net)
        self.net_groups = len(optimizer.param_groups)
        self.add_class_vectors(optimizer)  # of the loss, where it has any
        self.net, self.optimizer, self.loader = self.accelerator.prepare(net, optimizer, loader)
        self.task.loss = self.prepared_loss()
        # Without the wrapper that predicts in mixed precision: the kernel has none either. `epoch` brings its own.
        self.plain: nn.Module = self.accelerator.unwrap_model(self.net, keep_fp32_wrapper=False)
        self.net = compiled(config, self.net)
        self.updates_per_epoch = math.ceil(len(self.loader) / config.accumulate)
        self.scheduler = build_scheduler(config, self.optimizer, self.updates_per_epoch)
        self.mixer = BatchMixer(config.augment, self.accelerator.device)
        self.ema = ModelEmaV3(self.plain, config.ema, use_warmup=True) if config.ema else None
        self.updates = 0

    def epoch(self, epoch: int) -> float:
        """One pass over the training items. Returns the mean loss."""
        self.begin(epoch)
        total, count = 0.0, 0
        for batch, groups in enumerate(told_plainly(self.loader)):
            loss, rows = self.learn(groups, epoch, batch)
            total, count = total + loss, count + rows
        mean = total / max(count, 1)
        if not math.isfinite(mean):
            raise TrainingError(f"run '{self.config.run}': the loss is {mean} in epoch {epoch}; {CALMER}")
        return mean

    def begin(self, epoch: int) -> None:
        """Before the batches of an epoch."""
        self.net.train()
        self.freezing.begin(epoch)
        self.order.epoch = epoch

    def learn(self, groups: list[Group], epoch: int, batch: int) -> tuple[float, int]:
        """Learn from one batch. Returns the sum of the loss over its items, and how many these are."""
        side, rows, total = self.side(epoch, batch), sum(len(pixels) for pixels, _ in groups), 0.0
        with self.accelerator.accumulate(self.net):
            for pixels, targets in groups:
                images, mixed = self.mixer(self.net_input(pixels, side), targets)
                with self.accelerator.autocast():
                    outputs = self.net(images)
                loss = self.task.losses(outputs, mixed)
                self.accelerator.backward(loss * (len(images) / rows))
                total += loss.item() * len(images)
            self.step()
        return total, rows

    def add_class_vectors(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser move what the loss learns, at a rate of its own and without decay."""
        learned = list(self.task.loss.parameters())
        if learned:
            rate = self.config.loss.lr or self.config.optim.lr
            optimizer.add_param_group({"params": learned, "lr": rate, "weight_decay": 0.0})

    def prepared_loss(self) -> nn.Module:
        """The loss on the device; where it learns, the same in all processes."""
        if any(True for _ in self.task.loss.parameters()):
            return self.accelerator.prepare_model(self.task.loss)
        return self.task.loss

    def side(self, epoch: int, batch: int) -> int | None:
        """The network's input side in a batch, where it is drawn; it follows from the seed, whoever draws it."""
        if not self.config.augment.sides:
            return None
        chance = np.random.default_rng((fold_seed(self.config, self.fold), epoch, batch))
        return int(chance.choice(self.config.augment.sides))

    def net_input(self, pixels: torch.Tensor, side: int | None = None) -> torch.Tensor:
        """(B, H, W, C) uint8 canvases -> (B, C, h, w) float32, resampled as the predict loop does."""
        size = input_shape(seen_net(self.config), (pixels.shape[1], pixels.shape[2]), side)
        return apply_view(View("identity"), normalise(pixels, self.config.net), size)

    def step(self) -> None:
        """Update the weights once the gradient is complete."""
        if self.accelerator.sync_gradients and self.config.optim.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not self.accelerator.sync_gradients:
            return
        self.updates += 1
        if self.scheduler is not None:
            self.scheduler.step_update(self.updates)
        if self.ema is not None:
            self.ema.update(self.plain, step=self.updates)

    def rate(self) -> float:
        """The learning rate of the next update, to 6 digits; with layer decay that of the last layer."""
        return float(f"{max(group['lr'] for group in self.optimizer.param_groups[: self.net_groups]):.6g}")

    def end_epoch(self, epoch: int, score: float) -> bool:
        """Tell the schedule what an evaluated epoch scored. Returns whether the learning rate fell for it."""
        return self.scheduler is not None and bool(self.scheduler.step(epoch + 1, score))

    def go_back(self, weights: dict[str, torch.Tensor]) -> None:
        """Go on from the weights of another epoch, and average from there."""
        for net in (self.plain, *([] if self.ema is None else [self.ema.module])):
            net.load_state_dict(weights)

    def evaluate(self, epoch: int) -> FoldResult:
        """Predict the items of the fold with the averaged weights if there are any, else with the current ones."""
        net: nn.Module = self.ema.module if self.ema is not None else self.plain
        net.eval()

        forward = usual_forward(net, self.config.net, self.config.views, self.accelerator.device, PREDICT_BATCH,
                                self.task.task.predict)
        views, seconds = predict_rows(forward, self.data, self.inside)
        seconds /= len(self.inside) * cost_of_views(self.config.views, self.config.net)
        gallery = self.task.gallery(self.rows, lambda rows: predict_rows(forward, self.data, rows)[0])
        score = self.task.score(self.metric, self.inside, self.task.answers(views, gallery))
        weights = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
        golden = remember_golden(net, self.config.net, self.accelerator.device)
        return FoldResult(weights, views, score, epoch, seconds, golden, gallery)


def build_optimizer(config: RunConfig, net: nn.Module) -> torch.optim.Optimizer:
    """timm's optimiser factory; biases and norms are not decayed. Raises ConfigError for an unknown name."""
    optim = config.optim
    kwargs: dict[str, Any] = dict(optim.kwargs)
    if optim.layer_decay is not None:
        net, kwargs["layer_decay"] = named_part(net), optim.layer_decay
        stages_of(net, f"run '{config.run}': optim.layer_decay")
    try:
        return create_optimizer_v2(net, opt=optim.name, lr=optim.lr, weight_decay=optim.weight_decay, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError) as failure:
        raise ConfigError(f"run '{config.run}': optimiser '{optim.name}' cannot be built: {failure}; timm lists its "
                          "names with timm.optim.list_optimizers()") from None
