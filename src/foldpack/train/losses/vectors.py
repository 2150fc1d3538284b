"""Losses of embeddings: (B, D) vectors of length 1 and (B,) int64 identities. All but `triplet` learn vectors too."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from foldpack.settings.training.loss import LossConfig
from foldpack.train.losses.item_loss import ItemLoss

COSINE_SCALE = 20.0  # of `cosine_softmax`, a temperature of 0.05 (arXiv 1703.09507; third place of Kuzushiji 2019)


class MarginLoss(nn.Module):
    """A loss of pytorch-metric-learning on unit vectors and identities, in full precision. Its class vectors learn."""

    def __init__(self, name: str, config: LossConfig, identities: int, dim: int) -> None:
        """name: `arcface` (arXiv 1801.07698), `sub_center_arcface` (ECCV 2020), `cosface` (arXiv 1801.09414),
        `cosine_softmax`, `proxy_anchor` (arXiv 2003.13911) or `triplet` (arXiv 1503.03832)."""
        super().__init__()
        from pytorch_metric_learning import losses, miners, reducers  # a second, which only this task has to wait for

        given: dict[str, Any] = {"margin": config.margin, "scale": config.scale}
        given = {setting: value for setting, value in given.items() if value is not None}
        sized: dict[str, Any] = {"num_classes": identities, "embedding_size": dim, **given}
        self.miner: nn.Module | None = None
        if name == "arcface":
            self.of: Any = losses.ArcFaceLoss(**sized)
        elif name == "sub_center_arcface":
            self.of = losses.SubCenterArcFaceLoss(**sized, sub_centers=config.centers)
        elif name == "cosface":
            self.of = losses.CosFaceLoss(**sized)
        elif name == "cosine_softmax":
            self.of = losses.NormalizedSoftmaxLoss(identities, dim, temperature=1 / (config.scale or COSINE_SCALE))
        elif name == "proxy_anchor":
            scale = {} if config.scale is None else {"alpha": config.scale}
            self.of = losses.ProxyAnchorLoss(identities, dim, **scale,
                                             **({} if config.margin is None else {"margin": config.margin}))
        else:
            self.of = losses.TripletMarginLoss(**given)
            if config.miner == "batch_hard":
                self.miner = miners.BatchHardMiner()
            elif config.miner != "all":
                self.miner = miners.TripletMarginMiner(**given, type_of_triplets=config.miner)
            if config.memory is not None:  # it mines among the vectors that it keeps
                self.of, self.miner = MemoryLoss(self.of, self.miner, dim, config.memory), None
        self.mean, self.apart = getattr(self.of, "reducer", None), reducers.DoNothingReducer()

    def forward(self, vectors: torch.Tensor, identities: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """weights: (B,), for losses that are a mean over items; None: all 1."""
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.float()
            found = None if self.miner is None else self.miner(vectors, identities)
            if self.mean is not None:
                self.of.reducer = self.mean if weights is None else self.apart
            losses = self.of(vectors, identities, found)
            return losses if weights is None else (losses["loss"]["losses"] * weights).mean()


class MemoryLoss(nn.Module):
    """Cross-batch memory (arXiv 1912.06798): a batch is compared with the last vectors of earlier batches, too."""

    state: torch.Tensor

    def __init__(self, loss: nn.Module, miner: nn.Module | None, dim: int, size: int) -> None:
        """loss, miner: of triplets; size: vectors that are kept, those of the batch among them."""
        super().__init__()
        from pytorch_metric_learning.losses import CrossBatchMemory

        self.kept: Any = CrossBatchMemory(loss, dim, size, miner)
        self.register_buffer("state", torch.zeros(2, dtype=torch.int64))  # what the library keeps outside of buffers

    def forward(self, vectors: torch.Tensor, identities: torch.Tensor, found: None = None) -> torch.Tensor:
        """As of the loss. In validation nothing is remembered, since nothing is asked."""
        place, filled = self.state.tolist()
        self.kept.queue_idx, self.kept.has_been_filled = place, bool(filled)
        loss = self.kept(vectors, identities)
        self.state.copy_(torch.tensor([self.kept.queue_idx, int(self.kept.has_been_filled)]))
        return loss


class AdaCosLoss(ItemLoss):
    """AdaCos (arXiv 1905.00292): cross-entropy of cosines whose scale follows from how sure the network is.

    The scale begins at sqrt(2) log(C - 1). At every batch it becomes log(B) / cos(min(pi / 4, m)), with B the mean over
    the items of the sum of exp(scale cosine) over wrong identities, and m the median angle to the right one. It stays
    at 1 or more, which matters for two or three identities only.
    """

    scale: torch.Tensor

    def __init__(self, identities: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(identities, dim))
        nn.init.xavier_uniform_(self.vectors)
        self.register_buffer("scale", torch.tensor(max(1.0, math.sqrt(2) * math.log(max(identities - 1, 1)))))

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(outputs.device.type, enabled=False):
            cosines = normalize(outputs.float()) @ normalize(self.vectors).T
            if self.training:
                self.follow(cosines.detach(), targets)
            return cross_entropy(cosines * self.scale, targets, reduction="none")

    def follow(self, cosines: torch.Tensor, targets: torch.Tensor) -> None:
        """Take the scale from a batch. cosines: (B, C)."""
        right = targets[:, None] == torch.arange(cosines.shape[1], device=cosines.device)
        wrong = (cosines * self.scale).exp().masked_fill(right, 0.0).sum(dim=1).mean()
        angle = cosines[right].clamp(-1, 1).acos().median().clamp(max=math.pi / 4)
        self.scale.copy_((wrong.log() / angle.cos()).clamp(min=1.0))
