"""Foreign `.pth` files: tensors come over, Python objects do not; and what half precision costs is told."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from foldpack.models.weight_files import (
    FP16_KEY,
    HalfPrecisionError,
    convert_pth,
    halve_weights,
    round_to_half,
)
from foldpack.models.weight_sets import Chosen, WeightFileError

STATE = {"conv.weight": torch.randn(4, 3), "bn.steps": torch.tensor(7)}


class Payload:
    """What a malicious pickle looks like: loading it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def convert(folder: Path, content: Any, key: str | None = None) -> tuple[Chosen, dict[str, torch.Tensor]]:
    """Save, convert, read back."""
    torch.save(content, folder / "a.pth")
    chosen = convert_pth(folder / "a.pth", folder / "a.safetensors", key=key)
    return chosen, load_file(folder / "a.safetensors")


PLACES = [None, "state_dict", "model_state_dict", "model", "weights", "state_dict_ema", "ema", "model_ema", "net",
          "teacher", "module", "generator"]


@pytest.mark.parametrize("place", PLACES)
def test_tensors_come_over_wherever_they_are_kept(tmp_path: Path, place: str | None) -> None:
    chosen, loaded = convert(tmp_path, STATE if place is None else {place: STATE, "epoch": 3})
    assert chosen.left_out == ([] if place is None else ["epoch (int)"]) and chosen.title == (place or ".")
    assert loaded.keys() == STATE.keys() and all(torch.equal(loaded[name], STATE[name]) for name in STATE)


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    chosen, loaded = convert(tmp_path, {**STATE, "epoch": 3, "note": "x"})
    assert len(loaded) == 2 and chosen.left_out == ["epoch (int)", "note (str)"]


def numbers(shift: float) -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.full((2, 3), float(shift)), "conv.bias": torch.full((2,), float(shift))}


ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1}]}
SEVERAL = [  # content, the sets that are listed, a key, what its conv.weight is full of
    ({"epoch": 3, "state_dict": numbers(1), "state_dict_ema": numbers(2)},
     "state_dict (2 tensors), state_dict_ema (2 tensors)", "state_dict_ema", 2),
    ({"model": numbers(1), "ema": numbers(2)}, "model (2 tensors), ema (2 tensors)", "model", 1),
    ({"model": {"raw": numbers(1), "ema": numbers(2)}}, "model.raw (2 tensors), model.ema (2 tensors)", "model.ema", 2),
    ({"models": [numbers(1), numbers(2)]}, "models.0 (2 tensors), models.1 (2 tensors)", "models.1", 2),
    ([numbers(1), numbers(2)], "0 (2 tensors), 1 (2 tensors)", "1", 2),
    ({"student": numbers(1), "teacher": numbers(2), "optimizer": ADAM}, "student (2 tensors), teacher (2 tensors)",
     "teacher", 2),
    ({**numbers(1), "ema": numbers(2)}, ". (2 tensors), ema (2 tensors)", ".", 1),
    ({"state_dict": {f"{net}.{name}": tensor for net, shift in (("net", 1), ("net_ema", 2))
                     for name, tensor in numbers(shift).items()}},
     "state_dict.net (2 tensors), state_dict.net_ema (2 tensors)", "state_dict.net_ema", 2),
    ({"model.conv.weight": torch.full((2, 3), 1.0), "ema.module.conv.weight": torch.full((2, 3), 2.0),
      "ema.n_averaged": torch.tensor(4)}, "model (1 tensor), ema (2 tensors)", "ema", 2),
    ({"model.net.conv.weight": torch.full((2, 3), 1.0), "model_ema.netconvweight": torch.full((2, 3), 2.0),
      "model_ema.decay": torch.tensor(0.9)}, "model (1 tensor), model_ema (2 tensors)", "model.net", 1),
]


@pytest.mark.parametrize(("content", "listed", "key", "value"), SEVERAL)
def test_of_several_sets_none_is_taken_without_a_key(tmp_path, content, listed, key, value) -> None:
    with pytest.raises(WeightFileError) as caught:
        convert(tmp_path, content)
    assert str(caught.value) == f"{tmp_path / 'a.pth'}: holds 2 sets of weights: {listed}; take one with --key NAME"
    assert not (tmp_path / "a.safetensors").exists()
    chosen, loaded = convert(tmp_path, content, key)
    assert float(loaded["conv.weight"].unique()) == value and chosen.title == key


ONE = [  # content beside which other tensors lie, the set that is taken, what is left out
    ({"model": numbers(1), "optimizer": ADAM, "scheduler": {"last": 3}}, "model",
     ["optimizer (2 tensors)", "scheduler (dict)"]),
    ({"model": numbers(1), "sched": {"base": torch.ones(3)}, "loss": torch.tensor(0.3), "rng": torch.get_rng_state()},
     "model", ["sched (1 tensor)", "loss (tensor)", "rng (tensor)"]),
    ({"model": numbers(1), "confusion": torch.ones(2, 2)}, "model", ["confusion (tensor)"]),
    ({"state_dict": numbers(1), "optimizer_states": [ADAM], "hyper_parameters": {"lr": 1},
      "callbacks": {"Checkpoint{'monitor': 'f1'}": {"best": torch.tensor(0.4)}}}, "state_dict",
     ["optimizer_states (2 tensors)", "hyper_parameters (dict)", "callbacks (1 tensor)"]),
    ({"model": {"state": numbers(1), "step": 4}, "ema": {"shadow": [torch.ones(2, 3)], "decay": 0.9}}, "model.state",
     ["model.step (int)", "ema (1 tensor)"]),
    ({"optim_d": {"0": torch.ones(2, 3)}, "net": numbers(1)}, "net", ["optim_d (1 tensor)"]),
]


@pytest.mark.parametrize(("content", "title", "left_out"), ONE)
def test_optimizers_and_numbers_beside_the_weights_are_no_weights(tmp_path, content, title, left_out) -> None:
    chosen, loaded = convert(tmp_path, content)
    assert (chosen.title, chosen.left_out) == (title, left_out) and loaded.keys() == numbers(1).keys()


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.module.", "_orig_mod.module.",
                                    "model._orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    chosen, loaded = convert(tmp_path, {"state_dict": {prefix + name: value for name, value in STATE.items()}})
    assert loaded.keys() == STATE.keys() and chosen.stripped == prefix and chosen.kept == ""


def test_a_prefix_stays_where_a_name_lacks_it(tmp_path: Path) -> None:
    names = {f"model.{name}": value for name, value in numbers(1).items()}
    content = {"state_dict": {**names, "loss.weight": torch.ones(3)}}
    chosen, loaded = convert(tmp_path, content)
    assert len(loaded) == 3 and "model.conv.weight" in loaded and chosen.stripped == ""
    assert chosen.kept == ("'model.' stays before 2 names, but not before 1, such as 'loss.weight'; "
                           "--key state_dict.model takes only those that have it")
    chosen, loaded = convert(tmp_path, content, "state_dict.model")
    assert loaded.keys() == numbers(1).keys() and chosen.left_out == ["state_dict.loss.weight (tensor)"]


def test_what_is_left_out_is_gathered_by_the_beginning_of_its_names(tmp_path: Path) -> None:
    names = [f"{net}.{name}" for net in ("model", "net.a", "net.b", "loss") for name in numbers(1)]
    content = {"state_dict": {name: torch.ones(2, 2) for name in names}, "epoch": 1}
    chosen, _ = convert(tmp_path, content, "state_dict.model")
    assert chosen.left_out == ["state_dict.net (4 tensors)", "state_dict.loss (2 tensors)", "epoch (int)"]
    chosen, _ = convert(tmp_path, content, "state_dict.net.a")
    assert chosen.left_out == ["state_dict.model (2 tensors)", "state_dict.net.b (2 tensors)",
                               "state_dict.loss (2 tensors)", "epoch (int)"]


def test_an_averaged_model_has_a_counter_that_is_no_weight(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 3)
    chosen, loaded = convert(tmp_path, torch.optim.swa_utils.AveragedModel(net).state_dict())
    assert loaded.keys() == {"weight", "bias"} and chosen.stripped == "module."
    assert chosen.left_out == ["n_averaged (a count of the averaging, no weight)"]


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(WeightFileError, match="two tensors of net are called '1'; names must be unique, so rename one"):
        convert(tmp_path, {"net": {1: torch.ones(2), "1": torch.zeros(2)}})


@pytest.mark.parametrize(
    ("key", "message"),
    [("emma", r"a\.pth: no weights under --key emma; allowed: model \(2 tensors\), ema \(2 tensors\)$"),
     ("model.cov", "no weights under --key model.cov; allowed: model")])
def test_a_key_that_is_not_there(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(WeightFileError, match=message):
        convert(tmp_path, {"model": numbers(1), "ema": numbers(2)}, key)


@pytest.mark.parametrize("zipped", [True, False])
def test_numpy_numbers_and_settings_do_not_refuse_a_file(tmp_path: Path, zipped: bool) -> None:
    content = {"model": numbers(1), "best": np.float64(0.4), "step": np.int64(3), "flag": np.bool_(True),
               "half": np.float16(1), "name": np.str_("x"), "time": np.datetime64("2026-01-01"),
               "args": Namespace(lr=0.1, best=np.float32(2), out=Path("x")), "words": np.array(["a", "b"])}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    chosen = convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert chosen.left_out == ["best (float64)", "step (int64)", "flag (bool)", "half (float16)", "name (str_)",
                               "time (datetime64)", "args (Namespace)", "words (ndarray)"]


def test_arrays_are_tensors(tmp_path: Path) -> None:
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "big": np.arange(3, dtype=">f8"), "n": np.arange(2)}
    _, loaded = convert(tmp_path, {"weights": {**arrays, "v": torch.ones(1)}, "mean": np.array([0.5, 0.5])})
    assert loaded["w"].tolist() == arrays["w"].tolist() and loaded["big"].tolist() == [0, 1, 2]
    assert loaded["n"].dtype == torch.int64 and set(loaded) == {"w", "big", "n", "v"}


def test_pickles_of_older_numpy(tmp_path: Path) -> None:
    """NumPy 1 wrote `numpy.core`, NumPy 2 writes `numpy._core`."""
    torch.save({"model": numbers(1), "best": np.float64(0.4)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    old = (tmp_path / "a.pth").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "a.pth").write_bytes(old)
    assert convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors").left_out == ["best (float64)"]


KINDS = [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool, torch.complex64]


@pytest.mark.parametrize("dtype", KINDS)
def test_every_kind_of_number_survives(tmp_path: Path, dtype: torch.dtype) -> None:
    weight = torch.tensor([[0, 1], [1, 1], [0, 0]]).to(dtype)
    _, loaded = convert(tmp_path, {"a.weight": weight, "tied.weight": weight, "turned": weight.T, "n": torch.tensor(3)})
    assert loaded["a.weight"].dtype == dtype and torch.equal(loaded["tied.weight"], weight)
    assert torch.equal(loaded["turned"], weight.T)


def test_tensors_that_safetensors_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(WeightFileError, match=r"a\.pth: tensor 'e' is sparse, which safetensors cannot hold; save"):
        convert(tmp_path, {"w": torch.ones(2, 2), "e": torch.eye(3).to_sparse()})


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    torch.save({"all": base, "part": base[2:4], "turned": base.view(2, 3).T}, tmp_path / "a.pth")
    convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["part"].tolist() == [2, 3]
    assert load_file(tmp_path / "a.safetensors")["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2), "x": Payload(tmp_path / "pwned")}, tmp_path / "a.pth")
    with pytest.raises(WeightFileError, match=r"a\.pth: holds Python objects besides .*\(.*mkdir\), .*save its state"):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, r"a\.pth: holds a int, want a state_dict; save model\.state_dict\(\)"),
        ([1, 2], r"a\.pth: no tensors .*it has: 0 \(int\), 1 \(int\)"),
        ({"epoch": 3}, r"a\.pth: no tensors that could be weights, at the top or below; it has: epoch \(int\)"),
        ({}, r"a\.pth: no tensors .*it has: nothing"),
        ({"optimizer": ADAM}, r"a\.pth: no tensors that could be weights, .*it has: optimizer \(2 tensors\)"),
        ({"n_averaged": torch.tensor(3)}, r"a\.pth: \. holds no weights but n_averaged; name another set"),
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", r"is a pointer of Git LFS, .*`git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights; download the file again"),
        (b"\x89HDF\r\n\x1a\n", "is HDF5, as Keras writes it; want what torch.save wrote"),
        (save({"w": torch.ones(2)}), r"is safetensors already, whatever its name says; let it end in \.safetensors"),
        (save({"w": torch.ones(2)}, {"format": "pt"}), "is safetensors already"),
        (b"# weights\n", r"is no \.pth, it begins with b'# weights.*; give a file that torch\.save wrote"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(WeightFileError, match=r"a\.pth: " + message):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_torchscript_is_named(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/constants.pkl", b"\x80\x02).")
        archive.writestr("a/code/__torch__.py", "")
    with pytest.raises(WeightFileError, match=r"a\.pth: is a TorchScript archive, .*torch\.jit\.load"):
        convert_pth(tmp_path / "a.pth", tmp_path / "a.safetensors")


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
