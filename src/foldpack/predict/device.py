"""Which devices work here, and how: found out by trying, as what they say of themselves is not always true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["fp32", "fp16", "bf16"]
BATCH_IMAGES = {"cuda": 64, "cpu": 32}  # images of all views that go through a network at a time


@dataclass(frozen=True)
class ProbedDevice:
    """A device on which a real operation gave the right numbers."""

    name: str  # as torch takes it
    title: str  # for the log
    precision: Precision


def probe_devices(limit: int | None = None) -> list[ProbedDevice]:
    """The GPUs that work, at most `limit`; the CPU when none does.

    `cuda.is_available()` is not enough: on a P100 the image's torch has no kernels and the first operation dies. Starts
    CUDA in this process; ask in a process of its own where workers are forked.
    """
    found: list[ProbedDevice] = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if limit is not None and len(found) >= limit:
            break
        try:
            found.append(probe_cuda(number))
        except RuntimeError as failure:
            print(f"GPU {number} does not work ({str(failure).splitlines()[0]}); going on without it", flush=True)
    return found or [cpu_device()]


def cpu_device() -> ProbedDevice:
    """The processor, in float32 as the out-of-fold predictions."""
    return ProbedDevice("cpu", "CPU", "fp32")


def probe_cuda(number: int) -> ProbedDevice:
    """Try a convolution on one GPU. Raises RuntimeError when it does not work or is wrong."""
    device = f"cuda:{number}"
    images = torch.arange(192, dtype=torch.float32).reshape(1, 3, 8, 8) / 192
    weights = torch.ones(4, 3, 3, 3)
    expected = torch.nn.functional.conv2d(images, weights)
    got = torch.nn.functional.conv2d(images.to(device), weights.to(device)).cpu()
    if not torch.allclose(got, expected, rtol=1e-2, atol=1e-2):
        raise RuntimeError(f"a convolution gives {float(got.flatten()[0]):.4f}, not {float(expected.flatten()[0]):.4f}")
    capability = torch.cuda.get_device_capability(number)
    properties = torch.cuda.get_device_properties(number)
    title = f"{properties.name}, compute {capability[0]}.{capability[1]}, {properties.total_memory >> 20} MiB"
    return ProbedDevice(device, title, cuda_precision(capability))


def cuda_precision(capability: tuple[int, int]) -> Precision:
    """Half precision as the tensor cores have it. Never bf16 by `is_bf16_supported`: it says yes where it is emulated.

    From compute capability 8.0 on bf16 is native and as fast as fp16, but keeps 8 bits where fp16 keeps 11: fp16 is
    nearer to the out-of-fold numbers. Before 7.0 there are no tensor cores, and fp16 gains nothing.
    """
    return "fp16" if capability >= (7, 0) else "fp32"


def pick_device() -> torch.device:
    """The first device that works."""
    return torch.device(probe_devices(limit=1)[0].name)
