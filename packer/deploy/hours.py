"""How long a kernel will run on Kaggle, from what its ensemble says of its networks, and on which accelerator."""

from __future__ import annotations

from foldpack.predict.views import cost_of_views
from foldpack.search.hours.cost import Machine, MemberCost, member_hours
from foldpack.settings.ensemble import EnsembleSpec

# Kaggle's name of a machine -> its GPUs that work at once. All but the first only where the competition allows them.
ACCELERATORS = {
    "NvidiaTeslaT4": 2,
    "NvidiaL4": 4,
    "NvidiaL4X1": 1,
    "NvidiaTeslaA100": 1,
    "NvidiaH100": 1,
    "NvidiaRtxPro6000": 1,
}
RETIRED = {"NvidiaTeslaP100": "Kaggle has retired the P100, and the image's torch has no kernels for it"}


def predict_hours(spec: EnsembleSpec, images: int, accelerator: str, factor: float) -> float:
    """Hours of all units: seconds_per_image x folds x views x images x factor + loading, shared by the GPUs.

    factor: how many times slower one GPU of the kernel is than the device on which the seconds were measured.
    """
    machine = Machine(images, device_factor=factor, devices=ACCELERATORS.get(accelerator, 1))
    costs = [MemberCost(one.seconds_per_image, len(one.folds), cost_of_views(one.views, one)) for one in spec.members]
    return sum(member_hours(cost, machine) for cost in costs) + machine.start_seconds / 3600
