"""The golden check: a checkpoint remembers what its network said to a fixed picture, and every kernel asks it again.

Another version of timm or torch may build a network of the same name and shapes that computes something else. That
gives no error, only a bad score; here it gives an error that names the run and the versions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import timm
import torch
from torch import nn

from foldpack.errors import FoldpackError
from foldpack.models.checkpoint import CheckpointInfo, GoldenLogits
from foldpack.models.classifier import normalise
from foldpack.settings.network import NetConfig, height_width

GOLDEN_CLASSES = 32  # the first so many logits are remembered
Probe = Callable[[nn.Module, torch.Tensor], torch.Tensor]  # (net, normalised pixels) -> raw numbers
GOLDEN_TOLERANCE = 0.02  # of the largest remembered logit, or of 1 where all are smaller


class GoldenError(FoldpackError):
    """A network that no longer computes what it computed in training."""


def golden_pixels(net: NetConfig) -> torch.Tensor:
    """(2, H, W, C) uint8: a smooth picture with edges, and its mirror image. The same on every machine."""
    height, width = height_width(net.size)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    planes = [(rows * 5 + columns * 3) % 256, (rows * columns // max(1, height // 8)) % 256,
              ((rows // 4 + columns // 4) % 2) * 160 + 40]
    picture = torch.stack([planes[channel % 3] for channel in range(net.channels)], dim=-1).to(torch.uint8)
    return torch.stack([picture, picture.flip(1)])


def raw_outputs(net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """(2, C) of a network that gives numbers for an image."""
    return net(pixels)


def golden_logits(net: nn.Module, config: NetConfig, device: torch.device, probe: Probe = raw_outputs) -> np.ndarray:
    """(2, C') float32 in full precision: what a network in eval mode on `device` says to the golden picture."""
    exact = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            outputs = probe(net, normalise(golden_pixels(config).to(device), config))
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = exact
    return outputs[:, :GOLDEN_CLASSES].float().cpu().numpy()


def remember_golden(net: nn.Module, config: NetConfig, device: torch.device) -> GoldenLogits:
    """What a checkpoint remembers; logits rounded to 6 digits."""
    logits = [[float(f"{value:.6g}") for value in row] for row in golden_logits(net, config, device)]
    return GoldenLogits(logits=logits, versions=library_versions())


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what a network computes."""
    return {"timm": timm.__version__, "torch": torch.__version__}


def check_golden(net: nn.Module, info: CheckpointInfo, device: torch.device, probe: Probe = raw_outputs
                 ) -> float | None:
    """The largest difference to what the checkpoint remembers; None for one that remembers nothing.

    probe: `tasks.protocol.Task.probe`. Raises GoldenError when it is too large.
    """
    if info.golden is None:
        return None
    expected = np.asarray(info.golden.logits, dtype=np.float32)
    got = golden_logits(net, info.net, device, probe)
    difference = float(np.abs(got - expected).max()) if got.shape == expected.shape else float("nan")
    allowed = GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        here = library_versions()
        versions = ", ".join(f"{name} {there} -> {here.get(name)}" for name, there in info.golden.versions.items())
        raise GoldenError(
            f"run '{info.run}' fold {info.fold}: the network '{info.net.arch}' differs by {difference:.4g} from what "
            f"it said in training (allowed: {allowed:.4g}); versions then -> now: {versions}. Attach the versions of "
            "training as wheels, or train again with those of the kernel")
    return difference
