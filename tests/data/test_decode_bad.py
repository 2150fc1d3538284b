"""A thousand bad images: each is decoded, repaired or given up, and none is silently wrong."""

from __future__ import annotations

import io
import os
import random
import re
import struct
import tempfile
import threading
import time
import tracemalloc
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bad_images import FILES, KINDS, SIDE, BadImage, jpeg, make_bad_images, pixels_of, png, png_chunks, png_of, saved
from jpeg_reference import JpegData, read_jpeg_data
from one_decoded import ImageError, decode_image
from PIL import Image

from foldpack.data.decode import Decoded, decode_item
from foldpack.data.decode_bytes import check_image_bytes
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.limits import MAX_FILE_BYTES
from foldpack.errors import DataError

LOOK_AHEAD = 12  # libjpeg reads so many bytes ahead; fewer left over go unnoticed, by it too
LENIENT = ("jpeg_with_padding", "jpeg_with_a_trailer", "cut_jpeg_header")
SQUARE = CanvasKind(SIDE)


@dataclass(frozen=True)
class Answer:
    file: BadImage
    decoded: Decoded


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    """Every file of the corpus, decoded at its own side."""
    found = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about bombs and EXIF
        for file in make_bad_images(FILES):
            path = Path(folder, file.name)
            path.write_bytes(file.content)
            found.append(Answer(file, decode_item(path, [CanvasKind(file.side)])))
    return found


def of_kinds(answers: list[Answer], *kinds: str) -> Iterator[Answer]:
    return (answer for answer in answers if any(kind in answer.file.kind for kind in kinds))


def test_a_thousand_files_of_many_kinds_are_each_answered(answers: list[Answer]) -> None:
    assert len(answers) == FILES and len({answer.file.kind for answer in answers}) == len(KINDS) + 1 >= 38
    for answer in answers:
        pixels = answer.decoded.pixels[SQUARE]
        assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
        assert (answer.decoded.state == "decoded") == (answer.decoded.reason == "")
        if answer.decoded.state == "fallback":
            assert not pixels.any() and f"{answer.file.name}: cannot decode the image (" in answer.decoded.reason
        if answer.decoded.state == "repaired":
            assert f"{answer.file.name}: repaired (" in answer.decoded.reason
        assert "\n" not in answer.decoded.reason and "image ()" not in answer.decoded.reason


def test_every_kind_ends_as_it_must(answers: list[Answer]) -> None:
    wrong = [(answer.file.kind, answer.file.name, answer.decoded) for answer in answers
             if answer.decoded.state not in answer.file.states]
    assert wrong == []


def test_sound_files_have_the_pixels_that_were_saved(answers: list[Answer]) -> None:
    compared = Counter()
    for answer in answers:
        if answer.decoded.state == "decoded" and answer.file.clean is not None:
            assert (answer.decoded.pixels[SQUARE] == answer.file.clean).all(), answer.file
            compared[answer.file.kind] += 1
    assert len(compared) >= 12 and sum(compared.values()) > 150


def test_a_second_reader_agrees_which_jpegs_are_damaged(answers: list[Answer]) -> None:
    """Never silently wrong: what is called decoded holds all its blocks, and what holds them is not given up."""
    verdicts: Counter[tuple[bool, str]] = Counter()
    unseen = 0
    for answer in of_kinds(answers, "jpeg", "restarts"):
        read = read_jpeg_data(answer.file.content) if answer.file.kind not in LENIENT else None
        if read is None:
            continue
        sound = read.sound and read.left_over <= LOOK_AHEAD
        if read.strange_codes and answer.decoded.state == "decoded":  # and all blocks there: Pillow does not tell
            assert sound
            unseen += 1
            continue
        verdicts[sound, answer.decoded.state] += 1
        if sound and not read.left_over and not read.strange_codes:
            assert answer.decoded.state == "decoded", answer
            assert (answer.decoded.pixels[SQUARE] == pixels_of(answer.file.content)).all()
        elif not sound:
            assert answer.decoded.state != "decoded", (answer.file.name, answer.file.kind, read)
    assert unseen <= 0.01 * (verdicts[False, "repaired"] + verdicts[False, "fallback"])
    assert verdicts[True, "decoded"] > 50 and verdicts[False, "repaired"] > 100 and verdicts[False, "fallback"] > 10


def rows_said(reason: str) -> int:
    found = re.search(r"(\d+) of \d+ rows were decoded", reason)
    return int(found[1]) if found else SIDE


def require_honest_rows(answer: Answer, rows: int) -> None:
    """The rows that are called decoded are those of the undamaged file, all others have one colour."""
    pixels, clean = answer.decoded.pixels[SQUARE], answer.file.clean
    assert clean is not None and (pixels[:rows] == clean[:rows]).all(), answer.file.name
    mean = clean[:rows].mean(axis=(0, 1))
    assert (np.abs(pixels[rows:] - mean) <= 0.5 + 1e-9).all()


def test_cut_jpegs_are_repaired_from_half_of_their_rows_on(answers: list[Answer]) -> None:
    states = Counter()
    for answer in of_kinds(answers, "cut_jpeg", "jpeg_without_end"):
        read = read_jpeg_data(answer.file.content)
        if answer.file.kind == "cut_jpeg_header" or read is None:
            continue
        complete = min(SIDE, read.mcus // read.per_row * read.mcu_height)
        if answer.decoded.state == "repaired":
            sure = re.search(r"rows from (\d+) on are uncertain", answer.decoded.reason)
            rows = int(sure[1]) if sure else rows_said(answer.decoded.reason)
            assert complete - read.mcu_height - 2 <= rows <= complete and 2 * rows >= SIDE, answer
            if sure:
                assert (answer.decoded.pixels[SQUARE][:rows] == answer.file.clean[:rows]).all()
            else:
                require_honest_rows(answer, rows)
        else:
            assert 2 * (complete - read.mcu_height) <= SIDE, answer
        states[answer.decoded.state] += 1
    assert states["repaired"] > 20 and states["fallback"] > 10


def png_rows(content: bytes) -> int:
    """Complete rows in what is there of a PNG's data."""
    unpacked = zlib.decompressobj().decompress(b"".join(body for kind, body in png_chunks(content) if kind == b"IDAT"))
    return len(unpacked) // (3 * SIDE + 1)


def test_cut_pngs_are_repaired_from_half_of_their_rows_on(answers: list[Answer]) -> None:
    states = Counter()
    for answer in of_kinds(answers, "cut_png"):
        complete = png_rows(answer.file.content)
        states[answer.decoded.state] += 1
        if answer.decoded.state == "repaired":
            rows = rows_said(answer.decoded.reason)
            assert complete - 1 <= rows <= complete and 2 * rows >= SIDE
            require_honest_rows(answer, rows)
        else:
            assert 2 * (complete - 1) < SIDE
    assert min(states["repaired"], states["fallback"]) > 10


def test_no_damaged_png_passes_for_a_sound_one(answers: list[Answer]) -> None:
    states = Counter(answer.decoded.state for answer in of_kinds(answers, "rotten_png", "spliced_png"))
    assert states["decoded"] == 0 and states["repaired"] > 20 and states["fallback"] > 10


@pytest.mark.parametrize("size", [7, 48, 96])
def test_several_sizes_are_those_of_one(answers: list[Answer], tmp_path: Path, size: int) -> None:
    for answer in answers[:: len(answers) // 60]:
        path = tmp_path / f"a{answer.file.name}"
        path.write_bytes(answer.file.content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both = decode_item(path, [CanvasKind(size), CanvasKind(33)])
            if both.state == "fallback":
                with pytest.raises(ImageError) as caught:
                    decode_image(path, CanvasKind(size))
                assert str(caught.value) == both.reason
            else:
                assert (decode_image(path, CanvasKind(size)) == both.pixels[CanvasKind(size)]).all()


def test_memory_stays_bounded_by_the_largest_image_not_by_promises(answers: list[Answer], tmp_path: Path) -> None:
    """Bombs, noise and text: nothing that a file promises is allocated."""
    kinds = ("bomb", "noise", "text", "page", "zero_bytes", "nothing")
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for file in [answer.file for answer in of_kinds(answers, *kinds)][:60]:
                (tmp_path / file.name).write_bytes(file.content)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                assert decode_item(tmp_path / file.name, [SQUARE]).state in file.states
                assert tracemalloc.get_traced_memory()[1] - before < 24 * 2**20, file.kind
    finally:
        tracemalloc.stop()


def peak_of(path: Path) -> int:
    """Growth of the peak resident memory of a process of its own that decodes a file, bytes."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
            decode_item(path, [CanvasKind(64)])
            os.write(writer, str(resident("VmHWM") - before).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return int(file.read() or -1)


def resident(line: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_promised_pixels_are_not_allocated(tmp_path: Path) -> None:
    """Pillow's own memory, which Python does not count: 9,500 x 9,500 pixels would take 270 MB or more."""
    header = struct.pack(">IIBBBBB", 9500, 9500, 8, 2, 0, 0, 0)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = decode_item(bomb, [CanvasKind(64)])
        assert "9500 x 9500 pixels; the limit is 89,000,000" in decoded.reason
        assert 0 <= peak_of(bomb) < 30 * 2**20


def test_big_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("foldpack.data.readers.limits.BIG_IMAGE", SIDE * SIDE - 1)
    running, most = 0, 0
    from foldpack.data.readers import pillow

    real = pillow.decode_planes

    def watched(*args: object) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pillow, "decode_planes", watched)
    path = tmp_path / "a.png"
    path.write_bytes(png(random.Random(0)))
    threads = [threading.Thread(target=decode_item, args=(path, [CanvasKind(8)])) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_is_no_ordinary_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "folder.png").mkdir()
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for name, reason in (("pipe", "(not a file)"), ("folder", "(not a file)"), ("missing", "No such file"),
                         ("large", "a file of 536,870,913 bytes; the limit is 536,870,912")):
        decoded = decode_item(tmp_path / f"{name}.png", [CanvasKind(8)])
        assert decoded.state == "fallback" and reason in decoded.reason


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "(the file is empty)"), (bytes(9), "(the file is 9 zero bytes)"),
    (b"<!DOCTYPE html><p>", "(the file is a web page, not an image)"),
    (b"hello", "(it begins like no image that can be read)"),
])
def test_reasons_say_what_the_file_is(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason in decode_item(tmp_path / "a.jpg", [CanvasKind(8)]).reason


def test_a_file_is_read_once_and_decoded_once_for_all_sizes(tmp_path: Path, monkeypatch) -> None:
    path, reads, loads = tmp_path / "a.jpg", [], []
    path.write_bytes(jpeg(random.Random(0)))
    real_read, real_load = Path.read_bytes, Image.Image.load
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or real_read(self))
    from PIL import ImageFile

    real = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: (self.tile and loads.append(1)) or real(self))
    kinds = [CanvasKind(size) for size in (8, 16, 48, 100)]
    decoded = decode_item(path, kinds)
    assert reads == [path] and len(loads) == 1 and list(decoded.pixels) == kinds and real_load is not None


def photo(width: int, height: int) -> bytes:
    down, right = np.mgrid[:height, :width]
    waves = np.stack([127 + 100 * np.sin(right / 40), 127 + 100 * np.cos(down / 30), 127 + 50 * np.sin(down / 9)], -1)
    return saved(waves.astype(np.uint8), "JPEG", quality=90)


def test_draft_decodes_at_the_smallest_scale_that_covers_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(photo(800, 400))
    full, draft = (decode_item(path, [CanvasKind(size, decoder) for size in (50, 100, 201, 400)])
                   for decoder in ("pillow", "pillow-draft"))
    assert full.state == draft.state == "decoded"
    shift = {size: np.abs(full.pixels[CanvasKind(size)].astype(int)
                          - draft.pixels[CanvasKind(size, "pillow-draft")]).mean() for size in (50, 100, 201, 400)}
    assert shift[201] == shift[400] == 0 and 0 < shift[50] < 6 and 0 < shift[100] < 6
    for size in (50, 100):  # the pixels of a size are the same alone and among others
        kind = CanvasKind(size, "pillow-draft")
        assert (decode_image(path, kind) == draft.pixels[kind]).all()


def test_draft_leaves_other_formats_alone_and_judges_damage_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(random.Random(1)))
    assert (decode_image(path, CanvasKind(6, "pillow-draft")) == decode_image(path, CanvasKind(6))).all()
    content = photo(640, 640)
    path.write_bytes(content[: int(len(content) * 0.8)])
    cut = decode_item(path, [CanvasKind(64, "pillow-draft")])
    assert cut.state == "repaired" and "of 80 rows were decoded" in cut.reason
    path.write_bytes(content[: int(len(content) * 0.3)])
    assert decode_item(path, [CanvasKind(64, "pillow-draft")]).state == "fallback"


def test_an_unknown_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown decoder 'pilow': did you mean 'pillow'. Allowed: pillow, pillow-"):
        decode_item(tmp_path / "a.png", [CanvasKind(8, "pilow")])


def test_the_second_reader_knows_a_sound_jpeg_and_a_cut_one() -> None:
    for options in ({}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 2}, {"optimize": True}):
        content = jpeg(random.Random(3), **options)
        read = read_jpeg_data(content)
        assert read is not None and read.sound and read.mcus == read.expected and read.left_over == 0
        cut = read_jpeg_data(content[: len(content) * 3 // 4])
        assert isinstance(cut, JpegData) and not cut.sound and cut.mcus < cut.expected


def test_the_look_through_finds_damage_before_a_pixel_is_decoded() -> None:
    content = jpeg(random.Random(5), restart_marker_rows=1)
    marker = content.index(b"\xff\xd1")
    assert check_image_bytes(content).damage == "" and check_image_bytes(content).restarts is not None
    lost = content[:marker] + b"\x12\x34" + content[marker + 2 :]
    assert check_image_bytes(lost).damage == "its restart markers are not all there, or out of order"
    strange = content[:marker] + b"\xff\xe5" + content[marker + 2 :]
    assert check_image_bytes(strange).damage == "there is a marker 0xe5 among the pixels"
    chunk = bytearray(png(random.Random(5)))
    chunk[chunk.index(b"IDAT") + 9] ^= 1
    assert check_image_bytes(bytes(chunk)).damage == "the checksum of its IDAT chunk is wrong"


def test_exif_that_cannot_be_read_leaves_the_image_upright(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(random.Random(7)))

    def fail(self: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    decoded = decode_item(path, [SQUARE])
    assert decoded.state == "repaired" and "its EXIF data cannot be read, taken as upright" in decoded.reason
    assert (decoded.pixels[SQUARE] == pixels_of(path.read_bytes())).all()


def test_the_corpus_is_the_same_every_time() -> None:
    first, again = list(make_bad_images(80)), list(make_bad_images(80))
    assert [file.content for file in first] == [file.content for file in again]
    assert isinstance(io.BytesIO(first[-1].content).read(), bytes) and len({file.name for file in first}) == 80
