"""Foreign `.pth` files into safetensors, and weights into half precision. Never used in a kernel."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from foldpack.errors import FoldpackError
from foldpack.files import atomic_path

WEIGHT_KEYS = ("state_dict", "model_state_dict", "model", "weights")  # where other people's checkpoints keep them
FP16_KEY = "foldpack_fp16"


class WeightFileError(FoldpackError):
    """A file of weights that cannot be read, or must not be."""


class HalfPrecisionError(WeightFileError):
    """Weights that half precision cannot hold."""


@dataclass(frozen=True)
class RoundingReport:
    """What half precision did to the weights."""

    tensors: int  # how many were rounded
    max_abs_error: float
    max_rel_error: float  # largest |rounded - exact| / largest |exact| over the tensors
    underflows: int  # values other than zero that became zero


def convert_pth(source: Path, target: Path, *, half: bool = False) -> tuple[int, list[str]]:
    """A `.pth` file -> safetensors at `target`; how many tensors, and which entries were left out as they are none.

    Read with `weights_only=True`: a file that needs any Python object is refused, as unpickling one runs its code.
    """
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightFileError(
            f"{source}: holds Python objects besides tensors, and unpickling those can run code; where you trust the "
            "file, load it there and save its state_dict()"
        ) from None
    except Exception as failure:  # torch meets a damaged file with almost any exception
        raise WeightFileError(f"{source}: cannot be read as .pth ({type(failure).__name__}); check the file") from None
    tensors, left_out = find_weights(content, source)
    metadata = {}
    if half:
        tensors, report = round_to_half(tensors, str(source))
        metadata[FP16_KEY] = json.dumps(asdict(report))
    save_weights(tensors, target, metadata)
    return len(tensors), left_out


def halve_weights(source: Path, target: Path) -> RoundingReport:
    """A safetensors file -> the same in half precision at `target`; what rounding did is recorded in its metadata."""
    try:
        with safe_open(source, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (OSError, SafetensorError) as failure:
        raise WeightFileError(f"{source}: cannot be read as safetensors ({type(failure).__name__}); check it") from None
    rounded, report = round_to_half(tensors, str(source))
    save_weights(rounded, target, {**metadata, FP16_KEY: json.dumps(asdict(report))})
    return report


def find_weights(content: Any, source: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors by name in what a `.pth` held, and the names of what else lay beside them."""
    for key in WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise WeightFileError(f"{source}: holds a {type(content).__name__}, want a state_dict; save model.state_dict()")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        names = ", ".join(str(name) for name in list(content)[:8])
        raise WeightFileError(
            f"{source}: no tensors, neither at the top nor under {', '.join(WEIGHT_KEYS)}; it has: {names or 'nothing'}"
        )
    return tensors, [str(name) for name in content if str(name) not in tensors]


def round_to_half(tensors: Mapping[str, torch.Tensor], source: str) -> tuple[dict[str, torch.Tensor], RoundingReport]:
    """Tensors of 32 or 64 bit floats -> fp16; others as they are. Raises HalfPrecisionError on what would overflow."""
    rounded, largest_abs, largest_rel, underflows, count = {}, 0.0, 0.0, 0, 0
    for name, tensor in tensors.items():
        rounded[name] = tensor
        if tensor.dtype not in (torch.float32, torch.float64) or not tensor.numel():
            continue
        half = tensor.to(torch.float16)
        if not bool(torch.isfinite(half).all()):
            raise HalfPrecisionError(
                f"{source}: tensor '{name}' has values beyond 65504 or not finite, which fp16 cannot hold; "
                "leave out --fp16 for this file"
            )
        error = float((half.double() - tensor.double()).abs().max())
        largest_abs = max(largest_abs, error)
        largest_rel = max(largest_rel, error / (float(tensor.abs().max()) or 1.0))
        underflows += int(((half == 0) & (tensor != 0)).sum())
        rounded[name], count = half, count + 1
    return rounded, RoundingReport(count, largest_abs, largest_rel, underflows)


def save_weights(tensors: Mapping[str, torch.Tensor], target: Path, metadata: dict[str, str]) -> None:
    """Write safetensors atomically. Tensors that share memory are written once for each name."""
    own = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(target) as temporary:
        save_file(own, temporary, metadata=metadata or None)
