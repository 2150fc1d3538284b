"""Foreign `.pth` files into safetensors, and weights into half precision. Never used in a kernel."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from foldpack.files import atomic_path
from foldpack.models.weight_sets import Chosen, WeightFileError, choose_weights

FP16_KEY = "foldpack_fp16"
PTH_BEGINS = (b"PK", b"\x80")  # a zip archive; before PyTorch 1.6 a pickle
OTHER_FORMATS = {  # how files begin that are taken for `.pth`
    re.compile(rb".{8}\{\s*\"", re.DOTALL): "is safetensors already, whatever its name says; let it end in "
                                             ".safetensors",
    re.compile(rb"version https://git-lfs"): "is a pointer of Git LFS, not the file itself; run `git lfs pull`",
    re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE): "is a web page, not weights; download the file again",
    re.compile(rb"\x89HDF\r\n"): "is HDF5, as Keras writes it; want what torch.save wrote",
}
HARMLESS = (argparse.Namespace, np.ndarray, np.dtype, *(  # what unpickling may make besides tensors: it runs no code
    kind for kind in vars(np.dtypes).values() if isinstance(kind, type) and issubclass(kind, np.dtype)))


class HalfPrecisionError(WeightFileError):
    """Weights that half precision cannot hold."""


@dataclass(frozen=True)
class RoundingReport:
    """What half precision did to the weights."""

    tensors: int  # how many were rounded
    max_abs_error: float
    max_rel_error: float  # largest |rounded - exact| / largest |exact| over the tensors
    underflows: int  # values other than zero that became zero


def convert_pth(source: Path, target: Path, *, key: str | None = None, half: bool = False) -> Chosen:
    """One set of weights of a `.pth` file -> safetensors at `target`; what was taken and what was left out.

    key: which set, where there are several; see `choose_weights`. Raises WeightFileError.
    """
    chosen = choose_weights(read_pth(source), str(source), key)
    tensors, metadata = chosen.tensors, {}
    if half:
        tensors, report = round_to_half(tensors, str(source))
        metadata[FP16_KEY] = json.dumps(asdict(report))
    save_weights(tensors, target, metadata, str(source))
    return chosen


def read_pth(source: Path) -> Any:
    """What `torch.save` wrote, as far as it is tensors, NumPy arrays and scalars, namespaces and plain values.

    Read with `weights_only=True`: a file that needs another Python object is refused, as unpickling one runs its
    code. Raises WeightFileError.
    """
    if what := other_format(source):
        raise WeightFileError(f"{source}: {what}")
    try:
        with torch.serialization.safe_globals([*HARMLESS, *harmless_makers()]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on old pickles
            return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with open(source, "rb") as file:
            begin = file.read(20)
        if not begin.startswith(PTH_BEGINS):
            raise WeightFileError(f"{source}: is no .pth, it begins with {begin!r}; give a file that torch.save "
                                  "wrote") from None
        raise WeightFileError(
            f"{source}: holds Python objects besides tensors{strange_objects(source)}, and unpickling those can run "
            "code; where you trust the file, load it there and save its state_dict()"
        ) from None
    except Exception as failure:  # torch meets a damaged file with almost any exception
        raise WeightFileError(f"{source}: cannot be read as .pth ({type(failure).__name__}); check the file") from None


def other_format(source: Path) -> str:
    """What a file is that `torch.save` never wrote, and what to do; "" for one that it may have written."""
    try:
        with open(source, "rb") as file:
            begin = file.read(64)
    except OSError:
        return ""
    with suppress(OSError, BadZipFile), ZipFile(source) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return ("is a TorchScript archive, which holds code; where you trust it, torch.jit.load it and save its "
                    "state_dict()")
    return next((text for found, text in OTHER_FORMATS.items() if found.match(begin)), "")


def harmless_makers() -> list[Any]:
    """What makes NumPy's arrays and scalars, and paths, under the names that pickles of all versions have for it."""
    makers = [(numpy_scalar, "scalar"), (np.zeros(1).__reduce__()[0], "_reconstruct")]
    made: list[Any] = [(make, f"numpy.{core}.multiarray.{name}") for make, name in makers for core in ("core", "_core")]
    paths = [(PurePosixPath, "PosixPath"), (PureWindowsPath, "WindowsPath")]
    return made + [(kind, f"{module}.{name}") for kind, name in paths for module in ("pathlib", "pathlib._local")]


def numpy_scalar(dtype: np.dtype, data: bytes | str) -> Any:
    """One number as NumPy pickles it. Raises UnpicklingError for what holds Python objects."""
    if dtype.hasobject:
        raise pickle.UnpicklingError("a scalar of objects")
    return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, dtype=dtype)[0]


def strange_objects(source: Path) -> str:
    """The names of what a file wants to unpickle, in brackets; "" where torch cannot tell."""
    try:
        with torch.serialization.safe_globals([*HARMLESS, *harmless_makers()]):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except Exception:  # not a zip file, or damaged
        return ""
    return f" ({', '.join(sorted(names)[:5])})" if names else ""


def halve_weights(source: Path, target: Path) -> RoundingReport:
    """A safetensors file -> the same in half precision at `target`; what rounding did is recorded in its metadata."""
    try:
        with safe_open(source, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (OSError, SafetensorError) as failure:
        raise WeightFileError(f"{source}: cannot be read as safetensors ({type(failure).__name__}); check it") from None
    rounded, report = round_to_half(tensors, str(source))
    save_weights(rounded, target, {**metadata, FP16_KEY: json.dumps(asdict(report))}, str(source))
    return report


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


def save_weights(tensors: Mapping[str, torch.Tensor], target: Path, metadata: dict[str, str], source: str) -> None:
    """Write safetensors atomically. Tensors that share memory are written once for each name.

    Raises WeightFileError for a tensor that safetensors cannot hold: sparse, quantized, or without values.
    """
    own = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            kind = "sparse" if tensor.layout != torch.strided else "quantized" if tensor.is_quantized else "empty"
            raise WeightFileError(f"{source}: tensor '{name}' is {kind}, which safetensors cannot hold; save it dense")
        own[name] = tensor.detach().resolve_conj().resolve_neg().contiguous().clone()
    with atomic_path(target) as temporary:
        save_file(own, temporary, metadata=metadata or None)
