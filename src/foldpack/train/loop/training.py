"""The training of one fold: network, optimiser and data, and a step of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate.utils import set_seed
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

from foldpack.data.geometry import input_shape
from foldpack.data.rows import Rows
from foldpack.errors import FoldpackError
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import Metric
from foldpack.models.classifier import normalise
from foldpack.predict.golden import remember_golden
from foldpack.predict.loop import DivergedError, usual_forward
from foldpack.predict.view import View
from foldpack.predict.view_pixels import apply_view
from foldpack.predict.views import cost_of_views
from foldpack.settings.run import RunConfig
from foldpack.train.allocator import keep_freed_memory
from foldpack.train.augment.image import seen_net
from foldpack.train.augment.mixing import BatchMixer
from foldpack.train.averaging.soup import renew_norms
from foldpack.train.dataset import Group, TrainingSet, told_plainly, training_batches
from foldpack.train.device.accelerator import compiled, open_accelerator, ways_to_compute
from foldpack.train.device.grad_checkpointing import use_grad_checkpointing
from foldpack.train.device.processes import (
    gradients_stay,
    predicted_in_shares,
    share_statistics,
    summed,
    told_by_first,
)
from foldpack.train.evaluate import FoldResult, predict_rows
from foldpack.train.extra_labels.begin import begin_fold
from foldpack.train.images.flipped import learned_set
from foldpack.train.loop.freezing import Freezing, scale_head
from foldpack.train.loop.guard import NotFiniteLoss, UpdateGuard
from foldpack.train.loop.optimizer import add_class_vectors, build_optimizer
from foldpack.train.loop.state import Progress, RandomState, Stateful
from foldpack.train.loop.state_file import TreePacker
from foldpack.train.loop.states import FoldStates
from foldpack.train.rates import build_scheduler
from foldpack.train.sampling import build_order, item_weights
from foldpack.train.steps import STEPS
from foldpack.train.watch.watch import Watch

PREDICT_BATCH = 64
MOST_OVERFLOWS = 20  # in a row: a scale of 65536 is below 1 by then
CALMER = "lower optim.lr, set optim.clip_norm, or use precision: no"


class TrainingError(FoldpackError):
    """Training that cannot go on."""


def fold_seed(config: RunConfig, fold: int) -> int:
    """The seed of one fold's weights, order and augmentation, 0 to 2**32 - 1; a negative `seed` is as good as any."""
    return (config.seed * 1000 + fold) % 2**32


class FoldTraining:
    """Network, optimiser and data of one fold."""

    def __init__(self, config: RunConfig, data: TrainingSet, fold: int, watch: Watch | None = None,
                 states: FoldStates | None = None, tell: Callable[[str], None] = lambda text: None) -> None:
        """watch: hears of every batch; states: where its state is saved; tell: hears of updates that are left out."""
        self.tell = tell
        self.config = config
        self.watch = watch
        self.data = data = learned_set(config, data, fold)
        self.fold = fold
        self.states = states
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
        scale_head(net, config)
        begin_fold(config, net, fold)
        self.freezing = Freezing(config, net)
        use_grad_checkpointing(config, net)
        optimizer = build_optimizer(config, net)
        self.net_groups = len(optimizer.param_groups)
        add_class_vectors(config, optimizer, self.task.loss)
        self.net, self.optimizer, self.loader = self.accelerator.prepare(net, optimizer, loader)
        self.task.loss = self.prepared_loss()
        # Without the wrapper that predicts in mixed precision: the kernel has none either. `epoch` brings its own.
        self.plain: nn.Module = self.accelerator.unwrap_model(self.net, keep_fp32_wrapper=False,
                                                            keep_torch_compile=False)
        self.net = compiled(config, self.net)
        self.updates_per_epoch = math.ceil(len(self.loader) / config.accumulate)
        self.scheduler = build_scheduler(config, self.optimizer, self.updates_per_epoch)
        self.mixer = BatchMixer(config.augment, self.accelerator.device)
        self.ema = ModelEmaV3(self.plain, config.ema, use_warmup=True) if config.ema else None
        self.swa = AveragedModel(self.plain) if config.swa else None
        if self.accelerator.num_processes > 1:  # each mixes and drops in its own way, from the same weights
            set_seed(fold_seed(config, fold), device_specific=True)
        self.guard = UpdateGuard(self.accelerator, [self.plain, self.task.loss])
        self.progress = Progress()
        self.saved = time.monotonic()
        self.holders = self.all_holders()

    def all_holders(self) -> dict[str, Stateful]:
        """All that training changes, by name: what is not here is lost when the process is killed."""
        found: dict[str, Stateful | None] = {
            "net": self.plain, "loss": self.accelerator.unwrap_model(self.task.loss), "optimizer": self.optimizer,
            "scheduler": self.scheduler, "scaler": self.accelerator.scaler,
            "ema": None if self.ema is None else self.ema.module, "swa": self.swa, "progress": self.progress,
            "random": RandomState(self.accelerator)}
        return {name: holder for name, holder in found.items() if holder is not None}

    def save(self) -> None:
        """Save the state, unless the last update was not made. To be called by all processes at once."""
        if self.states is None or self.progress.in_streak:
            return
        state = {name: holder.state_dict() for name, holder in self.holders.items()}
        if self.accelerator.is_main_process:
            self.states.write(state, self.progress.best)
        self.saved = time.monotonic()

    def resume(self) -> bool:
        """Take over the saved state, where there is one. Returns whether there was. Raises StateError for what could
        not be saved."""
        if self.states is None:
            return False
        for name, holder in self.holders.items():
            TreePacker().pack(holder.state_dict(), f"run '{self.config.run}': the state of {name}")
        device = self.accelerator.device.type
        self.states.place(device, self.accelerator.num_processes, ways_to_compute(self.config, device))
        kept = told_by_first(self.states.read)
        if kept is None:
            return False
        state, self.progress.best = kept
        for name, holder in self.holders.items():
            holder.load_state_dict(state[name])
        return True

    def is_due(self) -> bool:
        """Whether to save within an epoch: one of several processes cannot know when the others would."""
        return (self.states is not None and self.accelerator.num_processes == 1 and self.accelerator.sync_gradients
                and time.monotonic() - self.saved >= 60 * self.config.save_minutes)

    def epoch(self, epoch: int) -> float:
        """One pass over the training items, or what is left of it. Returns the mean loss. Raises NotFiniteLoss."""
        started, at = time.monotonic() - self.progress.seconds, self.progress
        self.begin(epoch)
        for batch, groups in enumerate(told_plainly(self.loader), at.batch):
            loss, rows = self.learn(groups, epoch, batch)
            at.batch = batch + 1
            loss, rows = (loss, rows) if math.isfinite(loss) else (0.0, 0)  # left out
            at.loss, at.items = at.loss + loss, at.items + rows
            if self.watch is not None:
                self.watch.end_batch(rows * self.accelerator.num_processes, loss * self.accelerator.num_processes)
            if self.is_due():
                at.seconds = time.monotonic() - started
                self.save()
        total, items = summed(self.accelerator, at.loss, at.items)
        if not items:
            raise NotFiniteLoss("loss is finite in no batch")
        at.batch, at.loss, at.items = 0, 0.0, 0
        for net in (self.plain, *([] if self.ema is None else [self.ema.module])):
            share_statistics(self.accelerator, net)
        self.average(epoch)
        return total / items

    def begin(self, epoch: int) -> None:
        """Before the batches of an epoch."""
        self.net.train()
        self.freezing.begin(epoch)
        self.order.epoch, self.order.done = epoch, self.progress.batch * self.config.batch_size
        if self.watch is not None:
            self.watch.begin_epoch(epoch, len(self.loader) - self.progress.batch)

    def learn(self, groups: list[Group], epoch: int, batch: int) -> tuple[float, int]:
        """Learn from one batch. Returns the sum of the loss over its items, and how many these are."""
        side, rows, total = self.side(epoch, batch), sum(len(pixels) for pixels, _ in groups), 0.0
        if self.accelerator.sync_gradients:  # of the batch before this one
            self.guard.begin()
        with self.accelerator.accumulate(self.net):
            for number, (pixels, targets) in enumerate(groups, 1):
                images, mixed = self.mixer(self.net_input(pixels, side), targets)
                with gradients_stay(self.accelerator, (self.net, self.task.loss), number < len(groups)):
                    with self.accelerator.autocast():
                        outputs = self.net(images)
                    loss = self.task.losses(outputs, mixed)
                    self.accelerator.backward(loss * (len(images) / rows))
                total += loss.item() * len(images)
            self.guard.note(total)
            self.step()
        return total, rows

    def prepared_loss(self) -> nn.Module:
        """The loss on the device; where it learns, the same in all processes."""
        if any(True for _ in self.task.loss.parameters()):
            return self.accelerator.prepare_model(self.task.loss)
        return self.task.loss.to(self.accelerator.device)  # it may have buffers

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
        """Update the weights once the gradient is complete, unless something is not finite. The schedule goes on."""
        if not self.accelerator.sync_gradients:
            return
        at, fault = self.progress, self.guard.fault(self.optimizer)
        if fault is None:
            if self.config.optim.clip_norm is not None:
                self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.optim.clip_norm)
            self.update_weights()
        self.optimizer.zero_grad()
        at.updates += 1
        if self.scheduler is not None:
            self.scheduler.step_update(at.updates)
        if fault is not None:
            self.leave_out(fault)
            return
        at.in_a_row, at.overflows = 0, at.overflows + 1 if self.optimizer.step_was_skipped else 0
        if at.overflows >= MOST_OVERFLOWS:
            raise NotFiniteLoss(f"gradient has no room in fp16, {at.overflows} updates in a row,")
        if self.ema is not None:
            self.ema.update(self.plain, step=at.updates - at.left_out)

    def update_weights(self) -> None:
        """One step of the optimiser, with so much of its learning rates as the fold has left."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.progress.slower
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def leave_out(self, fault: str) -> None:
        """Count an update that was not made, and say so. Raises NotFiniteLoss after too many in a row."""
        at = self.progress
        at.left_out, at.skipped, at.in_a_row = at.left_out + 1, at.skipped + 1, at.in_a_row + 1
        if at.in_a_row > self.config.nonfinite.skip:
            raise NotFiniteLoss(fault)
        self.tell(f"epoch {at.epoch}, batch {at.batch}: the {fault}; this update is left out, {at.in_a_row} in a row")

    def rate(self) -> float:
        """The learning rate of the next update, to 6 digits; with layer decay that of the last layer."""
        highest = max(group["lr"] for group in self.optimizer.param_groups[: self.net_groups])
        return float(f"{highest * self.progress.slower:.6g}")

    def end_epoch(self, epoch: int, score: float) -> bool:
        """Tell the schedule what an evaluated epoch scored. Returns whether the learning rate fell for it."""
        return self.scheduler is not None and bool(self.scheduler.step(epoch + 1, score))

    def go_back(self, weights: dict[str, torch.Tensor]) -> None:
        """Go on from the weights of another epoch, and average from there."""
        for net in (self.plain, *([] if self.ema is None else [self.ema.module])):
            net.load_state_dict(weights)

    def average(self, epoch: int) -> None:
        """After an epoch: where it is one of the last, take its weights into the mean of these."""
        wanted = self.config.swa
        if self.swa is not None and wanted is not None and epoch >= self.config.epochs - wanted.epochs:
            self.swa.update_parameters(self.plain)

    def evaluate_average(self) -> FoldResult:
        """Predict the items of the fold with the mean of the last epochs, batch norms fitted to it."""
        assert self.swa is not None
        net, last = self.swa.module, self.config.epochs - 1
        net.train()
        Freezing(self.config, net).begin(last)
        renew_norms(net, self.images(self.config.epochs))
        share_statistics(self.accelerator, net)
        return self.evaluate(last, net)

    def images(self, epoch: int) -> Iterator[torch.Tensor]:
        """The images of an epoch, as the network gets them in training: augmented, and mixed where the run mixes."""
        self.order.epoch, self.order.done = epoch, 0
        for batch, groups in enumerate(told_plainly(self.loader)):
            side = self.side(epoch, batch)
            for pixels, targets in groups:
                yield self.mixer(self.net_input(pixels, side), targets)[0]

    def evaluate(self, epoch: int, net: nn.Module | None = None) -> FoldResult:
        """Predict the items of the fold with a network; None: the averaged weights if there are any, else the current
        ones. Processes share the items, and all get the same result. Raises NotFiniteLoss."""
        net = net or (self.ema.module if self.ema is not None else self.plain)
        net.eval()
        forward = usual_forward(net, self.config.net, self.config.views, self.accelerator.device, PREDICT_BATCH,
                                self.task.task.predict)

        def predict(rows: np.ndarray) -> tuple[list[Rows], float]:
            return predicted_in_shares(rows, lambda own: predict_rows(forward, self.data, own))

        try:
            views, seconds = predict(self.inside)
            gallery = self.task.gallery(self.rows, lambda rows: predict(rows)[0])
        except DivergedError:
            raise NotFiniteLoss("network's answer is not finite") from None
        seconds /= len(self.inside) * cost_of_views(self.config.views, self.config.net)
        score = told_by_first(lambda: self.task.score(self.metric, self.inside, self.task.answers(views, gallery)))
        weights = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
        golden = remember_golden(net, self.config.net, self.accelerator.device)
        return FoldResult(weights, views, score, epoch, seconds, golden, gallery)
