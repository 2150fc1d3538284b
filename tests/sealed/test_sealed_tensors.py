"""Sealed weights -> tensors: from a memfd through the safetensors library, from a buffer through our own reader."""

from __future__ import annotations

import gc
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.torch import save, save_file

from foldpack.sealed import container as sealed
from foldpack.sealed.container import load_sealed_tensors, new_data_key, read_sealed, seal_file
from foldpack.sealed.errors import DamagedChunkError, NotSafetensorsError
from foldpack.sealed.tensors import SAFETENSORS_DTYPES, parse_safetensors_header, tensors_from_buffer

ROLE = "resnet10t/fold0"
TENSORS = {
    "conv.weight": torch.randn(8, 3, 3, 3),
    "half": torch.randn(5, 7).half(),
    "brain": torch.randn(4).bfloat16(),
    "steps": torch.tensor(12),
    "mask": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 4),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "double": torch.randn(3, dtype=torch.float64),
}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


@pytest.fixture
def sealed_tensors(tmp_path: Path) -> tuple[Path, bytes]:
    key = new_data_key()
    save_file(TENSORS, tmp_path / "plain.safetensors", metadata={"foldpack": '{"run": "resnet10t"}'})
    seal_file(tmp_path / "plain.safetensors", tmp_path / "a.sealed", key, ROLE)
    return tmp_path / "a.sealed", key


@pytest.mark.parametrize("memory", ["memfd", "buffer", "no /proc"])
def test_tensors_come_back(
    sealed_tensors: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    if memory == "buffer":
        monkeypatch.delattr(os, "memfd_create")
    if memory == "no /proc":
        monkeypatch.setattr(os.path, "exists", lambda _: False)
    tensors, metadata = load_sealed_tensors(*sealed_tensors, ROLE)
    gc.collect()
    assert same(tensors, TENSORS)
    assert metadata == {"foldpack": '{"run": "resnet10t"}'}
    tensors["conv.weight"] += 1  # they may be written to, and a second load is not touched by it
    assert same(load_sealed_tensors(*sealed_tensors, ROLE)[0], TENSORS)


def test_no_file_is_written_while_tensors_are_loaded(
    sealed_tensors: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file opened meanwhile is opened for reading, or is the nameless one in memory."""
    opened: list[tuple[str, int]] = []
    original = os.open

    def spy(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        opened.append((str(path), flags))
        return original(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", spy)
    with read_sealed(*sealed_tensors, ROLE) as plaintext:
        assert plaintext._memory is not None
        assert os.readlink(f"/proc/self/fd/{plaintext._memory.fileno()}").startswith("/memfd:foldpack")
        plaintext.tensors()
    assert opened and all(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) == 0 for _, flags in opened)
    assert sorted(os.listdir(sealed_tensors[0].parent)) == ["a.sealed", "plain.safetensors"]


def test_a_damaged_last_chunk_gives_no_tensor(
    sealed_tensors: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = sealed_tensors
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    def never(*_: Any) -> None:
        raise AssertionError("parsed before the last chunk verified")

    monkeypatch.setattr(sealed, "tensors_from_path", never)
    monkeypatch.setattr(sealed, "tensors_from_buffer", never)
    with pytest.raises(DamagedChunkError):
        load_sealed_tensors(path, key, ROLE)


def entries(buffer: bytes) -> Any:
    """What the library makes of it: shapes, dtypes and bytes by name, or None where it refuses."""
    try:
        return {name: (info["dtype"], tuple(info["shape"]), bytes(info["data"])) for name, info in deserialize(buffer)}
    except (SafetensorError, ValueError, OverflowError):
        return None


def ours(buffer: bytes) -> Any:
    try:
        places, _ = parse_safetensors_header(bytearray(buffer), "here")
    except NotSafetensorsError:
        return None
    sizes = {name: place.elements * SAFETENSORS_DTYPES[place.dtype] for name, place in places.items()}
    return {
        name: (place.dtype, place.shape, buffer[place.begin : place.begin + sizes[name]])
        for name, place in places.items()
    }


VALID = save(TENSORS, {"a": "b"})
HEADER_SIZE = struct.unpack("<Q", VALID[:8])[0]


def build(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_both_readers_agree_on_a_valid_file() -> None:
    assert ours(VALID) == entries(VALID) is not None


@settings(max_examples=250, deadline=None)
@given(at=st.integers(0, 8 + HEADER_SIZE), value=st.binary(min_size=0, max_size=4), drop=st.integers(0, 4))
def test_what_we_accept_the_library_reads_alike(at: int, value: bytes, drop: int) -> None:
    """We may refuse more than the library does, never less, and never read it differently."""
    mutant = VALID[:at] + value + VALID[at + drop :]
    if (accepted := ours(mutant)) is not None:
        assert accepted == entries(mutant)


numbers = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**63, 2**64]))
entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*SAFETENSORS_DTYPES, "F4", "f32", ""]),
        "shape": st.lists(st.integers(0, 4), max_size=3),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    }
)


@settings(max_examples=250, deadline=None)
@given(
    header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__", ""]), entry, max_size=3),
    data=st.binary(max_size=40),
)
@example(header={"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, data=bytes(8))
def test_made_up_headers(header: Any, data: bytes) -> None:
    buffer = build(header, data)
    if (accepted := ours(buffer)) is not None:
        assert accepted == entries(buffer)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


REFUSED = {
    "empty": b"",
    "seven bytes": bytes(7),
    "header longer than file": struct.pack("<Q", 100) + b"{}",
    "header size huge": struct.pack("<Q", 2**63) + b"{}",
    "not JSON": build(b"{", b""),
    "not UTF-8": build(b'{"\xff": 1}', b""),
    "a list": build([], b""),
    "deep": build(b"[" * 5000, b""),
    "duplicate names": build(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],'
                             b'"data_offsets":[0,1]}}', b"x"),
    "hole": build(tensor(data_offsets=[4, 12]), bytes(12)),
    "trailing bytes": build(tensor(), bytes(9)),
    "missing bytes": build(tensor(), bytes(7)),
    "wrong size": build(tensor(shape=[3]), bytes(8)),
    "negative": build(tensor(data_offsets=[-8, 0]), bytes(8)),
    "float offset": build(tensor(data_offsets=[0.0, 8]), bytes(8)),
    "true as offset": build(tensor(dtype="U8", shape=[True], data_offsets=[0, True]), bytes(1)),
    "unknown dtype": build(tensor(dtype="F31"), bytes(8)),
    "extra field": build(tensor(more=1), bytes(8)),
    "overlap": build({**tensor(), "b": tensor()["a"]}, bytes(8)),
    "metadata not text": build({**tensor(), "__metadata__": {"a": 1}}, bytes(8)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_buffer_reader(name: str) -> None:
    with pytest.raises(NotSafetensorsError, match=r"here: decrypted and verified, but its content is not safetensors"):
        tensors_from_buffer(bytearray(REFUSED[name]), "here")


def test_an_unaligned_file_is_read(tmp_path: Path) -> None:
    """Our writer aligns the data to 8 bytes; another's may not."""
    values = torch.tensor([1.5, -2.0])
    for padding in range(8):
        buffer = build(json.dumps(tensor()).encode() + b" " * padding, values.numpy().tobytes())
        assert torch.equal(tensors_from_buffer(bytearray(buffer), "here")[0]["a"], values)
