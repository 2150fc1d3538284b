"""Training images from memory, from the disk and decoded on the fly: the same pixels, the same weights."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_house import tiny_config
from view_arrays import oof_array, predict_logits

from foldpack.competitions.adapters import get_competition
from foldpack.competitions.digits_source import write_digits
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items, whole_images
from foldpack.data.runs import checkpoint_path, read_run
from foldpack.errors import DataError
from foldpack.models.checkpoint import read_checkpoint, restore_net
from foldpack.predict.canvas_file import CanvasFile
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.network import Geometry
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import EpochOrder, TrainingSet, told_plainly, training_batches
from foldpack.train.halve import halve_run
from foldpack.train.images import source
from foldpack.train.images.picked import PickedPixels
from foldpack.train.images.shared_file import SharedCanvasFile, images_digest, remove_unused
from foldpack.train.images.source import open_images
from foldpack.train.load import load_training_set
from foldpack.train.run import train_run

KINDS = [CanvasKind(8), CanvasKind((6, 10)), CanvasKind(12, geometry=Geometry(kind="long"))]
MODES = ["memory", "disk", "stream"]
ROWS = 12
DIGITS = get_competition("digits")


def quiet(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def items(tmp_path: Path) -> Items:
    """Twelve JPEGs of several shapes."""
    dice = np.random.default_rng(0)
    paths = [tmp_path / f"{row}.jpg" for row in range(ROWS)]
    for row, path in enumerate(paths):
        Image.fromarray(dice.integers(0, 256, (30 + row, 50 - row, 3), dtype=np.uint8)).save(path)
    return whole_images([path.stem for path in paths], paths)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_memory_disk_and_stream_give_the_same_pixels_in_any_order_and_process(items, tmp_path, kind) -> None:
    opened = [open_images(items, kind, mode, tmp_path / "cache", quiet).pixels for mode in MODES]
    assert [type(each) for each in opened] == [HeldPixels, SharedCanvasFile, PageStream]
    rows = np.array([1, 2, 5, 9, 11])
    first = [opened[0].row(row) for row in range(ROWS)]
    for pixels in opened:
        for there in (pixels, pickle.loads(pickle.dumps(pixels))):
            assert len(there) == ROWS and there.kind == kind
            assert all(np.array_equal(there.row(row), first[row]) for row in (7, 0, 7, 11))
            picked = PickedPixels(there, rows)
            picked.expect(0, 9)
            for start, stop in ((0, 3), (3, 5)):
                taken = picked.take(start, stop)
                assert len(taken) == stop - start
                assert all(np.array_equal(one, first[row]) for one, row in zip(taken, rows[start:stop], strict=True))
            assert np.array_equal(picked.frames(0, 5), opened[0].frames(0, ROWS)[rows])
            assert picked.lost_rows(0, 5) == [] and picked.waited > 0
            picked.close()
            assert np.array_equal(there.row(3), first[3])


def test_a_file_is_made_once_for_all_who_train_on_the_same_images(items, tmp_path, monkeypatch) -> None:
    seen: list[str] = []
    real = source.CanvasSet._decode


    def count(canvases: source.CanvasSet, row: int) -> tuple[str, str]:
        seen.append(canvases.items.ids[row])
        return real(canvases, row)

    monkeypatch.setattr(source.CanvasSet, "_decode", count)
    files = [open_images(items, KINDS[0], "disk", tmp_path / "cache", quiet).pixels for _ in range(2)]
    assert sorted(seen) == sorted(items.ids) and files[0].path == files[1].path
    open_images(items, KINDS[1], "disk", tmp_path / "cache", quiet)
    assert len(seen) == 2 * ROWS
    Image.new("RGB", (40, 40), "red").save(items.images[3])  # a changed file is another image
    changed = open_images(items, KINDS[0], "disk", tmp_path / "cache", quiet).pixels
    assert len(seen) == 3 * ROWS and (changed.row(3)[..., 0] > 250).all() and (files[0].row(3)[..., 0] < 250).any()


SLOW = """
import sys, time
from pathlib import Path
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import whole_images
from foldpack.predict import canvas
from foldpack.train.images import source
real = canvas.decode_item
def slow(path, *others):
    time.sleep(float(sys.argv[3]))
    print(path.stem, flush=True)
    return real(path, *others)
canvas.decode_item = slow
source.os.cpu_count = lambda: 1
paths = [Path(sys.argv[1]) / f"{row}.jpg" for row in range(12)]
items = whole_images([path.stem for path in paths], paths)
said = lambda text: print("said", text, flush=True)
pixels = source.open_images(items, CanvasKind(8), "disk", Path(sys.argv[2]), said).pixels
print("sum", sum(int(pixels.row(row).sum()) for row in range(12)))
"""


def started(items: Items, cache: Path, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, str(items.images[0].parent), str(cache), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def decoded_in(lines: list[str]) -> list[int]:
    return [int(line) for line in lines if line.strip().isdigit()]


def test_a_run_that_was_killed_leaves_its_images_to_the_next(items: Items, tmp_path: Path) -> None:
    whole = open_images(items, KINDS[0], "memory", tmp_path / "cache", quiet).pixels
    first = started(items, tmp_path / "cache", 0.2)
    assert first.stdout is not None
    lines = [next(first.stdout) for _ in range(5)]
    first.send_signal(signal.SIGKILL)
    lines += first.stdout.readlines()
    done = decoded_in(lines)
    second = started(items, tmp_path / "cache", 0.0).communicate()[0].splitlines()
    assert 3 <= len(done) < ROWS
    again = decoded_in(second)
    assert set(done) | set(again) == set(range(ROWS)) and len(set(done) & set(again)) <= 1  # the one in work
    assert second[-1] == f"sum {sum(int(whole.row(row).sum()) for row in range(ROWS))}"


def test_of_several_processes_one_decodes_and_the_others_wait(items: Items, tmp_path: Path) -> None:
    running = [started(items, tmp_path / "cache", 0.1) for _ in range(3)]
    said = [process.communicate()[0].splitlines() for process in running]
    assert sorted(row for lines in said for row in decoded_in(lines)) == list(range(ROWS))
    assert len({lines[-1] for lines in said}) == 1 and said[0][-1].startswith("sum ")
    note = "another process decodes the same images; waiting for it"
    waiting = [lines for lines in said if any(note in line for line in lines)]
    assert len(waiting) == 2 and all(decoded_in(lines) == [] for lines in waiting)


def test_auto_takes_memory_then_the_disk_then_decodes_again(items, tmp_path, monkeypatch) -> None:
    bytes_of_all = ROWS * KINDS[0].most_bytes
    monkeypatch.setattr(source, "free_memory", lambda: bytes_of_all * 5 // 2 + 1000)  # 40 % of it are enough
    assert isinstance(open_images(items, KINDS[0], "auto", tmp_path / "a", quiet).pixels, HeldPixels)
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(source, "free_memory", lambda: bytes_of_all)
    said: list[str] = []
    assert isinstance(open_images(items, KINDS[0], "auto", tmp_path / "a", said.append).pixels, CanvasFile)
    assert said == [f"decoded images: 8 px: 0.0 GB in {tmp_path / 'a'}; the file may be removed when nothing trains"]
    monkeypatch.setattr(source, "disk_room", lambda folder, own: 0)
    assert isinstance(open_images(items, KINDS[0], "auto", tmp_path / "b", quiet).pixels, PageStream)
    with pytest.raises(DataError, match="b: no room for decoded images, which `images: disk` asks for; free some of"):
        open_images(items, KINDS[0], "disk", tmp_path / "b", quiet)


def test_what_does_not_fit_on_the_disk_is_decoded_again(items: Items, tmp_path: Path, monkeypatch) -> None:
    whole = open_images(items, KINDS[0], "memory", tmp_path, quiet).pixels
    monkeypatch.setattr(source, "disk_room", lambda folder, own: ROWS * 24 + 5 * KINDS[0].most_bytes)
    said: list[str] = []
    file = open_images(items, KINDS[0], "disk", tmp_path / "cache", said.append).pixels
    assert isinstance(file, SharedCanvasFile) and (file.places()["at"] > 0).sum() == 5
    assert "7 of 12 images are decoded again in each epoch" in said[0]
    assert all(np.array_equal(file.row(row), whole.row(row)) for row in range(ROWS))
    monkeypatch.undo()
    grown = open_images(items, KINDS[0], "disk", tmp_path / "cache", quiet).pixels
    assert isinstance(grown, SharedCanvasFile) and (grown.places()["at"] > 0).all()


def test_files_that_nobody_uses_make_room_oldest_first(items: Items, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    used, *others = [open_images(items, CanvasKind(side), "disk", cache, quiet).pixels.path for side in (8, 9, 10)]
    held = open_images(items, CanvasKind(8), "disk", cache, quiet).pixels
    for file, age in zip(others, (50, 100), strict=True):
        times = (time.time() - age,) * 2
        os.utime(file, times)
    remove_unused(cache, lambda: len(list(cache.glob("*.u8"))) <= 2, [])
    assert others[0].exists() and not others[1].exists()
    remove_unused(cache, lambda: False, [])
    assert list(cache.glob("*.u8")) == [used] and held.row(0).any()


def test_a_stream_decodes_no_further_ahead_than_it_is_told(items: Items) -> None:
    seen = []
    for rows in (2, 5):
        pages = PageStream(items.images, KINDS[0], 1, ahead=rows * KINDS[0].most_bytes)
        pages.expect(0, ROWS)
        pages.take(0, 1)
        seen.append(len(pages._ahead))
        assert pickle.loads(pickle.dumps(pages)).ahead == pages.ahead
        pages.close()
    assert 1 <= seen[0] <= 2 < seen[1] <= 5


def test_the_name_of_a_file_follows_what_decides_the_pixels(items: Items) -> None:
    names = {images_digest(items, kind) for kind in [*KINDS, CanvasKind(8, "pillow-draft"), CanvasKind(8, channels=1)]}
    names.add(images_digest(whole_images(items.ids[::-1], items.images[::-1]), KINDS[0]))
    names.add(images_digest(whole_images(items.ids[1:], items.images[1:]), KINDS[0]))
    assert len(names) == 7 and images_digest(items, KINDS[0]) in names


@pytest.mark.parametrize("mode", MODES)
def test_broken_and_repaired_images_are_known_whoever_decoded_them(items, tmp_path, mode) -> None:
    items.images[4].write_bytes(b"<html>")
    items.images[7].unlink()
    noise = np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(items.images[2], "png")
    items.images[2].write_bytes(items.images[2].read_bytes()[:-1000])
    for _ in range(2):
        images = open_images(items, KINDS[0], mode, tmp_path / "cache", quiet)
        assert [line.split(":")[0] for line in images.broken] == [str(items.images[4]), str(items.images[7])]
        assert all("cannot decode the image" in line for line in images.broken)
        [line] = images.repaired
        assert line.startswith(f"{items.images[2]}: repaired (")


# ---- whole runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """60 digits with folds."""
    from small_house import write_small_folds

    root = tmp_path_factory.mktemp("images")
    write_digits(root / "data", root / "answers.csv", 60)
    write_small_folds(root / "data", root / "folds.csv")
    yield root


def trained(place: Path, runs: Path, said: list[str] | None = None, **changes: object) -> RunConfig:
    config = tiny_config("tiny", epochs=2, **changes)
    train_run(config, place / "data", place / "folds.csv", runs, quiet if said is None else said.append)
    return config


def test_the_weights_are_the_same_from_memory_disk_and_stream_with_and_without_workers(place, tmp_path) -> None:
    found = []
    for mode, workers in (("memory", 0), ("disk", 2), ("stream", 0), ("stream", 2)):
        runs = tmp_path / f"{mode}{workers}"
        trained(place, runs, images=mode, workers=workers)
        run = read_run(runs / "tiny")
        found.append((run.meta.oof_sha256, [fold.sha256 for fold in run.meta.folds]))
    oof, weights = zip(*found, strict=True)
    assert len(set(oof)) == 1
    tensors = [read_checkpoint(checkpoint_path(tmp_path / name / "tiny", 0))[0]
               for name in ("memory0", "disk2", "stream0", "stream2")]
    assert all(torch.equal(each[name], tensors[0][name]) for each in tensors for name in each)


def test_a_halved_run_reads_from_the_disk_too_and_parity_holds(place: Path, tmp_path: Path) -> None:
    trained(place, tmp_path, images="disk")
    assert len(list((tmp_path / ".decoded").glob("canvas-*.u8"))) == 1
    halve_run(tmp_path / "tiny", tmp_path / "half", place / "data", place / "folds.csv", quiet)
    run = read_run(tmp_path / "half")
    weights, info = read_checkpoint(checkpoint_path(tmp_path / "half", 0))
    items = DIGITS.train(place / "data").items
    rows = [items.ids.index(each) for each in np.array(run.ids)[run.fold == 0]]
    pixels = open_images(items, CanvasKind(info.net.size), "memory", tmp_path, quiet).pixels
    again = predict_logits(restore_net(weights, info, "half"), info.net, np.stack([pixels.row(row) for row in rows]),
                           run.meta.views, torch.device("cpu"), 3)
    assert np.abs(again - oof_array(run)[:, run.fold == 0]).max() <= 1e-5


def test_broken_images_end_the_training_or_are_left_out_of_all_of_it(place: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(place, broken)
    (broken / "data/train/digit_0009.png").write_bytes(b"x")
    with pytest.raises(DataError, match="digit_0009.png: cannot decode the image .*; 1 training images are broken: "
                                        "mend them, or set `broken: skip` in the YAML of the run, which leaves them "
                                        "out; without their rows in .*folds.csv it also goes on, but a recipe writes "
                                        "that file anew"):
        trained(broken, tmp_path / "runs")
    said: list[str] = []
    trained(broken, tmp_path / "runs", said, broken="skip")
    lines = [line for line in said if "digit_0009" in line]
    assert len(lines) == 1 and lines[0].startswith("warning: 1 training images are broken; they are left out of the ")
    run = read_run(tmp_path / "runs/tiny")
    assert len(run.ids) == 47 and "digit_0009" not in run.ids
    alone = load_training_set(tiny_config("tiny", broken="skip"), DIGITS, broken / "data", broken / "folds.csv", quiet)
    whole = load_training_set(tiny_config("tiny"), DIGITS, place / "data", place / "folds.csv", quiet)
    for row, each in enumerate(alone.ids):
        before = whole.ids.index(each)
        assert np.array_equal(alone.pixels.row(row), whole.pixels.row(before))
        assert (alone.targets[row], alone.fold[row]) == (whole.targets[before], whole.fold[before])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_goes_away_while_a_net_learns_is_one_clear_error(items, tmp_path, workers) -> None:
    pixels = open_images(items, CanvasKind(16), "stream", tmp_path, quiet).pixels
    items.images[5].unlink()
    data = TrainingSet(items.ids, pixels, np.arange(ROWS) % 2, np.zeros(ROWS, int), ["a", "b"], "multiclass")
    config = tiny_config("tiny", batch_size=4, workers=workers)
    with pytest.raises(DataError) as caught:
        list(told_plainly(training_batches(data, np.arange(ROWS), config, 0, EpochOrder(lambda _: np.arange(ROWS)))))
    assert str(caught.value).startswith("image '5': it was decoded when the training began and cannot be now; ")
    assert "\n" not in str(caught.value)
