"""Decrypted safetensors bytes -> tensors, from a path in memory or from a buffer, without a second copy."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from foldpack.sealed.errors import NotSafetensorsError

SAFETENSORS_HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library

# Name in a safetensors header -> bytes an element.
SAFETENSORS_DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "F16": 2, "BF16": 2, "F32": 4, "F64": 8,
    "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1,
}


class BufferTensor(NamedTuple):
    """Where one tensor lies in a safetensors buffer."""

    dtype: str  # a key of SAFETENSORS_DTYPES
    shape: tuple[int, ...]
    begin: int  # byte offset from the start of the buffer
    elements: int


def tensors_from_path(path: str, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Map the safetensors file at `path` -> CPU tensors by name, metadata. `name` is the file to blame in errors."""
    try:
        with safe_open(path, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}
            return tensors, opened.metadata() or {}
    except SafetensorError as failure:
        raise NotSafetensorsError(
            f"{name}: decrypted and verified, but its content is not safetensors ({failure}); seal a .safetensors file"
        ) from None


def tensors_from_buffer(buffer: bytearray, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """View the safetensors file in `buffer` -> CPU tensors by name that share its memory, metadata.

    Only for machines without memfd: everywhere else the safetensors library maps the memory itself.
    """
    import torch  # here, so that the container can be read and tested without torch

    dtypes = {
        "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
        "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
        "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
        "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    }
    places, metadata = parse_safetensors_header(buffer, name)
    tensors = {}
    for key, place in places.items():
        dtype = dtypes[place.dtype]
        if place.elements:
            flat = torch.frombuffer(buffer, dtype=dtype, count=place.elements, offset=place.begin)
        else:
            flat = torch.empty(0, dtype=dtype)
        tensors[key] = flat.reshape(place.shape)
    return tensors, metadata


def parse_safetensors_header(buffer: bytearray, name: str) -> tuple[dict[str, BufferTensor], dict[str, str]]:
    """Read the header strictly -> places by tensor name, metadata. Raises NotSafetensorsError.

    The format: 8 bytes little-endian header size, JSON header, data without holes or overlaps.
    Source: https://github.com/huggingface/safetensors#format
    """

    def refuse(reason: str) -> NotSafetensorsError:
        return NotSafetensorsError(
            f"{name}: decrypted and verified, but its content is not safetensors ({reason}); seal a .safetensors file"
        )

    if len(buffer) < 8:
        raise refuse("shorter than 8 bytes")
    size = int.from_bytes(buffer[:8], "little")
    if size > min(len(buffer) - 8, SAFETENSORS_HEADER_LIMIT):
        raise refuse("the header is longer than the file")
    try:
        header = json.loads(buffer[8 : 8 + size].decode("utf-8"), object_pairs_hook=_safetensors_object)
        metadata = header.pop("__metadata__", {})
        entries = {key: _safetensors_entry(entry) for key, entry in header.items()}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata values must be text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as failure:
        raise refuse(f"header: {type(failure).__name__}") from None
    position = 0
    places = {}
    for key, (dtype, shape, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        elements = _safetensors_elements(shape)
        if begin != position or end - begin != elements * SAFETENSORS_DTYPES[dtype]:
            raise refuse(f"tensor {key!r} leaves a hole, overlaps or has the wrong size")
        places[key] = BufferTensor(dtype, shape, 8 + size + begin, elements)
        position = end
    if 8 + size + position != len(buffer):
        raise refuse("bytes after the last tensor")
    return places, metadata


def _safetensors_entry(entry: dict[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
    """One header entry -> dtype, shape, begin, end. Raises ValueError, KeyError or TypeError on anything unusual."""
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
    if not whole or dtype not in SAFETENSORS_DTYPES or len(entry) != 3:
        raise ValueError("unusual entry")
    return dtype, shape, begin, end


def _safetensors_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are unique."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _safetensors_elements(shape: tuple[int, ...]) -> int:
    """Number of elements; 1 for a scalar."""
    result = 1
    for side in shape:
        result *= side
    return result
