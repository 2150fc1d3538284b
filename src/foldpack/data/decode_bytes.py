"""What the bytes of an image file say before a pixel is decoded: what it is, where its pixels end, what is damaged.

Decoders forgive: libjpeg fills what is missing with grey, Pillow skips the checksums of PNG pixels. So a file is
looked through first, and handed to the decoder in a form that makes it say when data run short or are left over.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

MAX_JPEG_SCANS = 200  # a progressive JPEG has about 10; each further one costs a pass over the whole image
SPARE_BYTES = 1  # at the end of the pixels' data, which a sound decode asks for
READ_AHEAD = bytes(8)  # libjpeg wants so much beyond the last bit it needs; fewer missing bytes are not noticed
MAX_JPEG_SIDE = 65_500
MAX_RESTARTS = 4096  # more are taken on trust
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
ENTROPY_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")


class UnfitBytes(ValueError):
    """Bytes that are no image, or one that is not worth decoding. One line."""


@dataclass(frozen=True)
class Restarts:
    """Restart intervals of a JPEG: pixels' data that start anew, so that each is a small JPEG of its own."""

    header: bytes  # all segments up to the pixels
    size_at: int  # where the header says height and width
    data: tuple[bytes, ...]
    sizes: tuple[tuple[int, int], ...]  # height and width of an image of just as many blocks


@dataclass(frozen=True)
class ImageBytes:
    """The bytes for the decoder, and what is known of them.

    guard: where a sound decode must read beyond; None: nothing is known. damage: what is wrong, "" if nothing is seen.
    forgivable: the damage is nothing if all rows come out. retry: the same with an end made up, where only that lacks.
    restarts: parts that have to be checked one by one.
    """

    content: bytes
    guard: int | None = None
    damage: str = ""
    forgivable: bool = False
    retry: bytes | None = None
    restarts: Restarts | None = None


class GuardedBytes(io.BytesIO):
    """A file in memory that knows whether anything from `guard` on was read."""

    def __init__(self, content: bytes, guard: int | None) -> None:
        super().__init__(content)
        self.guard = guard
        self.passed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file, but a read never crosses the guard: what lies behind it is handed out on its own."""
        here = self.tell()
        if self.guard is not None:
            if here >= self.guard:
                self.passed = True
            elif size is None or size < 0 or here + size > self.guard:
                size = self.guard - here
        return super().read(size)


def check_image_bytes(content: bytes) -> ImageBytes:
    """Look through a file. Raises UnfitBytes for one that cannot be an image."""
    if not content:
        raise UnfitBytes("the file is empty")
    if not content.strip(b"\x00"):
        raise UnfitBytes(f"the file is {len(content)} zero bytes")
    if content.startswith(JPEG_START):
        return _check_jpeg(content)
    if content.startswith(PNG_START):
        return _check_png(content)
    head = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
        raise UnfitBytes("the file is a web page, not an image")
    return ImageBytes(content)


def _check_jpeg(content: bytes) -> ImageBytes:
    """Walk the segments up to the pixels. One scan with all components can be checked to its last byte."""
    components, sequential, position, frame, interval = 0, False, 2, 0, 0
    while (found := _jpeg_segment(content, position)) is not None:
        marker, start, end = found
        if marker in (0xC0, 0xC1, 0xC2) and end - start > 7:
            components, sequential, frame = content[start + 7], marker != 0xC2, start + 2
        if marker == 0xDD:
            interval = int.from_bytes(content[start + 2 : start + 4], "big")
        if marker == 0xDA and components:
            if not sequential or content[start + 2 : start + 3] != bytes([components]):
                return _check_scans(content, end)
            checked = _check_scan(content, end)
            return _split_restarts(checked, frame, end, interval) if interval and not checked.damage else checked
        if marker == 0xD9:
            break
        position = end
    return ImageBytes(content, damage="its markers are damaged")


def _jpeg_segment(content: bytes, position: int) -> tuple[int, int, int] | None:
    """(marker, start of the length field, end) of the segment at a position; None where there is none."""
    if content[position : position + 1] != b"\xff":
        return None
    while content[position : position + 1] == b"\xff":
        position += 1
    if position + 3 > len(content):
        return None
    return content[position], position + 1, position + 1 + int.from_bytes(content[position + 1 : position + 3], "big")


def _check_scan(content: bytes, start: int) -> ImageBytes:
    """The only scan of a sequential JPEG, from `start` on: the data must be used up exactly."""
    found = ENTROPY_END.search(content, start)
    if found is None:
        body = content.rstrip(b"\xff")
        return ImageBytes(body, damage="the file ends early", retry=body + READ_AHEAD)
    end, marker = found.start(), content[found.start() + 1]
    while end > start and content[end - 1] == 0xFF:  # fill bytes before a marker
        end -= 1
    while end - start > 2 and content[end - 2 : end] == b"\x00\x00":  # padding of some cameras
        end -= 1
    damage = "" if marker == 0xD9 else f"there is a marker 0x{marker:02x} among the pixels"
    return ImageBytes(content[:end] + READ_AHEAD, max(start, end - SPARE_BYTES), damage)


def _split_restarts(checked: ImageBytes, frame: int, start: int, interval: int) -> ImageBytes:
    """Add the restart intervals, or the damage when their number or order is wrong.

    frame: where the frame's precision, height, width and components are said; start: of the pixels' data.
    """
    content = checked.content
    height, width = (int.from_bytes(content[at : at + 2], "big") for at in (frame + 1, frame + 3))
    count = content[frame + 5]
    factors = [content[frame + 7 + 3 * k] for k in range(count)]
    across = 8 if count == 1 else 8 * max(factor >> 4 for factor in factors)
    down = 8 if count == 1 else 8 * max(factor & 15 for factor in factors)
    units = -(-width // across) * -(-height // down)
    marks = list(RESTART.finditer(content, start))
    in_order = all(mark[0][1] == 0xD0 + k % 8 for k, mark in enumerate(marks))
    if not in_order or not interval * len(marks) < units <= interval * (len(marks) + 1):
        return replace(checked, damage="its restart markers are not all there, or out of order")
    if interval * across > MAX_JPEG_SIDE or len(marks) >= MAX_RESTARTS:
        return checked
    edges = [start, *(edge for mark in marks for edge in mark.span()), len(content) - len(READ_AHEAD)]
    counts = [interval] * len(marks) + [units - interval * len(marks)]
    return replace(checked, restarts=Restarts(
        content[:start], frame + 1, tuple(content[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)),
        tuple((down, across * count) for count in counts)))


def restart_jpegs(restarts: Restarts) -> Iterator[ImageBytes]:
    """Each restart interval as a JPEG, to be decoded and thrown away."""
    for data, (height, width) in zip(restarts.data, restarts.sizes, strict=True):
        head = bytearray(restarts.header)
        head[restarts.size_at : restarts.size_at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        yield ImageBytes(bytes(head) + data + READ_AHEAD, max(len(head), len(head) + len(data) - SPARE_BYTES))


def _check_scans(content: bytes, start: int) -> ImageBytes:
    """Several scans: libjpeg reads them all before the first pixel, so only their markers can be checked."""
    position, scans = start, 1
    while (found := ENTROPY_END.search(content, position)) is not None:
        marker = content[found.start() + 1]
        if marker == 0xD9:
            return ImageBytes(content[: found.end()])
        segment = _jpeg_segment(content, found.start())
        if marker not in (0xC4, 0xDA, 0xDD, 0xFE) or segment is None:
            return ImageBytes(content, damage=f"there is a marker 0x{marker:02x} among the pixels")
        scans += marker == 0xDA
        if scans > MAX_JPEG_SCANS:
            raise UnfitBytes(f"a JPEG of more than {MAX_JPEG_SCANS} scans")
        position = segment[2]
    return ImageBytes(content, damage="the file ends early")


def _check_png(content: bytes) -> ImageBytes:
    """Checksums of all chunks that pixels depend on; Pillow does not look at those of the pixels themselves."""
    position, damage = len(PNG_START), ""
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind, end = content[position + 4 : position + 8], position + 12 + length
        if kind == b"IEND":
            return ImageBytes(content, damage=damage)
        if end > len(content):
            break
        if kind in PNG_PIXEL_CHUNKS and not damage:
            stated = int.from_bytes(content[end - 4 : end], "big")
            if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != stated:
                damage = f"the checksum of its {kind.decode('ascii')} chunk is wrong"
        position = end
    return ImageBytes(content, damage=damage or "the file ends early", forgivable=not damage)
