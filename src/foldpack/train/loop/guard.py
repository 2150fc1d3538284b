"""Updates whose loss or gradient is not finite are left out, as if their batches had never been there."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.utils import get_total_norm


class NotFiniteLoss(Exception):
    """Too many updates in a row were left out. Says what was not finite."""


class UpdateGuard:
    """Watches the losses of an update's batches and its gradient, and undoes what the batches did to buffers: a batch
    norm takes what is not finite into its statistics without an update."""

    def __init__(self, accelerator: Accelerator, parts: list[nn.Module]) -> None:
        """parts: the network, and the loss, whose buffers change too."""
        self.accelerator = accelerator
        self.buffers = [buffer for part in parts for name, buffer in part.named_buffers() if name in part.state_dict()]
        self.before = [buffer.clone() for buffer in self.buffers]
        self.losses: list[float] = []

    def begin(self) -> None:
        """Before the first batch of an update."""
        self.losses = []
        copy_all(self.before, self.buffers)

    def note(self, loss: float) -> None:
        """Of a batch."""
        self.losses.append(loss)

    def fault(self, optimizer: torch.optim.Optimizer) -> str | None:
        """What is not finite: "loss is nan", "gradient is inf"; None if all is, in all processes. Else undoes buffers.

        With fp16 gradients are scaled, and the scaler leaves out what overflows: that is no fault.
        """
        found = [f"loss is {loss}" for loss in self.losses if not math.isfinite(loss)]
        if not found and self.accelerator.scaler is None:
            norm = get_total_norm([one.grad for group in optimizer.param_groups for one in group["params"]
                                   if one.grad is not None]).item()
            found = [] if math.isfinite(norm) else [f"gradient is {norm}"]
        if self.accelerator.num_processes > 1:
            everywhere = torch.tensor([float(len(found))], device=self.accelerator.device)
            total: torch.Tensor = self.accelerator.reduce(everywhere, "sum")
            found = found or ["loss of another process is not finite"] * int(total.item() > 0)
        if not found:
            return None
        copy_all(self.buffers, self.before)
        return found[0]


@torch.no_grad()
def copy_all(into: list[torch.Tensor], source: list[torch.Tensor]) -> None:
    """Copy tensors, a pair at a time in as few steps as the device knows."""
    if into:
        torch._foreach_copy_(into, source)
