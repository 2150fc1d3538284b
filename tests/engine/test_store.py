"""Finished units on disk: whole or not there, for the process after this one too."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from foldpack.engine.store import StoreError, UnitStore, unit_key

KEY = "k" * 40


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    made = UnitStore(tmp_path / "scratch" / "units", 5, 3)
    made.remove_halves()
    return made


def fill(store: UnitStore, key: str = KEY) -> np.ndarray:
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    store.begin(key)
    store.write(key, 3, values[3:])
    store.write(key, 0, values[:3])
    return values


def test_rows_come_in_any_order_and_are_kept_for_the_next_process(store: UnitStore) -> None:
    values = fill(store)
    assert not store.finished(KEY) and store.part(KEY).exists()
    assert np.array_equal(store.finish(KEY, keep=True), values)
    assert store.finished(KEY) and not store.part(KEY).exists()
    later = UnitStore(store.folder, 5, 3)
    later.remove_halves()
    assert later.finished(KEY) and np.array_equal(later.read(KEY), values)
    assert np.array_equal(store.finish(KEY, keep=True), values)  # asked again


def test_a_reduced_unit_is_for_this_process_only(store: UnitStore) -> None:
    values = fill(store)
    assert np.array_equal(store.finish(KEY, keep=False), values)
    assert np.array_equal(store.finish(KEY, keep=False), values)
    later = UnitStore(store.folder, 5, 3)
    later.remove_halves()
    assert not later.finished(KEY) and not store.folder.exists()


def test_an_array_that_is_cut_or_of_another_shape_does_not_count(store: UnitStore) -> None:
    fill(store)
    store.finish(KEY, keep=True)
    assert not UnitStore(store.folder, 4, 3).finished(KEY) and not UnitStore(store.folder, 5, 2).finished(KEY)
    content = store.path(KEY).read_bytes()
    for cut in range(0, len(content), 7):
        store.path(KEY).write_bytes(content[:cut])
        assert not store.finished(KEY)
    np.save(store.path(KEY), np.zeros((5, 3)))  # float64
    assert not store.finished(KEY)
    assert not store.finished("nothing")


def test_only_the_owner_may_read_and_nothing_is_left(store: UnitStore) -> None:
    store.begin(KEY)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    fill(store)
    store.drop(KEY)
    assert list(store.folder.iterdir()) == []
    store.drop(KEY)
    store.remove()
    store.remove()
    assert not store.folder.exists()


def test_the_blocks_are_taken_at_the_start(store: UnitStore) -> None:
    """A file that only pretends to its length would fail, or end the process by a signal, later."""
    large = UnitStore(store.folder, 50_000, 10)
    large.begin(KEY)
    assert store.part(KEY).stat().st_blocks * 512 >= 2_000_000


def test_a_full_disk_is_an_error_with_a_remedy(store: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    values = fill(store)

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match="predictions cannot be written .*No space left on device.*--scratch another"):
        store.write(KEY, 0, values)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room for predictions .*No space left on device.*--scratch another disk"):
        store.begin("other")
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("U", (), {"free": 59})())
    with pytest.raises(StoreError, match="60 bytes are needed, 59 are free"):
        store.begin("other")


def test_a_file_system_that_cannot_reserve_will_do(store: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    values = fill(store)
    assert np.array_equal(store.finish(KEY, keep=True), values)


def test_a_short_write_is_no_success(store: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    values = fill(store)
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: 3)
    with pytest.raises(StoreError, match="no space left"):
        store.write(KEY, 0, values)


def test_the_key_is_of_everything_that_decides() -> None:
    facts: dict[str, object] = {"role": "a/fold0", "views": ["identity"], "canvas": [32, "pillow"]}
    assert unit_key(facts) == unit_key(dict(reversed(facts.items()))) and len(unit_key(facts)) == 40
    others = [{**facts, "role": "a/fold1"}, {**facts, "views": ["hflip"]}, {**facts, "canvas": [48, "pillow"]}]
    assert len({unit_key(each) for each in [facts, *others]}) == 4
