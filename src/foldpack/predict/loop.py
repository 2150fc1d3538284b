"""The one predict loop: out-of-fold predictions and the kernel both run it, so they can be compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from foldpack.models.classifier import normalise
from foldpack.predict.view_pixels import apply_view
from foldpack.predict.views import parse_view, require_views
from foldpack.spec import NetConfig


def predict_logits(
    net: nn.Module,
    config: NetConfig,
    pixels: np.ndarray,
    views: list[str],
    device: torch.device,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Logits of every item under every view, (V, n, C) float32.

    net: on `device`, in eval mode. pixels: (n, size, size, 3) uint8. On a GPU the network runs in fp16 autocast,
    on the CPU in fp32. `on_batch` is called with the number of items done before each batch; what it raises
    (a deadline) ends the loop.
    """
    require_views(views)
    parts: list[np.ndarray] = []
    half = device.type == "cuda"
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.float16, enabled=half):
        for start in range(0, len(pixels), batch_size):
            if on_batch is not None:
                on_batch(start)
            batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch_size])).to(device)
            images = normalise(batch, config)
            logits = [net(apply_view(parse_view(view), images)).float() for view in views]
            parts.append(torch.stack(logits).cpu().numpy())  # (V, B, C)
    if not parts:
        raise ValueError("predict_logits needs at least one item; the caller answers an empty test set itself")
    return np.concatenate(parts, axis=1)


def pick_device() -> torch.device:
    """The GPU if a real operation runs on it, else the CPU.

    `cuda.is_available()` is not enough: on a P100 the image's torch has no kernels and the first operation dies.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        probe = torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8, device="cuda"), torch.ones(4, 3, 3, 3, device="cuda"))
        torch.cuda.synchronize()
        return torch.device("cuda" if bool(torch.isfinite(probe).all()) else "cpu")
    except RuntimeError as failure:
        print(f"the GPU does not work ({str(failure).splitlines()[0]}); going on with the CPU", flush=True)
        return torch.device("cpu")
