from __future__ import annotations

import numpy as np
import torch.nn as nn


def g() -> object:
    return np, nn
