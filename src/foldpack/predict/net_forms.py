"""How a network runs fastest on this very device: the order of its pixels in memory, and whether compiling it pays.

Published ratios differ by architecture and device (channels-last 0.95 to 1.25, compiled 1.1 to 2), so a form is kept
only when it was measured to be faster here and gives the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

FASTER = 1.05  # a form must be so many times faster than the one before to be taken
SAME_WITHIN = 0.02  # largest difference of a logit, as a share of the largest logit; half precision moves them by less
COMPILE_SECONDS = 60.0  # until one was measured
COMPILE_GAIN = 1.3  # what compiling may be hoped to gain; it must save twice what it costs
TUNING_BATCHES = 4

ModuleTimer = Callable[[nn.Module, torch.Tensor], tuple[float, torch.Tensor]]


class TunedNet(nn.Module):
    """A network in the form that was chosen. The weights stay those of `net`: new ones may be loaded into it."""

    def __init__(self, net: nn.Module, form: str) -> None:
        """form: "channels_last", "contiguous", or "compiled"."""
        super().__init__()
        self.net = net
        self.form = form
        self.call: Callable[[torch.Tensor], torch.Tensor] = torch.compile(net) if form == "compiled" else net
        self.full = 0  # images of the largest batch that went through since the last that did not

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, C). A compiled network gets batches of one size only: another would compile it again."""
        if self.form == "contiguous":
            return self.call(images.contiguous())
        if self.form != "compiled":
            return self.call(images)
        full, self.full = max(self.full, len(images)), 0  # a size that fails must not be that of smaller batches
        missing = full - len(images)
        if missing:
            try:
                outputs = self.call(torch.cat([images, images[:1].expand(missing, *images.shape[1:])]))[: len(images)]
                self.full = full
                return outputs
            except RuntimeError:  # no memory for the padding, perhaps; anything else is raised again below
                pass
        outputs = self.call(images)
        self.full = len(images)
        return outputs


@dataclass(frozen=True)
class Tuning:
    """What was tried, seconds for a batch, and what was chosen."""

    form: str
    seconds: dict[str, float]

    def text(self) -> str:
        """For the log."""
        tried = ", ".join(f"{form} {1000 * spent:.1f} ms" for form, spent in self.seconds.items())
        return f"{self.form} ({tried} a batch)"


def tune_net(net: nn.Module, sample: torch.Tensor, batches: float, timer: ModuleTimer | None = None) -> Tuning:
    """Try the forms of a network that is on its device, in channels-last order, in eval mode.

    sample: (B, 3, S, S) in channels-last order, a batch of the size that will come; batches: how many will come. The
    network is left in the memory order of the chosen form. Call it inside the precision that it will run in.
    """
    measure = timer or time_module
    seconds: dict[str, float] = {}
    seconds["channels_last"], expected = measure(TunedNet(net, "channels_last"), sample)
    best = "channels_last"
    net.to(memory_format=torch.contiguous_format)
    seconds["contiguous"], got = measure(TunedNet(net, "contiguous"), sample)
    if seconds["contiguous"] * FASTER < seconds[best] and same_outputs(expected, got):
        best = "contiguous"
    else:
        net.to(memory_format=torch.channels_last)
    saving = batches * seconds[best] * (1 - 1 / COMPILE_GAIN)
    if best == "channels_last" and saving > 2 * COMPILE_SECONDS:
        seconds["compiled"], got = measure(TunedNet(net, "compiled"), sample)
        if seconds["compiled"] * FASTER < seconds[best] and same_outputs(expected, got):
            best = "compiled"
    return Tuning(best, seconds)


def same_outputs(expected: torch.Tensor, got: torch.Tensor) -> bool:
    """Whether two forms of a network say the same."""
    scale = max(1.0, float(expected.abs().max()))
    return bool((expected - got).abs().max() <= SAME_WITHIN * scale)


def time_module(module: nn.Module, sample: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Median seconds of a batch after a first one that does not count, and the outputs, float32. A failure is slow."""
    spent = []
    try:
        with torch.inference_mode():
            outputs = module(sample).float()
            for _ in range(TUNING_BATCHES):
                wait_for_device(sample.device)
                started = time.perf_counter()
                module(sample)
                wait_for_device(sample.device)
                spent.append(time.perf_counter() - started)
    except Exception as failure:  # a compiler can fail in any way; the form that works already stays
        print(f"a form of the network does not work here ({str(failure).splitlines()[0][:200]})", flush=True)
        return float("inf"), torch.full((1,), float("nan"))
    return sorted(spent)[len(spent) // 2], outputs


def wait_for_device(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
