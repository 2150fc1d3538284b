"""Embeddings of images by a timm network without its head, for finding what looks alike."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from foldpack.data.decode import decode_picture
from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.data.readers.protocol import Reader
from foldpack.models.classifier import ModelError, build_classifier, normalise, require_output
from foldpack.predict.device import probe_devices
from foldpack.settings.network import NetConfig

EMBED_BATCH = 32  # images


def load_embedder(arch: str, weights: Path) -> tuple[nn.Module, NetConfig]:
    """A timm network without its head, in eval mode on the CPU, and what pixels it expects by its timm settings.

    weights: a .safetensors file of the network, whose head is left out. Raises ModelError for a network that timm does
    not know, a file that cannot be read, and weights that do not fit.
    """
    net = build_classifier(NetConfig(arch=arch, size=224), 0)
    usual = timm.data.resolve_model_data_config(net)
    config = NetConfig(arch=arch, size=usual["input_size"][-1], mean=list(usual["mean"]), std=list(usual["std"]))
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as failure:
        raise ModelError(f"{weights}: cannot be read as safetensors ({str(failure).splitlines()[0]}); make it with "
                         "`foldpack convert`") from None
    heads = _head_names(net)
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}
    own = net.state_dict()
    strange, lacking = sorted(set(body) - set(own)), sorted(set(own) - set(body))
    other = sorted(name for name in set(own) & set(body) if own[name].shape != body[name].shape)
    if strange or lacking or other:
        named = [*(f"'{name}' has another shape" for name in other), *(f"lacks '{name}'" for name in lacking),
                 *(f"'{name}' is not part of it" for name in strange)]
        raise ModelError(f"{weights}: the weights are not those of network '{arch}': {named[0]} ({len(named)} of "
                         f"{len(own)} tensors differ); give the --net that they were trained as")
    net.load_state_dict(body)
    width = int(getattr(net, "num_features", 0))
    require_output(config, net, int(getattr(net, "head_hidden_size", width) or width))
    return net.eval(), config


def _head_names(net: nn.Module) -> tuple[str, ...]:
    """How the names of the head's tensors begin, as timm says."""
    named = getattr(net, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


def embed_images(paths: list[Path], reader: Reader, net: nn.Module, config: NetConfig, threads: int,
                 report: Callable[[float], None]) -> np.ndarray:
    """(n, D) float32 vectors of length 1, on the first device that works; report: gets the share done.

    Images are stretched to the network's square; a broken one is embedded as a black one.
    """
    parts = []
    device = torch.device(probe_devices(1)[0].name)
    read = partial(_pixels, kind=canvas_kind(config), reader=reader)
    with ThreadPoolExecutor(max(1, threads)) as pool, torch.inference_mode():
        net = net.to(device)
        for start in range(0, len(paths), EMBED_BATCH):
            pixels = np.stack(list(pool.map(read, paths[start : start + EMBED_BATCH])))
            vectors = net(normalise(torch.from_numpy(pixels).to(device), config))
            parts.append(nn.functional.normalize(vectors.float(), dim=1).cpu().numpy())
            report(min(1.0, (start + EMBED_BATCH) / len(paths)))
    return np.concatenate(parts)


def _pixels(path: Path, kind: CanvasKind, reader: Reader) -> np.ndarray:
    return decode_picture(path, kind, reader)[1]
