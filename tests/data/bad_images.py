"""A thousand images that are odd, damaged or none at all, the same on every machine, with what must become of each.

Every image is square, so that a decode at its own side resamples nothing and pixels can be compared.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

SIDE = 48
FILES = 1000


@dataclass(frozen=True)
class BadImage:
    """One file. states: what it may become; clean: (side, side, 3) uint8, the pixels before the damage, if known."""

    name: str
    kind: str
    content: bytes
    states: frozenset[str]
    clean: np.ndarray | None = None
    side: int = SIDE


def draw(chance: random.Random, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8 waves with noise, nowhere black."""
    noise = np.random.default_rng(chance.randrange(2**32))
    down, right = np.mgrid[:side, :side]
    waves = [127 + 90 * np.sin((right * a + down * b) / chance.uniform(4, 15)) for a, b in ((1, 0), (0, 1), (1, 1))]
    return (np.stack(waves, -1) + noise.normal(0, 10, (side, side, 3))).clip(5, 255).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **options)
    return buffer.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    """Pillow's plain answer for a sound file."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def jpeg(chance: random.Random, **options: object) -> bytes:
    quality = chance.choice((75, 90, 97))
    return saved(draw(chance), "JPEG", **{"quality": quality, "subsampling": chance.choice((0, 1, 2)), **options})


def pixel_start(content: bytes) -> int:
    """Where the entropy-coded data of a JPEG begin."""
    scan = content.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png(chance: random.Random) -> bytes:
    """A PNG whose pixels lie in several chunks."""
    chunks = png_chunks(saved(draw(chance), "PNG"))
    data = b"".join(body for kind, body in chunks if kind == b"IDAT")
    parts = [(b"IDAT", data[at : at + 500]) for at in range(0, len(data), 500)]
    return png_of([chunks[0], *parts, chunks[-1]])


DECODED, REPAIRED, FALLBACK = frozenset({"decoded"}), frozenset({"repaired"}), frozenset({"fallback"})
DAMAGED = REPAIRED | FALLBACK
Made = tuple[bytes, frozenset[str], np.ndarray | None]


def sound_jpeg(chance: random.Random) -> Made:
    options = chance.choice(({}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1},
                             {"restart_marker_blocks": 2}))
    content = jpeg(chance, **options)
    return content, DECODED, pixels_of(content)


def grey_jpeg(chance: random.Random) -> Made:
    content = saved(draw(chance)[:, :, 0], "JPEG", quality=90)
    return content, DECODED, pixels_of(content)


def cut_jpeg(chance: random.Random) -> Made:
    content = jpeg(chance)
    return content[: chance.randrange(pixel_start(content), len(content) - 2)], DAMAGED, pixels_of(content)


def cut_jpeg_header(chance: random.Random) -> Made:
    content = jpeg(chance)
    return content[: chance.randrange(4, pixel_start(content))], FALLBACK, None


def jpeg_without_end(chance: random.Random) -> Made:
    content = jpeg(chance)
    return content[: -chance.choice((1, 2))], REPAIRED, pixels_of(content)


def cut_progressive_jpeg(chance: random.Random) -> Made:
    content = jpeg(chance, progressive=True)
    return content[: chance.randrange(4, len(content) - 2)], FALLBACK, None


def rotten_jpeg(chance: random.Random) -> Made:
    content = bytearray(jpeg(chance))
    for _ in range(chance.choice((1, 1, 4, 20))):
        content[chance.randrange(pixel_start(content), len(content) - 2)] ^= 1 << chance.randrange(8)
    return bytes(content), DECODED | DAMAGED, None


def jpeg_with_a_hole(chance: random.Random) -> Made:
    content = jpeg(chance)
    start = chance.randrange(pixel_start(content), len(content) - 3)
    end = min(start + chance.choice((1, 10, 100)), len(content) - 2)
    return content[:start] + content[end:], DECODED | DAMAGED, None


def jpeg_with_an_insert(chance: random.Random) -> Made:
    content = jpeg(chance)
    start = chance.randrange(pixel_start(content), len(content) - 2)
    extra = bytes(chance.randrange(256) for _ in range(chance.choice((1, 10, 100))))
    return content[:start] + extra + content[start:], DECODED | DAMAGED, None


def rotten_restarts(chance: random.Random) -> Made:
    content = bytearray(jpeg(chance, restart_marker_rows=1))
    for _ in range(chance.choice((1, 4))):
        content[chance.randrange(pixel_start(content), len(content) - 2)] ^= 1 << chance.randrange(8)
    return bytes(content), DECODED | DAMAGED, None


def jpeg_with_padding(chance: random.Random) -> Made:
    content = jpeg(chance)
    filling = chance.choice((b"\x00" * 7, b"\xff" * 3, b"\x00" * 4 + b"\xff"))
    return content[:-2] + filling + content[-2:], DECODED, pixels_of(content)


def jpeg_with_a_trailer(chance: random.Random) -> Made:
    content = jpeg(chance)
    return content + chance.choice((jpeg(chance), b"\x00" * 50, bytes(range(256)))), DECODED, pixels_of(content)


def cut_png(chance: random.Random) -> Made:
    content = png(chance)
    end = content.rindex(b"IDAT") - 4
    return content[: chance.randrange(40, end)], DAMAGED, pixels_of(content)


def png_without_end(chance: random.Random) -> Made:
    content = png(chance)
    return content[: -chance.randrange(1, 13)], DECODED, pixels_of(content)


def rotten_png(chance: random.Random) -> Made:
    content = bytearray(png(chance))
    content[chance.randrange(content.index(b"IDAT") + 4, content.rindex(b"IEND") - 8)] ^= 1 << chance.randrange(8)
    return bytes(content), DAMAGED, None


def rotten_png_header(chance: random.Random) -> Made:
    content = bytearray(png(chance))
    content[chance.randrange(16, 33)] ^= 1 << chance.randrange(8)
    return bytes(content), FALLBACK, None


def spliced_png(chance: random.Random) -> Made:
    first, second = png_chunks(png(chance)), png_chunks(png(chance))
    pixels = [chunk for chunk in first if chunk[0] == b"IDAT"]
    others = [chunk for chunk in second if chunk[0] == b"IDAT"]
    half = len(pixels) // 2
    return png_of([first[0], *pixels[:half], *others[half:], first[-1]]), DAMAGED, None


def cut_other(chance: random.Random) -> Made:
    form = chance.choice(("BMP", "GIF", "TIFF", "WEBP"))
    content = saved(draw(chance), form, **({"lossless": True} if form == "WEBP" else {}))
    return content[: chance.randrange(30, int(len(content) * 0.9))], FALLBACK, None


def empty_file(chance: random.Random) -> Made:
    return b"", FALLBACK, None


def zero_bytes(chance: random.Random) -> Made:
    return bytes(chance.randrange(1, 5000)), FALLBACK, None


def web_page(chance: random.Random) -> Made:
    page = chance.choice(("<!DOCTYPE html><html><title>404</title></html>", "<html><body>no</body></html>",
                          '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "\ufeff <HTML></HTML>"))
    return page.encode() + b" " * chance.randrange(3000), FALLBACK, None


def other_text(chance: random.Random) -> Made:
    return chance.choice((b'{"error": "not found"}', b"id,label\n1,2\n", b"version https://git-lfs.github.com/spec/v1\n",
                          b"P6 garbage", b"%PDF-1.4 and so on")) * chance.randrange(1, 9), FALLBACK, None


def noise(chance: random.Random) -> Made:
    return chance.choice((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\x00\x10\x00\x00WEBP")
                         ) + chance.randbytes(chance.randrange(40, 4000)), FALLBACK, None


def noise_before(chance: random.Random) -> Made:
    return chance.randbytes(chance.randrange(1, 40)) + chance.choice((png, jpeg))(chance), FALLBACK, None


def pixel_bomb(chance: random.Random) -> Made:
    """A small file that promises gigabytes of pixels."""
    width, height = chance.choice(((60000, 60000), (2**31 - 1, 1), (9500, 9500), (65500, 65500), (12000, 12000)))
    form = chance.choice(("PNG", "GIF", "JPEG", "BMP", "TIFF"))
    if form == "PNG":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")]), FALLBACK, None
    width, height = min(width, 65500), max(min(height, 65500), 9500)
    if form == "GIF":
        whole = bytearray(saved(draw(chance), "GIF"))
        whole[6:10] = struct.pack("<HH", width, height)
        place = whole.index(b"\x2c")
        whole[place + 5 : place + 9] = struct.pack("<HH", width, height)
    elif form == "JPEG":
        whole = bytearray(jpeg(chance))
        frame = whole.index(b"\xff\xc0")
        whole[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif form == "BMP":
        whole = bytearray(saved(draw(chance), "BMP"))
        whole[18:26] = struct.pack("<ii", width, height)
    else:
        whole = bytearray(saved(draw(chance), "TIFF"))
        first = struct.unpack_from("<I", whole, 4)[0]
        for entry in range(first + 2, first + 2 + 12 * struct.unpack_from("<H", whole, first)[0], 12):
            if struct.unpack_from("<H", whole, entry)[0] in (256, 257):
                struct.pack_into("<HIHH", whole, entry + 2, 3, 1, width, 0)
    return bytes(whole), FALLBACK, None


def chunk_bomb(chance: random.Random) -> Made:
    """A PNG with a text of 200 MB in 200 kB."""
    chunks = png_chunks(saved(draw(chance), "PNG"))
    text = b"Comment\x00\x00" + bomb_text()
    return png_of([chunks[0], (chance.choice((b"zTXt", b"iCCP")), text), *chunks[1:]]), DECODED | FALLBACK, None


@cache
def bomb_text() -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()


def scan_bomb(chance: random.Random) -> Made:
    """A progressive JPEG whose last scan is repeated."""
    content = jpeg(chance, progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 400 + content[-2:], FALLBACK, None


def wrong_ending(chance: random.Random) -> Made:
    form = chance.choice(("PNG", "BMP", "TIFF", "WEBP"))
    pixels = draw(chance)
    return saved(pixels, form, **({"lossless": True} if form == "WEBP" else {})), DECODED, pixels


def grey_or_bits(chance: random.Random) -> Made:
    pixels = draw(chance)
    if chance.random() < 0.5:
        bits = pixels[:, :, 0] > 127
        return saved(Image.fromarray(bits), chance.choice(("PNG", "TIFF"))), DECODED, spread(bits * np.uint8(255))
    return saved(pixels[:, :, 0], chance.choice(("PNG", "TIFF", "BMP"))), DECODED, spread(pixels[:, :, 0])


def spread(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def sixteen_bits(chance: random.Random) -> Made:
    deep = (draw(chance)[:, :, 0].astype(np.int32) * 257 + chance.randrange(-128, 1)).astype(np.uint16)
    expected = spread((deep / 257.0).round().astype(np.uint8))
    form = chance.choice(("PNG", "TIFF", "TIFF32"))
    image = Image.fromarray(deep.astype(np.int32)) if form == "TIFF32" else Image.fromarray(deep)
    return saved(image, form[:4].strip("3")), DECODED, expected


def no_agreed_range(chance: random.Random) -> Made:
    grey = draw(chance)[:, :, 0]
    values = grey / np.float32(255) if chance.random() < 0.5 else grey.astype(np.int32) * 999
    return saved(Image.fromarray(values), "TIFF"), FALLBACK, None


def see_through(chance: random.Random) -> Made:
    """Alpha of 0 and 255 only, in RGBA, LA and palette images: white and the colour."""
    pixels, seen = draw(chance), draw(chance)[:, :, 0] > 127
    form = chance.choice(("RGBA", "LA", "tRNS", "P"))
    if form == "RGBA":
        content, shown = saved(np.dstack([pixels, seen * np.uint8(255)]), "PNG"), pixels
    elif form == "LA":
        content, shown = saved(np.dstack([pixels[:, :, 0], seen * np.uint8(255)]), "PNG"), spread(pixels[:, :, 0])
    elif form == "tRNS":
        keyed = np.where(seen[:, :, None], pixels, np.uint8(1))
        content, shown = saved(keyed, "PNG", transparency=(1, 1, 1)), keyed
    else:
        image = Image.fromarray(np.where(seen, pixels[:, :, 0] // 2 + 1, 0).astype(np.uint8), "P")
        image.putpalette([value for k in range(256) for value in (k, 255 - k, k // 2)])
        content, shown = saved(image, "PNG", transparency=0), np.asarray(image.convert("RGB"))
    return content, DECODED, np.where(seen[:, :, None], shown, np.uint8(255))


def palette(chance: random.Random) -> Made:
    image = Image.fromarray(draw(chance)).quantize(chance.choice((2, 13, 256)))
    return saved(image, chance.choice(("PNG", "GIF", "BMP", "TIFF"))), DECODED, np.asarray(image.convert("RGB"))


def four_inks(chance: random.Random) -> Made:
    inks = np.dstack([draw(chance), draw(chance)[:, :, 0] // 3])
    image = Image.fromarray(inks, "CMYK")
    if chance.random() < 0.5:
        return saved(image, "TIFF"), DECODED, np.asarray(image.convert("RGB"))
    content = saved(image, "JPEG", quality=95)
    return content, DECODED, pixels_of(content)


def turned(chance: random.Random) -> Made:
    pixels, tag = draw(chance), chance.randrange(1, 9)
    exif = Image.Exif()
    exif[0x0112] = tag
    upright = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
               6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).transpose(1, 0, 2), 8: np.rot90(pixels)}[tag]
    return saved(pixels, chance.choice(("PNG", "TIFF")), exif=exif), DECODED, upright


def broken_exif(chance: random.Random) -> Made:
    exif = Image.Exif()
    exif[0x0112] = 6
    block = bytearray(exif.tobytes())
    block[chance.randrange(6, len(block))] ^= 1 << chance.randrange(8)
    content = saved(draw(chance), "JPEG", quality=90, exif=bytes(block))
    return content, DECODED | REPAIRED, None


def animation(chance: random.Random) -> Made:
    frames = [Image.fromarray(draw(chance)) for _ in range(3)]
    form = chance.choice(("PNG", "WEBP", "TIFF"))
    options = {"lossless": True} if form == "WEBP" else {}
    return saved(frames[0], form, save_all=True, append_images=frames[1:], **options), DECODED, np.asarray(frames[0])


def nothing_to_see(chance: random.Random) -> Made:
    header = struct.pack(">IIBBBBB", *chance.choice(((0, 5), (5, 0), (0, 0))), 8, 2, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]), FALLBACK, None


# kind -> (maker, share of the files)
KINDS: dict[str, tuple[Callable[[random.Random], Made], int]] = {
    **{maker.__name__: (maker, 4) for maker in (cut_jpeg, rotten_jpeg, jpeg_with_a_hole, jpeg_with_an_insert, cut_png,
                                                rotten_png)},
    **{maker.__name__: (maker, 2) for maker in (rotten_restarts, cut_other, noise, pixel_bomb, sound_jpeg)},
    **{maker.__name__: (maker, 1) for maker in (
        grey_jpeg, cut_jpeg_header, jpeg_without_end, cut_progressive_jpeg, jpeg_with_padding, jpeg_with_a_trailer,
        png_without_end, rotten_png_header, spliced_png, empty_file, zero_bytes, web_page, other_text, noise_before,
        scan_bomb, wrong_ending, grey_or_bits, sixteen_bits, no_agreed_range, see_through, palette, four_inks, turned,
        broken_exif, animation, nothing_to_see)},
}
# dear ones: so many in all
FEW: dict[str, tuple[Callable[[random.Random], Made], int]] = {"chunk_bomb": (chunk_bomb, 4)}


def make_bad_images(files: int = FILES) -> Iterator[BadImage]:
    """So many files, the kinds taking turns by their shares; the same for the same number on every machine."""
    turns = [kind for kind, (_, share) in KINDS.items() for _ in range(share)]
    dear = [kind for kind, (_, count) in FEW.items() for _ in range(count)]
    makers = {kind: maker for kind, (maker, _) in {**KINDS, **FEW}.items()}
    for number in range(files):
        kind = dear[number] if number < len(dear) else turns[number % len(turns)]
        content, states, clean = makers[kind](random.Random(f"{kind} {number}"))
        ending = random.Random(number).choice(("jpg", "png", "gif", "", "tif"))
        yield BadImage(f"{number}.{ending}", kind, content, states, clean)
