"""What a run will write is known before its first epoch."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_training import toy_config, toy_set

from foldpack.errors import DataError
from foldpack.settings.run import RunConfig
from foldpack.train.loop.room import require_room, run_bytes, told
from foldpack.train.loop.states import FoldStates
from foldpack.train.run import RunTrainer
from foldpack.train.steps import STEPS

VECTORS = {"competition": "digits-retrieval", "task": "embed", "embed": {"dim": 4}, "loss": {"name": "adacos"}}


def begun(config: RunConfig, folder: Path) -> RunTrainer:
    trainer = RunTrainer(config, toy_set("embed" if config.task == "embed" else "multiclass"), folder, "0" * 64, print)
    trainer.begin()
    return trainer


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("changes", [
    {}, {"ema": 0.9, "views": ["identity", "hflip"], "oof_dtype": "float16"}, {"keep": 2}, VECTORS])
def test_a_run_writes_about_what_was_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict) -> None:
    config = toy_config(epochs=2, **changes)
    trainer, highest = begun(config, tmp_path / "toy"), [0]
    remove = FoldStates.remove

    def remove_and_look(self: FoldStates) -> None:
        highest.append(size_of(tmp_path / "toy"))
        remove(self)

    monkeypatch.setattr(FoldStates, "remove", remove_and_look)
    for fold in range(2):
        trainer.train_fold(fold)
    trainer.finish([0, 1])
    foreseen = run_bytes(config, trainer.data, trainer.task, [0, 1])
    kept = size_of(tmp_path / "toy")
    assert kept < (foreseen.checkpoints + foreseen.predictions) * 1.05 + 40_000 < 1.3 * kept + 80_000
    state = max(highest) - kept * 0.9  # an old and a new one for a moment
    assert 0.5 * foreseen.states - 40_000 < state + foreseen.states / 2 < 1.2 * foreseen.states + 40_000


def test_a_full_disk_is_told_before_anything_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun(toy_config(), tmp_path / "toy")
    (tmp_path / "toy/meta.json").touch()
    needed = run_bytes(trainer.config, trainer.data, trainer.task, [0, 1])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed.whole - 1))
    with pytest.raises(DataError) as caught:
        trainer.begin([0, 1])
    assert str(caught.value) == (
        f"{tmp_path / 'toy'}: the disk has {told(needed.whole - 1)} free, and run 'toy' will write {told(needed.whole)}"
        f": checkpoints {told(needed.checkpoints)}, out-of-fold predictions {told(needed.predictions)}, states to go "
        f"on from {told(needed.states)}; free some of it, or choose another disk with --runs")
    assert (tmp_path / "toy/meta.json").exists()
    trainer.lock.free()
    trainer.begin([0])  # fewer folds need less
    trainer.lock.free()
    with pytest.raises(DataError, match="the disk has"):  # in a process that trains one fold of a run begun elsewhere
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        trainer.train_fold(0)


def test_a_state_that_is_there_is_not_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = toy_config(), toy_set()
    task, needed = STEPS[data.task](config, data), run_bytes(config, data, STEPS[data.task](config, data), [0])
    folder = tmp_path / "toy"
    (folder / "fold0.state").mkdir(parents=True)
    (folder / "fold0.state/state.safetensors").write_bytes(b"0" * 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed.whole - 5000))
    require_room(config, data, task, folder, [0])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed.whole - 5001))
    with pytest.raises(DataError):
        require_room(config, data, task, folder, [0])


def test_a_size_is_told_for_eyes() -> None:
    assert [told(size) for size in (0, 1234, 2_000_000, 3_450_000_000)] == ["0.0 kB", "1.2 kB", "2.0 MB", "3.5 GB"]
