"""How long a kernel will run on Kaggle, from what its ensemble says of its networks, and on which accelerator."""

from __future__ import annotations

from dataclasses import dataclass

from foldpack.search.cost import Machine, MemberCost, member_hours
from foldpack.spec import EnsembleSpec


@dataclass(frozen=True)
class Accelerator:
    """A machine that kernels can have. devices: GPUs that work at once."""

    name: str
    devices: int
    said: str


ACCELERATORS = {
    one.name: one
    for one in (
        Accelerator("NvidiaTeslaT4", 2, "2 T4 of 15 GB"),
        Accelerator("NvidiaL4", 4, "4 L4 of 24 GB, where the competition allows them"),
        Accelerator("NvidiaL4X1", 1, "1 L4 of 24 GB, where the competition allows it"),
        Accelerator("NvidiaTeslaA100", 1, "1 A100, where the competition allows it"),
        Accelerator("NvidiaH100", 1, "1 H100, where the competition allows it"),
        Accelerator("NvidiaRtxPro6000", 1, "1 RTX Pro 6000, where the competition allows it"),
    )
}
RETIRED = {"NvidiaTeslaP100": "Kaggle has retired the P100, and the image's torch has no kernels for it"}


def predict_hours(spec: EnsembleSpec, images: int, accelerator: str, factor: float) -> float:
    """Hours of all units: seconds_per_image x folds x views x images x factor + loading, shared by the GPUs.

    factor: how many times slower one GPU of the kernel is than the device on which the seconds were measured.
    """
    devices = ACCELERATORS[accelerator].devices if accelerator in ACCELERATORS else 1
    machine = Machine(images, device_factor=factor, devices=devices)
    costs = [MemberCost(one.seconds_per_image, len(one.folds), len(one.views)) for one in spec.members]
    return sum(member_hours(cost, machine) for cost in costs) + machine.start_seconds / 3600
