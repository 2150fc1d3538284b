"""Checkpoints: safetensors with everything that rebuilds the network in the metadata. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from foldpack.files import atomic_path
from foldpack.models.classifier import MakeNet, ModelError, build_classifier
from foldpack.settings.network import NetConfig
from foldpack.settings.strict_model import StrictModel, parse_strict

METADATA_KEY = "foldpack"


class GoldenLogits(StrictModel):
    """What the network says to a fixed picture: `predict.golden`."""

    logits: list[list[float]]  # (2, C')
    versions: dict[str, str]  # of the libraries that computed them


class CheckpointInfo(StrictModel):
    """Identity and build plan of one fold's weights."""

    version: Literal[1] = 1
    run: str
    fold: int
    epoch: int  # from 0
    score: float  # the run's metric on the fold's items
    n_classes: int  # numbers that it gives for an image
    head: Literal["classes", "values", "vectors"] = "classes"  # what these are
    net: NetConfig
    config_sha256: str  # of the run's configuration
    folds_sha256: str  # of the folds the run was trained on
    seconds_per_image: float  # one view, measured at the evaluation
    golden: GoldenLogits | None = None  # None: written before there was the check
    reader: str | None = None  # of the images, as `reader_record` says it
    oof_sha256: str | None = None  # of what these weights predict out of fold; None: written before it was told
    data_sha256: str | None = None  # of the labels and the list of images that they learned from; likewise
    images_sha256: str | None = None  # of the sizes of these images' files; likewise


def save_checkpoint(path: Path, weights: dict[str, torch.Tensor], info: CheckpointInfo) -> None:
    """Write weights (any device) and info atomically."""
    write_tensors(path, weights, json.dumps(info.model_dump(mode="json", exclude_none=True), sort_keys=True))


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], info: str) -> None:
    """Write a safetensors file of ours atomically. tensors: on any device; info: what its metadata says, JSON."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={METADATA_KEY: info})


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], CheckpointInfo]:
    """Read a plain checkpoint to CPU tensors. Raises ModelError when it is missing or not one of ours."""
    weights, metadata = read_tensors(path)
    return weights, parse_checkpoint_info(metadata, str(path))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors on the CPU and metadata of a safetensors file. Raises ModelError when it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (OSError, SafetensorError) as failure:
        raise ModelError(f"{path}: cannot read the checkpoint ({failure})") from None


def parse_checkpoint_info(metadata: dict[str, str], source: str) -> CheckpointInfo:
    """The metadata of a safetensors file -> CheckpointInfo. Raises ModelError."""
    if METADATA_KEY not in metadata:
        raise ModelError(f"{source}: no foldpack metadata in these weights; save them with `foldpack train`")
    try:
        data = json.loads(metadata[METADATA_KEY])
    except ValueError:
        raise ModelError(f"{source}: the foldpack metadata is not JSON; train the run again") from None
    return parse_strict(CheckpointInfo, data, source, ModelError)


def restore_net(weights: dict[str, torch.Tensor], info: CheckpointInfo, source: str,
                build: Callable[..., nn.Module] = build_classifier, make: MakeNet | None = None) -> nn.Module:
    """Rebuild the network on the CPU, in eval mode. Raises ModelError naming what does not fit.

    build: what makes the network for its `head`; make: a network of a project's own.
    """
    net = build(info.net, info.n_classes) if make is None else build(info.net, info.n_classes, make=make)
    try:
        net.load_state_dict(weights)
    except RuntimeError as failure:
        faults = weight_faults(net.state_dict(), weights) or [" ".join(str(failure).split())[:300]]
        more = "" if len(faults) <= 3 else f", and {len(faults) - 3} more"
        raise ModelError(f"{source}: the weights do not fit network '{info.net.arch}' with {info.n_classes} "
                         f"{info.head}: {', '.join(faults[:3])}{more}") from None
    return net.eval()


def weight_faults(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> list[str]:
    """What keeps given tensors from taking the place of the wanted ones: missing, of another shape, too many."""
    faults = [f"{name} is missing" for name in wanted if name not in given]
    faults += [f"{name} is {tuple(given[name].shape)} where {tuple(tensor.shape)} is wanted"
               for name, tensor in wanted.items() if name in given and given[name].shape != tensor.shape]
    return faults + [f"{name} is not wanted" for name in given if name not in wanted]
