"""States are read as they were written, and only by the training that they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mortal_states import info_of
from toy_training import toy_config, toy_set

from foldpack.data.rows import Rows
from foldpack.models.checkpoint import GoldenLogits, write_tensors
from foldpack.models.gallery import Gallery
from foldpack.train.device.accelerator import ways_to_compute
from foldpack.train.evaluate import FoldResult
from foldpack.train.loop.state import RandomState
from foldpack.train.loop.state_file import StateError, read_state, write_state
from foldpack.train.loop.states import FoldStates, data_digest, library_versions, sizes_digest
from foldpack.train.loop.training import FoldTraining


def same(one: Any, other: Any) -> bool:
    """Equal in kind, value and place in memory."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_tree_is_read_as_it_was_written(tmp_path: Path) -> None:
    wide = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    tree = {"list": [1, 2.5, "x", None, True, float("inf"), 0.1 + 0.2, 2**80], "wide": wide, "again": wide,
            3: (torch.ones(2, dtype=torch.bfloat16), {"deep": np.arange(3)}), "part": torch.arange(6)[1:5:2],
            "flags": np.array([[True], [False]]), "none": {}, "scalar": torch.tensor(7), "": (),
            "empty": torch.empty(0), "kind": [torch.bfloat16, torch.float32]}
    write_state(tmp_path / "state.safetensors", {"run": "a"}, tree)
    info, found = read_state(tmp_path / "state.safetensors")
    assert info == {"run": "a"} and same(found, tree)
    write_state(tmp_path / "state.safetensors", {}, {"number": np.int64(7)})
    assert read_state(tmp_path / "state.safetensors")[1] == {"number": 7}


def test_what_has_no_place_in_a_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="state.optimizer.1 is a set, which cannot be saved; needed: tensors, arrays"):
        write_state(tmp_path / "state.safetensors", {}, {"optimizer": [1, {2}]})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved_is_told_before_the_first_epoch(tmp_path: Path) -> None:
    training = FoldTraining(toy_config(), toy_set(), 0, states=states(tmp_path / "s", []))
    training.holders["more"] = SimpleNamespace(state_dict=lambda: {"seen": {2}},  # type: ignore[assignment]
                                               load_state_dict=lambda state: None)
    with pytest.raises(StateError, match="^run 'toy': the state of more.seen is a set, which cannot be saved; needed"):
        training.resume()
    assert not (tmp_path / "s").exists()


def some_state() -> dict[str, Any]:
    return {"net": {"w": torch.ones(3)}, "progress": {"epoch": 2, "batch": 0}}


def result(epoch: int = 1) -> FoldResult:
    rows = Rows({"logits": np.eye(3, dtype=np.float32)})
    return FoldResult({"w": torch.zeros(3)}, [rows, rows], 0.5, epoch, 0.1, GoldenLogits(logits=[[1.5]], versions={}),
                      Gallery(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32)))


def states(folder: Path, said: list[str], **changes: Any) -> FoldStates:
    return FoldStates(folder, info_of(**changes), said.append)


def test_a_state_and_its_best_epoch_come_back(tmp_path: Path) -> None:
    said: list[str] = []
    states(tmp_path / "s", said).write(some_state(), None)
    assert same(states(tmp_path / "s", said).read(), (some_state(), None))
    states(tmp_path / "s", said).write(some_state(), result(0))
    states(tmp_path / "s", said).write(some_state(), result(1))
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["best1.safetensors", "state.safetensors"]
    found = states(tmp_path / "s", said)
    state, best = found.read() or (None, None)
    assert same(state, some_state()) and best is not None and not said
    assert same(best.weights, result().weights) and (best.epoch, best.score, best.golden) == (1, 0.5, result().golden)
    assert same(best.views[1].columns, result().views[1].columns) and best.gallery is not None
    assert same(best.gallery.vectors, np.eye(2, dtype=np.float32)) and best.gallery.identities.tolist() == [0, 1]
    assert found.reached == "the start of epoch 2"
    found.remove()
    assert not (tmp_path / "s").exists() and states(tmp_path / "s", said).read() is None


def test_a_best_epoch_that_a_killed_process_has_left_is_written_anew(tmp_path: Path) -> None:
    """On a GPU the second try does not come to the same numbers."""
    states(tmp_path / "s", []).write(some_state(), result(0))
    states(tmp_path / "other", []).write(some_state(), result(1))
    (tmp_path / "other/best1.safetensors").rename(tmp_path / "s/best1.safetensors")  # without its state
    again = states(tmp_path / "s", [])
    assert again.read() is not None
    better = replace(result(1), score=0.75)
    again.write(some_state(), better)
    again.write(some_state(), better)
    _, best = states(tmp_path / "s", []).read() or (None, None)
    assert best is not None and best.score == 0.75


@pytest.mark.parametrize(("changes", "what"), [
    ({"config_sha256": "x"}, "another configuration"), ({"folds_sha256": "x"}, "other folds"),
    ({"data_sha256": "x"}, "other labels or images"),
    ({"images_sha256": "x"}, "images whose files have other sizes"), ({"reader": "x"}, "another reader of images"),
    ({"libraries": {"torch": "2.0"}}, "torch 1.0 (here 2.0)"), ({"device": "cuda"}, "1 x cpu (here 1 x cuda)"),
    ({"processes": 2}, "1 x cpu (here 2 x cpu)"), ({"fold": 2}, "another run or fold")])
def test_a_state_of_another_training_is_told_and_not_used(tmp_path: Path, changes: dict, what: str) -> None:
    said: list[str] = []
    anew: list[int] = []
    states(tmp_path / "s", said).write(some_state(), result())
    other = states(tmp_path / "s", said, **changes)
    other.anew = lambda: anew.append(1)
    assert other.read() is None and not (tmp_path / "s").exists() and anew == [1]
    assert said == [f"toy fold {other.info.fold}: what {tmp_path / 's'} keeps is of {what}; the fold starts anew"]


def test_a_state_that_does_not_tell_the_sizes_of_images_is_used(tmp_path: Path) -> None:
    said: list[str] = []
    states(tmp_path / "s", said, images_sha256=None).write(some_state(), result())
    assert states(tmp_path / "s", said).read() is not None and said == []


def test_the_sizes_of_files_are_compared_and_neither_their_times_nor_their_places(tmp_path: Path) -> None:
    for name, sizes in (("a", (3, 5)), ("b", (3, 5)), ("c", (5, 3)), ("d", (3, 6))):
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            (tmp_path / name / str(number)).write_bytes(b"x" * size)
    digests = [sizes_digest([tmp_path / name / "0", tmp_path / name / "1"]) for name in "abcd"]
    assert digests[0] == digests[1] and len(set(digests)) == 3
    assert sizes_digest([tmp_path / "a/0/7"] * 2) == sizes_digest([tmp_path / "b/0"] * 2)  # several images in a file
    assert sizes_digest([tmp_path / "a/none"]) not in (sizes_digest([tmp_path / "a/0"]), sizes_digest([]))


def test_a_state_of_another_way_to_compute_is_told_and_used(tmp_path: Path) -> None:
    said: list[str] = []
    before = {"compile": False, "threads of torch": 1}
    states(tmp_path / "s", said, ways=before).write(some_state(), result())
    assert states(tmp_path / "s", said, ways=before).read() is not None and said == []
    assert states(tmp_path / "s", said, ways={**before, "compile": True}).read() is not None
    assert said == ["warning: toy fold 1 goes on with compile True (before: False); it will not be the same to the bit "
                    "as without a break"]


def test_a_training_tells_in_which_way_it_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads, more in ((1, {}), (3, {}), (1, {"grad_checkpointing": True})):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        training = FoldTraining(toy_config(**more), toy_set(), 0, states=states(tmp_path / "s", []))
        training.resume()
        assert training.states is not None
        found.append(training.states.info.ways)
    assert found == [{"compile": False, "grad_checkpointing": deep, "threads of torch": threads}
                     for threads, deep in ((1, False), (3, False), (1, True))]
    assert ways_to_compute(toy_config(), "cuda") == {"compile": False, "grad_checkpointing": False}


def test_a_state_has_the_random_numbers_of_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may be gone when it is taken up again."""
    numbers = {1: torch.arange(3)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: numbers[device.index])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: numbers.update({device.index: state}))
    gpus = [RandomState(SimpleNamespace(device=torch.device(name), num_processes=1, process_index=0))  # type: ignore
            for name in ("cuda:1", "cuda:0", "cpu")]
    state = gpus[0].state_dict()
    gpus[1].load_state_dict(state)
    assert numbers[0].tolist() == [0, 1, 2]
    assert gpus[2].state_dict()["processes"][0]["cuda"] is None
    gpus[2].load_state_dict(gpus[2].state_dict())


@pytest.mark.parametrize("name", ["state.safetensors", "best1.safetensors"])
@pytest.mark.parametrize("broken", ["missing", "short", "text", "foreign"])
def test_a_state_that_cannot_be_read_is_told_and_not_used(tmp_path: Path, name: str, broken: str) -> None:
    said: list[str] = []
    states(tmp_path / "s", said).write(some_state(), result())
    path = tmp_path / "s" / name
    if broken == "missing":
        path.unlink()
    elif broken == "foreign":
        write_tensors(path, {"0": torch.ones(1)}, "{}")
    else:
        path.write_bytes(path.read_bytes()[:-3] if broken == "short" else b"no state")
    assert states(tmp_path / "s", said).read() is None
    assert not said if (name, broken) == ("state.safetensors", "missing") else str(path) in said[0] and len(said) == 1


def test_another_label_or_image_is_other_data() -> None:
    data = toy_set()
    targets = data.targets.copy()
    targets[3] = (targets[3] + 1) % 3
    others = [replace(data, targets=targets), replace(data, ids=["x", *data.ids[1:]]), data.without([5]),
              replace(data, numbers={"quality": np.ones(36)}), replace(data, fold=data.fold[::-1]),
              replace(data, answer=["a"] * 36)]
    digests = {data_digest(each) for each in [data, *others]}
    assert len(digests) == 7 and data_digest(toy_set()) in digests


def test_all_libraries_that_decide_numbers_are_known() -> None:
    assert {"torch", "timm", "numpy", "albumentations", "accelerate", "torchvision"} <= library_versions().keys()


def test_a_holder_of_ones_own_is_one_entry(tmp_path: Path) -> None:
    """Such as the average of another kind."""
    training = FoldTraining(toy_config(), toy_set(), 0, states=states(tmp_path / "s", []))
    training.holders["more"] = torch.nn.BatchNorm1d(2)
    training.holders["more"].running_mean += 5  # type: ignore[attr-defined]
    training.save()
    again = FoldTraining(toy_config(), toy_set(), 0, states=states(tmp_path / "s", []))
    more = again.holders["more"] = torch.nn.BatchNorm1d(2)
    assert again.resume() and (more.running_mean == 5).all()
