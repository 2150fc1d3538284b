"""Test-time views: all in one forward, against ttach's loop of one forward a view.

    python benchmarks/views.py [--arch resnet18] [--size 224] [--images 64] [--batch 8] [--repeats 5]

Both see the same network, the same normalised images and the eight turns of the square, and average the same
probabilities; the answers are compared before anything is timed. On a GPU where there is one. The peer that is not
installed is said to be missing; `make bench-setup` installs it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType

import timm
import torch
from peers import find_peer

from foldpack.predict.view_pixels import split_views, stack_views
from foldpack.predict.views import VIEW_TURNS, parse_view


def stacked(net: torch.nn.Module, images: torch.Tensor, batch: int, size: int) -> torch.Tensor:
    """(n, C) mean probabilities; a batch is `batch` forwards of views in all, as the peer's."""
    views, parts = [parse_view(name) for name in VIEW_TURNS], []
    rows = max(1, batch // len(views))
    for start in range(0, len(images), rows):
        [(_, shown)] = stack_views(views, images[start : start + rows], size)
        logits = net(shown).float()
        parts.append(split_views(logits, len(views)).softmax(-1).mean(0))
    return torch.cat(parts)


def looped(ttach: ModuleType, net: torch.nn.Module, images: torch.Tensor, batch: int) -> torch.Tensor:
    """The same with ttach: every view of a batch in a forward of its own."""
    wrapped = ttach.ClassificationTTAWrapper(
        torch.nn.Sequential(net, torch.nn.Softmax(-1)), ttach.aliases.d4_transform(), merge_mode="mean")
    return torch.cat([wrapped(images[start : start + batch]).float() for start in range(0, len(images), batch)])


def seconds(work: Callable[[], torch.Tensor]) -> float:
    """Of one call, the device's work included."""
    started = time.perf_counter()
    work().sum().item()
    return time.perf_counter() - started


def main() -> None:
    """Print the ratio for some batch sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    net = timm.create_model(asked.arch, num_classes=10).eval().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(asked.images, 3, asked.size, asked.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    print(f"{asked.arch} at {asked.size} px, {asked.images} images x 8 views, {device}, torch {torch.__version__}")
    ttach = find_peer("ttach", "every row")
    if ttach is None:
        return
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
        for batch in asked.batch:
            ours, theirs = stacked(net, images, batch, asked.size), looped(ttach, net, images, batch)
            difference = float((ours - theirs).abs().max())
            pairs = [(seconds(partial(stacked, net, images, batch, asked.size)),
                      seconds(partial(looped, ttach, net, images, batch))) for _ in range(asked.repeats)]
            mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratios = sorted(second / first for first, second in pairs)
            print(f"{batch} images a forward: stacked {mine:.3f} s, ttach {other:.3f} s, "
                  f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
                  f"largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
