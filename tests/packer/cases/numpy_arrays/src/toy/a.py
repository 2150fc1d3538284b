from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEAN = np.array([0.5, 0.25, 0.125], dtype=np.float32)


def normalise(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return (pixels - MEAN) / np.float32(2)
