"""The file of a state: safetensors, with the tree that the tensors hang in as JSON in its metadata. Nothing is pickled.

    null, true, 1, "a"              themselves
    [...]                           a list
    {"tuple": [...]}                a tuple
    {"dict": [[key, value], ...]}   a dict, whose keys may be numbers
    {"tensor": "3", "strides": []}  a tensor of the file, and the order of its numbers in memory where it is not usual
    {"array": "3"}                  a numpy array
    {"dtype": "bfloat16"}           a torch.dtype, as some optimisers have it among their settings
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foldpack.errors import FoldpackError
from foldpack.models.checkpoint import METADATA_KEY, read_tensors, write_tensors
from foldpack.models.classifier import ModelError


class StateError(FoldpackError):
    """A state that cannot be kept, or a file that holds none."""


def write_state(path: Path, info: dict[str, Any], tree: object) -> None:
    """Write a tree atomically: old or new, whenever the process ends. info: whose it is, plain. Raises StateError."""
    packer = TreePacker()
    packed = packer.pack(tree, "state")
    write_tensors(path, packer.tensors, json.dumps({"info": info, "tree": packed}))


def read_state(path: Path) -> tuple[dict[str, Any], Any]:
    """(info, tree), tensors on the CPU. Raises StateError."""
    try:
        tensors, metadata = read_tensors(path)
        content = json.loads(metadata[METADATA_KEY])
        return content["info"], unpack_tree(content["tree"], tensors)
    except (ModelError, KeyError, ValueError, TypeError, AttributeError) as failure:
        raise StateError(f"{path}: no state of a training ({failure})") from None


class TreePacker:
    """Makes JSON of trees; their tensors are gathered in `tensors`, by the names that they have there."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.places: set[int] = set()  # in memory, of the tensors

    def pack(self, tree: object, where: str) -> object:
        """A tree as JSON. where: begins the message of the StateError for what cannot be in one."""
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
        if isinstance(tree, np.generic):
            return tree.item()
        if isinstance(tree, torch.Tensor):
            return {"tensor": self.add(tree.detach()), "strides": None if tree.is_contiguous() else list(tree.stride())}
        if isinstance(tree, torch.dtype):
            return {"dtype": str(tree).removeprefix("torch.")}
        if isinstance(tree, np.ndarray):
            return {"array": self.add(torch.from_numpy(np.array(tree)))}
        if isinstance(tree, dict):
            return {"dict": [[self.pack(key, where), self.pack(value, f"{where}.{key}")]
                             for key, value in tree.items()]}
        if isinstance(tree, list | tuple):
            parts = [self.pack(value, f"{where}.{place}") for place, value in enumerate(tree)]
            return parts if isinstance(tree, list) else {"tuple": parts}
        raise StateError(f"{where} is a {type(tree).__name__}, which cannot be saved; needed: tensors, arrays, "
                         "numbers, texts, dtypes, and lists, tuples and dicts of these")

    def add(self, tensor: torch.Tensor) -> str:
        """The name that a tensor gets; one that shares its memory with another is copied."""
        plain = tensor.cpu().contiguous()
        if plain.untyped_storage().data_ptr() in self.places:
            plain = plain.clone()
        self.places.add(plain.untyped_storage().data_ptr())
        name = str(len(self.tensors))
        self.tensors[name] = plain
        return name


def unpack_tree(packed: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree that was packed."""
    if isinstance(packed, list):
        return [unpack_tree(value, tensors) for value in packed]
    if not isinstance(packed, dict):
        return packed
    if "dict" in packed:
        return {unpack_tree(key, tensors): unpack_tree(value, tensors) for key, value in packed["dict"]}
    if "tuple" in packed:
        return tuple(unpack_tree(value, tensors) for value in packed["tuple"])
    if "dtype" in packed:
        return getattr(torch, packed["dtype"])
    if "array" in packed:
        return tensors[packed["array"]].numpy()
    tensor = tensors[packed["tensor"]]
    if packed["strides"] is None:
        return tensor
    return torch.empty_strided(tensor.shape, packed["strides"], dtype=tensor.dtype).copy_(tensor)
