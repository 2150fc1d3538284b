"""Every item is decoded once, for all; in RAM or in a file the pixels are the same, and memory stays bounded."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from one_decoded import decode_image
from PIL import Image

from foldpack.data import decode
from foldpack.data.decode import Decoded, black_canvas
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items, whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.predict.canvas import CanvasSet
from foldpack.predict.canvas_file import PLACE, CanvasError, CanvasFile
from foldpack.predict.page_stream import STALL_SECONDS, PageStream
from foldpack.predict.pixel_source import HeldPixels, PixelSource
from foldpack.predict.room import Place, cgroup_left, free_memory, meminfo_available
from foldpack.predict.scratch import canvas_bytes, keep_canvases
from foldpack.settings.network import Geometry

KINDS = [CanvasKind(16, "pillow"), CanvasKind(24, "pillow"), CanvasKind(16, "pillow-draft")]
MADE_UP = "foldpack.predict.canvas.decode_item"  # of the background pass


@pytest.fixture
def items(tmp_path: Path) -> Items:
    """Twelve JPEGs; the fifth is broken, the last is missing."""
    dice = np.random.default_rng(0)
    paths = [tmp_path / f"{row}.jpg" for row in range(12)]
    for path in paths[:-1]:
        Image.fromarray(dice.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    paths[4].write_bytes(b"<html>")
    return whole_images([path.stem for path in paths], paths)


def in_files(items: Items, kinds: list[CanvasKind], folder: Path) -> dict[CanvasKind, PixelSource]:
    """A file for each kind, with room for everything."""
    return keep_canvases(items, dict.fromkeys(kinds, 1), [Place(folder, 1 << 40)], 2, print)[0]


def decoded(items: Items, kinds: list[CanvasKind], scratch: Path | None, threads: int = 3) -> CanvasSet:
    made = CanvasSet(items, kinds, None if scratch is None else in_files(items, kinds, scratch))
    made.start(threads)
    assert made.wait(len(items), 60)
    return made


def canvas_file(folder: Path) -> CanvasFile:
    """Room for 4 images of 8 px, none of which can be decoded."""
    file = CanvasFile(folder / "own" / "canvas", PageStream([folder / "missing"] * 4, CanvasKind(8, "pillow"), 1), 4)
    file.create()
    return file


def test_a_file_holds_the_same_pixels_as_ram(items: Items, tmp_path: Path) -> None:
    ram, file = decoded(items, KINDS, None), decoded(items, KINDS, tmp_path / "scratch")
    assert isinstance(ram.pixels[KINDS[0]], HeldPixels) and isinstance(file.pixels[KINDS[0]], CanvasFile)
    for kind in KINDS:
        whole = ram.pixels[kind].take(0, 12)
        assert np.array_equal(file.pixels[kind].take(0, 12), whole) and len(file.pixels[kind]) == 12
        assert np.array_equal(file.pixels[kind].take(3, 9), whole[3:9])
        assert file.pixels[kind].take(5, 5).shape == (0, *kind.sides, 3)
        for row in (0, 7):
            assert np.array_equal(whole[row], decode_image(items.images[row], kind))
        assert np.array_equal(ram.pixels[kind].frames(2, 9), file.pixels[kind].frames(2, 9))
    assert ram.broken.tolist() == file.broken.tolist() == [row in (4, 11) for row in range(12)]
    assert not ram.pixels[KINDS[0]].take(0, 12)[[4, 11]].any()
    paths = [each.path for each in file.pixels.values() if isinstance(each, CanvasFile)]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 3
    file.close()
    assert not any(path.exists() for path in paths)


def test_all_kinds_come_from_one_reading(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, decoders, channels: each file is asked for once, not once a canvas."""
    seen: Counter[str] = Counter()
    real = decode.decode_item

    def count(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        seen[path.name] += 1
        return real(path, kinds, reader)

    monkeypatch.setattr(MADE_UP, count)
    decoded(items, [*KINDS, KINDS[0], CanvasKind(20), CanvasKind(20, channels=1)], None)
    assert set(seen.values()) == {1} and len(seen) == 12


def test_a_canvas_goes_to_other_processes_by_its_path(tmp_path: Path) -> None:
    file = canvas_file(tmp_path)
    pixels = np.full((8, 8, 3), 7, dtype=np.uint8)
    assert file.put(2, pixels, (40, 30))
    there = pickle.loads(pickle.dumps(file))
    assert there.handle() != file.handle() and np.array_equal(there.take(2, 3)[0], pixels)
    assert file.put(3, pixels + 1, (8, 8)) and file.put(3, pixels, (8, 8))  # the first stays
    assert np.array_equal(there.take(0, 4)[3], pixels + 1) and not there.take(0, 2).any()
    assert there.frames(2, 4).tolist() == [[40, 30, 0.2, 8 / 30, 0, 0], [8, 8, 1, 1, 0, 0]]


def test_canvases_that_vary_lie_behind_each_other_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Where three of the largest fit, six of half their size do, and a seventh does not."""
    kind = CanvasKind(8, geometry=Geometry(kind="long"))
    file = CanvasFile(tmp_path / "own" / "canvas", PageStream([tmp_path / "missing"] * 9, kind, 1), 3)
    file.create()
    for row in (5, 0, 7, 1, 2, 3):
        assert file.put(row, np.full((8, 4, 3), row, np.uint8), (80, 40))
    assert not file.put(4, np.full((8, 4, 3), 4, np.uint8), (80, 40))
    assert file.path.stat().st_size == 9 * PLACE.itemsize + 3 * 192
    there = pickle.loads(pickle.dumps(file))
    canvases = there.take(0, 9)
    assert [canvas.shape for canvas in canvases] == [(8, 8 if row in (4, 6, 8) else 4, 3) for row in range(9)]
    assert [int(canvas.max()) for canvas in canvases] == [0, 1, 2, 3, 0, 5, 0, 7, 0]
    assert there.lost_rows(0, 9) == [4, 6, 8]
    assert there.frames(4, 6).tolist() == [[0, 0, 1, 1, 0, 0], [80, 40, 0.1, 0.1, 0, 0]]


def test_a_file_that_was_cut_is_noticed(tmp_path: Path) -> None:
    file = canvas_file(tmp_path)
    for row in range(4):
        file.put(row, np.full((8, 8, 3), row, dtype=np.uint8), (8, 8))
    os.truncate(file.path, 4 * PLACE.itemsize + 192 * 2 + 5)
    assert file.take(0, 2).shape == (2, 8, 8, 3)
    with pytest.raises(CanvasError, match="the file of decoded images ends too early"):
        file.take(1, 3)


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk_in_the_midst_costs_only_the_keeping_of_that_kind(items: Items, tmp_path: Path, short: bool,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the file is decoded again by its readers, in other processes too: the same pixels."""
    ram, said = decoded(items, KINDS, None), []
    pixels = in_files(items, KINDS, tmp_path / "scratch")
    real, left = os.pwrite, [20_000]

    def small(descriptor: int, data: bytes | memoryview, place: int) -> int:
        left[0] -= len(memoryview(data).cast("B"))
        if left[0] < 0:
            if short:
                return 3
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", small)
    made = CanvasSet(items, KINDS, pixels, say=said.append)
    made.start(2)
    assert made.wait(12, 60)
    assert made.counts() == ram.counts() == {"decoded": 10, "repaired": 0, "prior": 2}
    assert made.broken.tolist() == ram.broken.tolist()
    assert said and all(line.count("no more decoded images can be kept") == 1 for line in said) and len(said) <= 3
    monkeypatch.undo()
    for kind in KINDS:
        whole = ram.pixels[kind].take(0, 12)
        assert np.array_equal(made.pixels[kind].take(0, 12), whole)
        assert np.array_equal(pickle.loads(pickle.dumps(made.pixels[kind])).take(3, 11), whole[3:11])
    made.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_that_stalls_is_given_up_and_the_others_go_on(items: Items, threads: int,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    stalled, let_go = threading.Event(), threading.Event()

    def slow(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        if path.stem in ("2", "6"):
            stalled.set()
            let_go.wait(60)
        return Decoded({kind: black_canvas(kind) + 9 for kind in kinds}, "decoded", "")

    monkeypatch.setattr(MADE_UP, slow)
    made = CanvasSet(items, KINDS[:1], clock=lambda: now[0])
    made.start(threads)
    assert stalled.wait(30)
    for _ in range(200):
        now[0] += STALL_SECONDS / 4
        if made.wait(12, 0.0):
            break
        let_go.wait(0.05)
    assert made.ready() == 12 and np.flatnonzero(made.broken).tolist() == [2, 6]
    assert "2.jpg: not decoded after 60 s, given up" in made.report.fallback[2]
    let_go.set()


def test_an_image_for_which_there_is_no_memory_is_given_up_alone(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        if path.stem == "2":
            raise MemoryError
        return Decoded({kind: black_canvas(kind) + 9 for kind in kinds}, "decoded", "")

    monkeypatch.setattr(MADE_UP, hungry)
    made = decoded(items, KINDS[:1], None)
    assert made.report.fallback == {2: f"{items.images[2]}: no memory to decode it"}


def test_rows_are_ready_from_the_first_on(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def gated(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        if path.stem == "3":
            let_go.wait(60)
        return Decoded({kind: black_canvas(kind) for kind in kinds}, "repaired", f"{path}: mended")

    monkeypatch.setattr(MADE_UP, gated)
    made = CanvasSet(items, KINDS[:1], None)
    made.start(2)
    assert made.wait(3, 30) and not made.wait(4, 0.2)
    assert made.ready() == 3
    let_go.set()
    assert made.wait(12, 30) and made.finished() == 12
    assert len(made.report.repaired) == 12 and not made.report.fallback


def test_decoding_stops_when_it_is_closed(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    seen: list[str] = []

    def gated(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        seen.append(path.stem)
        let_go.wait(60)
        return Decoded({kind: black_canvas(kind) for kind in kinds}, "decoded", "")

    monkeypatch.setattr(MADE_UP, gated)
    before = set(threading.enumerate())
    made = CanvasSet(items, KINDS[:1], None)
    made.start(2)
    made.close()
    let_go.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert len(seen) <= 4


def test_what_decoded_images_take() -> None:
    assert canvas_bytes(40_000, [CanvasKind(320, "pillow")]) == 12_288_000_000
    assert canvas_bytes(10, [CanvasKind(2, "pillow"), CanvasKind(2, "pillow"), CanvasKind(1, "pillow")]) == 150


def test_the_free_memory_is_the_machine_s_or_the_container_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meminfo_available("MemTotal: 9 kB\nMemAvailable:    1024 kB\n") == 1 << 20
    assert meminfo_available("nothing") is None and cgroup_left("max\n") is None
    texts = {"/proc/meminfo": "MemAvailable: 4096 kB\n", "/sys/fs/cgroup/memory.max": "3000000\n",
             "/sys/fs/cgroup/memory.stat": "anon 1000000\nfile 5\nshmem 500000\n"}
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: texts[str(self)])
    assert free_memory() == 1_500_000
    texts["/sys/fs/cgroup/memory.max"] = "max\n"
    assert free_memory() == 4 << 20

    def missing(self: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert free_memory() is None


# A stand-in for decoding: pixels that cost nothing to make, of all items, read back by the batch as a network would.
MEMORY = """
import os, resource, sys, zlib
from pathlib import Path
import numpy as np
from foldpack.data.decode import Decoded
from foldpack.data.items import whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.predict import canvas, scratch as keeping
from foldpack.predict.room import Place
count, size, scratch = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
def made_up(path, kinds, reader):
    value = int(path.name) % 251
    return Decoded({kind: np.full((*kind.sides, 3), value, np.uint8) for kind in kinds}, "decoded", "")
canvas.decode_item = made_up
names = [str(row) for row in range(count)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
paths, kind = [Path(name) for name in names], canvas.CanvasKind(size, "pillow")
kept = keeping.keep_canvases(whole_images(names, paths), {kind: 1}, [Place(scratch, 1 << 40)], 1, print)[0]
made = canvas.CanvasSet(whole_images(names, paths), [kind], kept)
made.start(2)
pixels = made.pixels[kind]
for start in range(0, count, 64):
    stop = min(count, start + 64)
    while not made.wait(stop, 1.0):
        pass
    assert np.array_equal(pixels.take(start, stop)[:, 0, 0, 0], np.arange(start, stop) % 251)
made.close()
print(before * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def memory_of(count: int, size: int, scratch: Path) -> tuple[int, int]:
    """Bytes at most in use: before the canvases, and at the end."""
    done = subprocess.run([sys.executable, "-c", MEMORY, str(count), str(size), str(scratch)], capture_output=True,
                          text=True, check=True)
    before, after = done.stdout.split()
    return int(before), int(after)


def test_canvases_in_a_file_are_not_memory_of_the_process(tmp_path: Path) -> None:
    before, after = memory_of(2_000, 160, tmp_path)  # 154 MB of pixels
    assert after - before < 40 << 20


@pytest.mark.slow
def test_40000_images_of_320_pixels_stay_within_6_gib(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = memory_of(40_000, 320, tmp_path)  # 12.3 GB of pixels
    with capsys.disabled():
        print(f"\n40,000 canvases of 320 px: {after / 2**20:.0f} MiB at most, {before / 2**20:.0f} MiB before them")
    assert after < 6 << 30
