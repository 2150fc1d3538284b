"""Finished units on disk: whole or not there, for the process after this one too. Halves are taken up as they were."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from foldpack.data.rows import Rows, save_rows
from foldpack.engine import halves
from foldpack.engine.layout import ColumnKind, Dense, Layout, Ragged
from foldpack.engine.store import StoreError, UnitStore, has_finished_units, unit_key
from foldpack.engine.work import Shard

KEY = "k" * 40
DENSE = Dense(5, {"probs": ColumnKind("float32", (3,))})
STARTS = np.array([0, 2, 2, 3, 7, 8])
BOXES = Dense(5, {"probs": ColumnKind("float32", (3,)), "label": ColumnKind("int64")}, STARTS)
RAGGED = Ragged(5, 20, 10)
LAYOUTS = {"one a row": DENSE, "known boxes": BOXES, "found boxes": RAGGED}


def whole(layout: Layout) -> Rows:
    """All rows of a unit."""
    entries = 5 if layout is DENSE else int(STARTS[-1])
    probs = np.arange(3 * entries, dtype=np.float32).reshape(entries, 3)
    columns = {"probs": probs} if layout is DENSE else {"probs": probs, "label": np.arange(entries)}
    lost = np.array([False, False, True, False, False])
    return Rows(columns, None if layout is DENSE else STARTS, lost=lost)


@pytest.fixture(params=list(LAYOUTS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> UnitStore:
    made = UnitStore(tmp_path / "scratch" / "units", LAYOUTS[request.param], tmp_path / "temp" / "ours" / "units")
    (tmp_path / "temp").mkdir()
    made.remove_halves()
    return made


@pytest.fixture
def dense(tmp_path: Path) -> UnitStore:
    return UnitStore(tmp_path / "scratch" / "units", DENSE)


def write(store: UnitStore, start: int, stop: int, views: int = 2, key: str = KEY) -> None:
    store.write(key, Shard(0, start, stop, views), whole(store.layout).take(slice(start, stop)))


def fill(store: UnitStore, key: str = KEY) -> Rows:
    store.begin(key)
    write(store, 3, 5, key=key)
    write(store, 0, 3, key=key)
    return whole(store.layout)


def require_same(got: Rows, wanted: Rows) -> None:
    assert got.columns.keys() == wanted.columns.keys() and len(got) == len(wanted)
    for name, column in wanted.columns.items():
        assert np.array_equal(got.columns[name], column) and got.columns[name].dtype == column.dtype
    assert got.lost is not None and wanted.lost is not None and got.lost.tolist() == wanted.lost.tolist()
    assert got.starts is None if wanted.starts is None else np.array_equal(got.starts, wanted.starts)


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_rows_come_in_any_order_and_are_kept_for_the_next_process(store: UnitStore) -> None:
    rows = fill(store)
    assert not store.finished(KEY) and store.part(KEY).exists() and not has_finished_units(store.folder)
    require_same(store.finish(KEY, keep=True), rows)
    assert store.finished(KEY) and not store.part(KEY).exists() and has_finished_units(store.folder)
    later = UnitStore(store.folder, store.layout)
    later.remove_halves()
    assert later.finished(KEY) and isinstance(later.read(KEY).columns["probs"], np.memmap)
    require_same(later.read(KEY), rows)
    require_same(store.finish(KEY, keep=True), rows)  # asked again
    assert {path.suffix for path in store.path(KEY).iterdir()} == {".npy"}


def test_what_a_process_has_left_is_taken_up_row_by_row(store: UnitStore) -> None:
    store.begin(KEY)
    write(store, 3, 5)
    write(store, 0, 1, views=1)
    later = UnitStore(store.folder, store.layout)
    later.remove_halves([KEY])
    assert later.begin(KEY).views.tolist() == [1, 0, 0, 2, 2]
    write(later, 0, 1)
    write(later, 1, 3)
    require_same(later.finish(KEY, keep=True), whole(store.layout))
    later.begin("other")
    later.remove_halves([KEY])
    assert [path.stem for path in store.folder.iterdir()] == [KEY]


def test_a_reduced_unit_is_finished_for_this_process_only(store: UnitStore) -> None:
    rows = fill(store)
    require_same(store.finish(KEY, keep=False), rows)
    require_same(store.finish(KEY, keep=False), rows)
    later = UnitStore(store.folder, store.layout)
    assert not later.finished(KEY) and later.begin(KEY).views.tolist() == [2] * 5
    later.remove_halves()
    assert not store.folder.exists()


def test_a_half_of_before_the_machine_stopped_is_begun_again(dense: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written in their place without waiting for the disk: after a power cut the marks may lie."""
    dense.begin(KEY)
    write(dense, 0, 3)
    assert dense.begin(KEY).views.tolist() == [2, 2, 2, 0, 0]
    for boot in (b"another", b""):
        monkeypatch.setattr(halves, "boot_id", lambda boot=boot: boot)
        assert dense.begin(KEY).views.tolist() == [0] * 5
        write(dense, 0, 3)
    assert dense.begin(KEY).views.tolist() == [0] * 5  # nothing tells the starts of this machine apart


def test_a_half_that_is_cut_or_of_another_layout_is_begun_again(dense: UnitStore) -> None:
    fill(dense)
    other = UnitStore(dense.folder, Dense(4, DENSE.columns))
    assert other.begin(KEY).views.tolist() == [0] * 4
    fill(dense)
    os.truncate(dense.part(KEY) / "column.probs.npy", 150)
    assert dense.begin(KEY).views.tolist() == [0] * 5
    require_same(dense.finish(KEY, keep=False), Rows({"probs": np.zeros((5, 3), np.float32)}, lost=np.zeros(5, bool)))


def test_a_write_that_is_cut_off_leaves_no_mark(dense: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were whole, and are being written again with fewer views."""
    fill(dense)
    real, left = os.pwrite, [2]

    def cut_off(descriptor: int, data: memoryview, place: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write(dense, 0, 3, views=1)
    assert dense.begin(KEY).views.tolist() == [0, 0, 0, 2, 2]


def test_rows_that_are_cut_or_of_another_shape_do_not_count(dense: UnitStore) -> None:
    fill(dense)
    dense.finish(KEY, keep=True)
    others = [Dense(4, DENSE.columns), Dense(5, {"probs": ColumnKind("float32", (2,))}), BOXES, RAGGED,
              Dense(5, {"probs": ColumnKind("float64", (3,))}), Dense(5, {"value": ColumnKind("float32", (3,))})]
    assert not any(UnitStore(dense.folder, other).finished(KEY) for other in others)
    file = dense.path(KEY) / "column.probs.npy"
    content = file.read_bytes()
    for cut in range(0, len(content), 7):
        file.write_bytes(content[:cut])
        assert not dense.finished(KEY)
    save_rows(dense.path(KEY), Rows({"probs": np.zeros((5, 3))}))  # float64
    assert not dense.finished(KEY) and not dense.finished("nothing")


def test_only_the_owner_may_read_and_nothing_is_left(store: UnitStore) -> None:
    store.begin(KEY)
    assert stat.S_IMODE(store.folder.stat().st_mode) == stat.S_IMODE(store.part(KEY).stat().st_mode) == 0o700
    fill(store)
    store.drop(KEY)
    assert list(store.folder.iterdir()) == []
    fill(store)
    store.finish(KEY, keep=True)
    store.drop(KEY)
    store.drop(KEY)
    store.remove()
    store.remove()
    assert not store.folder.exists()


def test_the_blocks_are_taken_at_the_start(tmp_path: Path) -> None:
    """A file that only pretends to its length would fail, or end the process by a signal, later."""
    large = UnitStore(tmp_path, Dense(50_000, {"probs": ColumnKind("float32", (10,))}))
    large.begin(KEY)
    assert (large.part(KEY) / "column.probs.npy").stat().st_blocks * 512 >= 2_000_000


def test_a_full_disk_is_an_error_with_a_remedy(dense: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(dense)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match="predictions cannot be written .*No space left on device.*--scratch another"):
        write(dense, 0, 3)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room for predictions .*No space left on device.*--scratch another disk"):
        dense.begin("other")
    assert [path.stem for path in dense.folder.iterdir()] == [KEY]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("U", (), {"free": 64})())
    with pytest.raises(StoreError, match="65 bytes are needed, 64 are free"):
        dense.begin("other")


def test_what_is_found_goes_to_the_spare_folder_when_the_disk_fills_up(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is whole for this process; the next one takes up what lies where it looks."""
    store = UnitStore(tmp_path / "units", RAGGED, tmp_path / "ours" / "units")
    store.begin(KEY)
    write(store, 0, 3)
    real = halves.save_rows
    monkeypatch.setattr(halves, "save_rows", lambda path, rows: full() if store.folder in path.parents else
                        real(path, rows))
    write(store, 3, 5)
    assert store.home(KEY) == store.spare
    require_same(store.finish(KEY, keep=True), whole(RAGGED))
    assert not has_finished_units(store.folder)
    store.drop(KEY)
    store.begin(KEY)
    monkeypatch.setattr(halves, "save_rows", real)
    for start, stop in ((0, 3), (3, 5)):
        write(store, start, stop)
    monkeypatch.setattr(halves, "save_rows", full)
    require_same(store.finish(KEY, keep=True), whole(RAGGED))  # no room to join them
    store.spare = None
    with pytest.raises(StoreError, match="predictions cannot be written .*No space left"):
        write(store, 0, 3)


def test_a_file_system_that_cannot_reserve_will_do(store: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    rows = fill(store)
    require_same(store.finish(KEY, keep=True), rows)


def test_a_short_write_is_no_success(dense: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(dense)
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: 3)
    with pytest.raises(StoreError, match="no space left"):
        write(dense, 0, 5)


def test_the_key_is_of_everything_that_decides() -> None:
    facts: dict[str, object] = {"role": "a/fold0", "views": ["identity"], "canvas": [32, "pillow"]}
    assert unit_key(facts) == unit_key(dict(reversed(facts.items()))) and len(unit_key(facts)) == 40
    others = [{**facts, "role": "a/fold1"}, {**facts, "views": ["hflip"]}, {**facts, "canvas": [48, "pillow"]}]
    assert len({unit_key(each) for each in [facts, *others]}) == 4
