"""What a network is shown at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from foldpack.settings.network import NetConfig


@dataclass(frozen=True)
class Batch:
    """Some rows of a stage, on the device and normalised."""

    images: torch.Tensor  # (B, C, H, W) float32: a picture or page a row, or the crops of all boxes of the rows
    config: NetConfig  # of the network that sees them
    starts: np.ndarray | None = None  # (rows + 1,) int64: where the crops of each row begin; None: one image a row
    frames: np.ndarray | None = None  # (rows, 6): file height and width, scale and offset of the canvas
    box: np.ndarray | None = None  # (N, 4) float32 xyxy, pixels of the file: the known boxes of all rows
