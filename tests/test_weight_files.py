"""Foreign `.pth` files: tensors come over, Python objects do not; and what half precision costs is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from foldpack.weight_files import (
    FP16_KEY,
    HalfPrecisionError,
    WeightFileError,
    convert_pth,
    halve_weights,
    round_to_half,
)

STATE = {"conv.weight": torch.randn(4, 3), "bn.steps": torch.tensor(7)}


class Payload:
    """What a malicious pickle looks like: loading it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "weights"])
def test_tensors_come_over_wherever_they_are_kept(tmp_path: Path, key: str | None) -> None:
    torch.save(STATE if key is None else {key: STATE, "epoch": 3}, tmp_path / "a.pth")
    assert convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors") == (2, [])
    loaded = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    torch.save({**STATE, "epoch": 3, "note": "x"}, tmp_path / "a.pth")
    assert convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors") == (2, ["epoch", "note"])


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    torch.save({"all": base, "part": base[2:4], "turned": base.view(2, 3).T}, tmp_path / "a.pth")
    convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["part"].tolist() == [2, 3]
    assert load_file(tmp_path / "a.safetensors")["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2), "x": Payload(tmp_path / "pwned")}, tmp_path / "a.pth")
    with pytest.raises(WeightFileError, match=r"a\.pth: holds Python objects besides tensors, .*save its state_dict"):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"a\.pth: holds a list, want a state_dict; save model\.state_dict\(\)"),
        ({"epoch": 3}, r"a\.pth: no tensors, neither at the top nor under state_dict, .*it has: epoch"),
        ({}, r"a\.pth: no tensors, .*it has: nothing"),
    ],
)
def test_no_weights_in_it(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightFileError, match=message):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 not a zip"])
def test_not_a_pth(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(WeightFileError, match=r"a\.pth: "):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    with pytest.raises(WeightFileError, match=r"a\.pth: cannot be read as safetensors"):
        halve_weights(tmp_path / "a.pth", tmp_path / "a.safetensors")


def test_rounding_is_measured(tmp_path: Path) -> None:
    values = torch.tensor([1.0, 1.0 + 2**-11, -0.5, 1e-9])
    rounded, report = round_to_half({"w": values, "steps": torch.tensor(3), "none": torch.zeros(0)}, "here")
    assert rounded["w"].dtype == torch.float16 and rounded["steps"].dtype == torch.int64
    assert report.tensors == 1 and report.underflows == 1
    assert report.max_abs_error == pytest.approx(2**-11)
    assert report.max_rel_error == pytest.approx(2**-11 / (1 + 2**-11))


def test_rounding_is_recorded_beside_the_metadata(tmp_path: Path) -> None:
    save_file({"w": torch.randn(50)}, tmp_path / "a.safetensors", metadata={"foldpack": "{}"})
    report = halve_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["foldpack"] == "{}"
    assert json.loads(metadata[FP16_KEY])["max_abs_error"] == report.max_abs_error > 0


@pytest.mark.parametrize("value", [70000.0, -1e30, float("inf"), float("nan")])
def test_what_half_precision_cannot_hold(value: float) -> None:
    with pytest.raises(HalfPrecisionError, match="here: tensor 'w' has values beyond 65504 .*leave out --fp16"):
        round_to_half({"w": torch.tensor([value])}, "here")
