"""What training has to know of a task: the network, the loss on its outputs, and the score of a fold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import nn

from foldpack.data.rows import Rows
from foldpack.data.runs import run_outputs
from foldpack.ensemble.retrieve.nearest import nearest_items
from foldpack.ensemble.retrieve.retriever import identity_scores
from foldpack.ensemble.thresholds import cut_values
from foldpack.metrics.ranking import recall_of_items
from foldpack.metrics.registry import Metric
from foldpack.models.classifier import build_classifier
from foldpack.models.embedder import build_embedder
from foldpack.models.gallery import Gallery
from foldpack.models.own_network import own_network
from foldpack.models.regressor import BinnedValues, TargetUnits, build_regressor
from foldpack.models.start import fill_net
from foldpack.search.decide.cuts import best_cuts
from foldpack.search.decide.new_class import best_new_class
from foldpack.search.decide.queries import query_weights, weighted_score
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.settings.stages import Outputs
from foldpack.tasks.classify import CLASSIFY
from foldpack.tasks.embed import EMBED
from foldpack.tasks.protocol import Task
from foldpack.tasks.regress import REGRESS
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import score_probs
from foldpack.train.losses.distill import TeacherLoss
from foldpack.train.losses.registry import build_loss

BuildNet = Callable[..., nn.Module]  # (net, width, pretrained, make) -> the network
Predict = Callable[[np.ndarray], list[Rows]]  # rows of the training set -> what is predicted of them, by view

RECALL_AT = (1, 2, 4, 8, 16, 32)  # nearest gallery items, of metric learning's recall

# task -> what its metrics may want: `metrics.registry.Needs`
METRICS_OF_TASK = {"multiclass": ("probs",), "multilabel": ("labels", "probs"), "regress": ("values", "grades"),
                   "embed": ("probs",)}


def can_follow(task: str, metric: Metric) -> bool:
    """Whether the epochs of a run can follow a metric."""
    return metric.needs in METRICS_OF_TASK[task] and (task != "multilabel" or metric.of_several)


class TrainStep:
    """A classifier. The steps of other tasks differ in some of these methods."""

    task: Task = CLASSIFY  # as the kernel has it
    head: Literal["classes", "values", "vectors"] = "classes"
    builder: BuildNet = staticmethod(build_classifier)
    has_gallery = False

    def __init__(self, config: RunConfig, data: TrainingSet) -> None:
        """Raises ConfigError for a loss that does not fit the task."""
        self.config = config
        self.data = data
        self.weighted = config.weights.kind != "none" or data.counts is not None
        self.teacher = None if config.distill is None else TeacherLoss(data.task, config.distill.temperature)
        self.loss: nn.Module = build_loss(config.loss, data.task, data.learned_identities, config.embed.dim,
                                          self.weighted)

    @property
    def width(self) -> int:
        """Numbers that the network gives for an image."""
        return len(self.data.classes)

    @cached_property
    def outputs(self) -> Outputs:
        """What the network gives, as a stage names it."""
        embed = self.config.embed if self.has_gallery else None
        return run_outputs(self.data.task, self.data.classes, self.data.prior(), embed, self.data.none)

    def merged(self, views: list[Rows]) -> np.ndarray:
        """(n, C) float32: the one column that the task makes of several views."""
        [column] = self.task.merge_views(views, self.config.merge, self.outputs).columns.values()
        return column

    def learnable(self, rows: np.ndarray) -> np.ndarray:
        """Those of some rows that the loss can learn from."""
        return rows

    def build(self, rows: np.ndarray) -> nn.Module:
        """The network before its first update. rows: that it will learn from. Raises ModelError, StartError."""
        config = self.config.net
        net = self.builder(config, self.width, config.pretrained.hub, own_network(config))
        fill_net(net if self.head == "classes" else net.get_submodule("0"), config)
        return net

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The scalar to minimise. outputs: (B, width); targets: as `AugmentedRows` gives them, and maybe mixed."""
        targets, weights = (targets[:, :-1], targets[:, -1]) if self.weighted else (targets, None)
        if self.teacher is None or self.data.teacher is None:
            return self.weighted_losses(outputs.float(), targets, weights)
        assert self.config.distill is not None
        labels, said = targets.chunk(2, dim=1)
        own, share = self.weighted_losses(outputs.float(), labels, weights), self.config.distill.weight
        return (1 - share) * own + share * self.teacher(self.compared(outputs.float()), self.compared(said), weights)

    def compared(self, numbers: torch.Tensor) -> torch.Tensor:
        """What the network gives, or a teacher says, as the two are compared."""
        return numbers

    def weighted_losses(self, outputs: torch.Tensor, targets: torch.Tensor,
                        weights: torch.Tensor | None) -> torch.Tensor:
        """The same of targets without their weights, which are (B,)."""
        return self.loss(outputs, targets, weights)

    def gallery(self, rows: np.ndarray, predict: Predict) -> Gallery | None:
        """What queries are compared with, where the task does so. rows: that the network has learned from."""
        return None

    def answers(self, views: list[Rows], gallery: Gallery | None) -> np.ndarray:
        """What is predicted, by view -> (n, C) float32, what the metric is asked about: probabilities, values, scores
        of identities."""
        return self.merged(views)

    def measures(self, views: list[Rows], fold: int, gallery: Gallery | None) -> dict[str, object]:
        """What else log.jsonl says of the best epoch of a fold, of which `views` are predicted."""
        return {}

    def score(self, metric: Metric, rows: np.ndarray, answers: np.ndarray) -> float:
        """The metric of some rows of the training set, the last step of the answer at its best for them. Images that
        are answered together count as one answer. answers: (n, C) of the rows."""
        targets, groups = self.data.truths[rows], self.data.groups(rows)
        if groups is not None:
            targets, answers = targets[groups.first], groups.mean(answers)
        return self.score_answers(metric, targets, answers)

    def score_answers(self, metric: Metric, targets: np.ndarray, answers: np.ndarray) -> float:
        """The same for answers of one row each."""
        return score_probs(metric, targets, answers)


class ValueStep(TrainStep):
    """A regressor. The loss is on targets of mean 0 and deviation 1, as they are on the training rows; with bins it is
    on the logits of each target's."""

    task = REGRESS
    head = "values"
    builder = staticmethod(build_regressor)

    def __init__(self, config: RunConfig, data: TrainingSet) -> None:
        super().__init__(config, data)
        if "qwk" in config.loss.weighted and len(data.classes) > 1:
            raise ConfigError(f"run '{config.run}': loss 'qwk' is of one target, and there are {len(data.classes)}: "
                              f"{', '.join(data.classes)}; use loss ordinal or cross_entropy")

    def build(self, rows: np.ndarray) -> nn.Module:
        net = super().build(rows)
        assert isinstance(net, nn.Sequential)
        self.last = net[-1]
        if isinstance(self.last, BinnedValues):
            self.last.measure(self.data.targets[rows], self.config.range)
        elif isinstance(self.last, TargetUnits):
            self.last.measure(self.data.targets[rows])
        return net

    def weighted_losses(self, outputs: torch.Tensor, targets: torch.Tensor,
                        weights: torch.Tensor | None) -> torch.Tensor:
        if isinstance(self.last, BinnedValues):  # a row a target, to the loss
            shares = self.last.soft(targets)
            weights = None if weights is None else weights.repeat_interleave(targets.shape[1])
            return self.loss(outputs.reshape(-1, shares.shape[-1]), shares.reshape(-1, shares.shape[-1]), weights)
        assert isinstance(self.last, TargetUnits)
        return self.loss(self.last.standard(outputs), self.last.standard(targets), weights)

    def compared(self, numbers: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.last, TargetUnits)  # a run with bins has no teacher
        return self.last.standard(numbers)

    def score_answers(self, metric: Metric, targets: np.ndarray, answers: np.ndarray) -> float:
        if metric.needs != "grades":
            limits = self.config.range
            return metric(targets, answers if limits is None else cut_values(answers, limits))
        grades = targets[:, 0].astype(np.int64)
        return best_cuts(answers[:, 0], grades, int(grades.max()) + 1)[1]


class VectorStep(TrainStep):
    """An embedder. Items that are of no identity are queries only: nothing is learned from them."""

    task = EMBED
    head = "vectors"
    builder = staticmethod(build_embedder)
    has_gallery = True

    @property
    def width(self) -> int:
        return self.config.embed.dim

    def weighted_losses(self, outputs: torch.Tensor, targets: torch.Tensor,
                        weights: torch.Tensor | None) -> torch.Tensor:
        return self.loss(outputs, targets if weights is None else targets[:, 0].long(), weights)

    def learnable(self, rows: np.ndarray) -> np.ndarray:
        targets = self.data.targets[rows]
        return rows[(targets < self.data.identities) | (targets >= len(self.data.classes))]

    def gallery(self, rows: np.ndarray, predict: Predict) -> Gallery | None:
        rows = rows[self.data.targets[rows] < self.data.identities]  # what was flipped is nobody that a query may be
        return Gallery(self.merged(predict(rows)), self.data.targets[rows].astype(np.int32))

    def answers(self, views: list[Rows], gallery: Gallery | None) -> np.ndarray:
        assert gallery is not None
        return identity_scores(self.merged(views), gallery.vectors, gallery.identities,
                               len(self.data.classes), self.config.embed.retrieval, self.data.none)

    def measures(self, views: list[Rows], fold: int, gallery: Gallery | None) -> dict[str, object]:
        """Recall@k of the items by cosine alone, whatever `embed` says of expansion and re-ranking."""
        assert gallery is not None
        found = nearest_items(self.merged(views), gallery.vectors, max(RECALL_AT)).places
        recall = recall_of_items(self.data.targets[self.data.fold == fold], gallery.identities[found],
                                 gallery.identities, RECALL_AT)
        return {"recall": {str(k): round(share, 6) for k, share in recall.items()}}

    def score_answers(self, metric: Metric, targets: np.ndarray, answers: np.ndarray) -> float:
        weights = query_weights(targets, len(self.data.classes) - 1 if self.data.none else None, self.data.queries)
        if self.data.none:
            return best_new_class(answers, targets, metric.map_at, weights).score
        return weighted_score(metric, targets, answers, weights)


STEPS: dict[str, type[TrainStep]] = {"multiclass": TrainStep, "multilabel": TrainStep, "regress": ValueStep,
                                     "embed": VectorStep}
