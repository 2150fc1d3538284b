from __future__ import annotations

import numpy as np


def count() -> int:
    return inner()


def inner() -> int:
    return int(np.sum([1]))


def shape() -> int:
    import torch

    return torch.zeros(1).ndim
