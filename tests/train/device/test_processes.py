"""One fold in two processes: both hold the same, what they learn together is right, and one of them speaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_house import tiny_config, write_small_folds
from toy_training import quiet, toy_config, toy_set
from two_processes import CASES
from view_arrays import views_array

from foldpack.competitions.digits_source import write_digits
from foldpack.data.rows import Rows
from foldpack.data.runs import read_run
from foldpack.errors import DataError
from foldpack.settings.run import ConfigError, config_text
from foldpack.train.device import processes
from foldpack.train.device.processes import one_voice, predicted_in_shares, require_rounds, told_by_first
from foldpack.train.fit import fit_fold
from foldpack.train.sampling import build_order

ROOT = Path(__file__).resolve().parents[3]


def launch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch` of two processes on the CPU. arguments: what to run, as Python takes it."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment})


# ---- what needs no second process


class Two:
    """The state of the second of two processes."""

    num_processes, process_index, is_main_process = 2, 1, False


def test_alone_everything_is_done_here() -> None:
    assert told_by_first(lambda: 5) == 5
    with pytest.raises(DataError, match="gone"), one_voice():
        raise DataError("gone")
    views, seconds = predicted_in_shares(np.arange(3), predict)
    assert views_array(views).tolist() == [[[0], [1], [2]]] and seconds == 3.0


def predict(rows: np.ndarray) -> tuple[list[Rows], float]:
    """A view whose logit is the row; a second a row."""
    return [Rows({"logits": rows[:, None].astype(np.float32)})], float(len(rows))


@pytest.mark.parametrize("count", [5, 6, 2, 1])
def test_shares_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    rows = np.arange(count) * 10
    monkeypatch.setattr(processes, "PartialState", Two)
    monkeypatch.setattr(processes, "gather_object", lambda own: [(*predict(np.array_split(rows, 2)[0]), None), *own])
    views, seconds = predicted_in_shares(rows, predict)
    assert views_array(views)[0, :, 0].tolist() == rows.tolist() and seconds == count


def test_a_share_that_cannot_be_predicted_is_an_error_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PartialState", Two)
    monkeypatch.setattr(processes, "gather_object", lambda own: [([], 0.0, DataError("gone")), *own])
    with pytest.raises(DataError, match="gone"):
        predicted_in_shares(np.arange(4), predict)


def test_what_goes_wrong_in_any_process_is_told_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = DataError("here"), DataError("there")
    for first, second, expected in ((here, here, "here"), (None, there, "process 1: there"), (here, None, "here")):
        monkeypatch.setattr(processes, "gather_object", lambda own, both=(first, second): list(both))
        monkeypatch.setattr(processes, "PartialState", type("One", (Two,), {"is_main_process": True}))
        with pytest.raises(DataError) as caught, one_voice():
            pass
        assert str(caught.value) == expected
        monkeypatch.setattr(processes, "PartialState", Two)
        with pytest.raises(SystemExit, match="2"), one_voice():
            pass
    monkeypatch.setattr(processes, "gather_object", lambda own: [None, None])
    with one_voice():
        pass


def test_what_the_first_finds_or_raises_the_others_do_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PartialState", Two)
    monkeypatch.setattr(processes, "broadcast_object_list", lambda told: [(7, None)])
    assert told_by_first(lambda: 1 / 0) == 7  # it is not asked here
    monkeypatch.setattr(processes, "broadcast_object_list", lambda told: [(None, DataError("gone"))])
    with pytest.raises(DataError, match="gone"):
        told_by_first(lambda: 7)


def test_an_epoch_needs_a_whole_batch_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    require_rounds(toy_config(batch_size=8), 8)
    monkeypatch.setattr(processes, "PartialState", Two)
    require_rounds(toy_config(batch_size=8), 16)
    with pytest.raises(ConfigError) as caught:
        require_rounds(toy_config(batch_size=8), 15)
    assert str(caught.value) == ("run 'toy': an epoch has 15 items, and 2 processes of batch_size 8 need 16; lower "
                                 "batch_size, or start fewer")


# ---- with a second process


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("both")
    done = launch(str(Path(__file__).parent / "two_processes.py"), str(folder))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_both_processes_hold_the_same_weights_and_predictions(both, name: str) -> None:
    first, second = (each[name] for each in both[1])
    assert first == second and np.isfinite(first["losses"]).all() and [each["processes"] for each in both[1]] == [2, 2]
    assert first["score"] > (0.3 if name in ("plain sgd", "shapes") else 0.6), first


@pytest.mark.slow
def test_both_go_on_to_the_bit_from_what_was_saved(both) -> None:
    """Each with its own random numbers, which one of them has saved for both."""
    for each in both[1]:
        assert each["batch norm resumed"] == {"digest": each["batch norm"]["digest"], "epochs": [1]}
        assert each["rare scores resumed"] == {"digest": each["rare scores"]["digest"], "epochs": [1, 2, 3]}


@pytest.mark.slow
def test_two_batches_of_4_are_learned_as_one_of_8(both) -> None:
    """Against one process, with no batch norm, dropout or mixing: the mean of two gradients is that of all items."""
    folder, _ = both
    config, data = CASES["plain sgd"]()
    alone = fit_fold(config.model_copy(update={"batch_size": 8}), data, 0, quiet)
    together = load_file(folder / "0.safetensors")
    assert all(torch.allclose(alone.weights[name], together[name], atol=1e-5) for name in alone.weights)
    assert np.allclose(views_array(alone.views), np.load(folder / "1.npy"), atol=1e-4)  # of all items, in their order


@pytest.mark.slow
def test_an_epoch_has_the_same_items_and_each_is_seen_once(both) -> None:
    config, data = toy_config(batch_size=4, sampler={"kind": "balanced"}), toy_set()
    order = build_order(config, data, np.flatnonzero(data.fold != 0), config.seed * 1000)
    for epoch in range(2):
        order.epoch = epoch
        expected = sorted(list(key) for key in order)
        parts = [[key for key in each["seen"] if key[0] == epoch] for each in both[1]]
        assert sorted(parts[0] + parts[1]) == expected and len(parts[0]) == len(parts[1]) == 12


@pytest.mark.slow
def test_a_run_of_two_processes_is_written_and_told_by_one(tmp_path: Path) -> None:
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 240)
    write_small_folds(tmp_path / "data", tmp_path / "folds.csv")
    config = tiny_config("tiny", epochs=10, batch_size=8, optim={"lr": 5e-3, "warmup_epochs": 1})
    (tmp_path / "tiny.yml").write_text(config_text(config))
    runs = {"one": [sys.executable, "-m"], "two": None}
    command = ["foldpack.commands.main", "train", str(tmp_path / "tiny.yml"), "--data", str(tmp_path / "data"),
               "--folds", str(tmp_path / "folds.csv"), "--runs"]
    outputs = {}
    for name, python in runs.items():
        whole = [*command, str(tmp_path / name)]
        outputs[name] = (launch("-m", *whole) if python is None else
                         subprocess.run([*python, *whole], capture_output=True, text=True))
        assert outputs[name].returncode == 0, outputs[name].stderr[-3000:]
    found = {name: read_run(tmp_path / name / "tiny") for name in runs}
    assert len({(tmp_path / name / "tiny/oof.csv").read_bytes() for name in runs}) == 1  # the same items, in one order
    assert found["two"].meta.score > 0.4 and abs(found["one"].meta.score - found["two"].meta.score) < 0.35
    logs = [(tmp_path / name / "tiny/log.jsonl").read_text().splitlines() for name in runs]
    assert len(logs[0]) == len(logs[1])
    assert outputs["two"].stdout.count("oof accuracy") == 1
    told = [[line for line in outputs[name].stdout.splitlines() if line.startswith("tiny")] for name in runs]
    assert len(told[0]) == len(told[1]) == 23
    again = launch("-m", *command, str(tmp_path / "two"))
    assert again.returncode == 0 and again.stdout.count("finished before, kept") == 2

    (tmp_path / "tiny.yml").write_text(config_text(config.model_copy(update={"batch_size": 64})))
    refused = launch("-m", *command, str(tmp_path / "three"))
    assert refused.returncode != 0 and not (tmp_path / "three/tiny").exists()
    lines = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert lines == ["error: run 'tiny': an epoch has 96 items, and 2 processes of batch_size 64 need 128; lower "
                     "batch_size, or start fewer"]
