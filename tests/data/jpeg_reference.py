"""A second, slow reader of sequential JPEG data: does it hold exactly the blocks that the header promises?

It decodes Huffman codes only, one symbol at a time, after ITU-T T.81 annex F, and shares nothing with the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

BYTES = [f"{byte:08b}" for byte in range(256)]


@dataclass(frozen=True)
class JpegData:
    """What the entropy-coded data of a scan held: blocks in order, and whether they end where they should."""

    mcus: int  # complete units before data ran out or were not a code
    expected: int
    per_row: int
    mcu_height: int  # pixels
    sound: bool  # all units, restart markers and the end where they should be
    left_over: int  # most bytes after the last unit of a restart interval, or of the whole
    strange_codes: int  # that no table has; they count as 0, as libjpeg does it with a warning


@lru_cache(maxsize=64)
def codes_of(table: bytes) -> dict[str, int]:
    """Code in binary -> symbol, from the 16 counts and the symbols of a DHT segment."""
    codes, code, position = {}, 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            codes[f"{code:0{length}b}"] = table[position]
            code, position = code + 1, position + 1
        code <<= 1
    return codes


class Bits:
    """Bits of unstuffed data, first to last."""

    def __init__(self, data: bytes) -> None:
        self.text = "".join(BYTES[byte] for byte in data)
        self.at = 0
        self.strange = 0

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.text):
            raise EOFError

    def symbol(self, codes: dict[str, int]) -> int:
        text, at = self.text, self.at
        for end in range(at + 1, at + 17):
            if (found := codes.get(text[at:end])) is not None:
                self.skip(end - at)
                return found
        self.skip(17)
        self.strange += 1
        return 0


def skip_block(bits: Bits, dc: dict, ac: dict) -> None:
    bits.skip(bits.symbol(dc))
    place = 1
    while place < 64:
        symbol = bits.symbol(ac)
        run, size = symbol >> 4, symbol & 15
        if not size and run != 15:
            return
        bits.skip(size)
        place += run + 1


def read_jpeg_data(content: bytes) -> JpegData | None:
    """Read the only scan of a sequential JPEG; None where the header is not one of those, or damaged."""
    tables: dict[tuple[int, int], bytes] = {}
    frame, interval, position = b"", 0, 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        body = content[position + 4 : position + 2 + length]
        position += 2 + length
        if marker == 0xC4:
            while body:
                size = 17 + sum(body[1:17])
                tables[body[0] >> 4, body[0] & 15] = body[1:size]
                body = body[size:]
        elif marker in (0xC0, 0xC1):
            frame = body
        elif marker == 0xDD:
            interval = int.from_bytes(body, "big")
        elif marker == 0xDA:
            try:
                return _read_scan(content[position:], frame, body, tables, interval) if frame else None
            except (IndexError, KeyError):  # a cut header
                return None
    return None


def _read_scan(data: bytes, frame: bytes, scan: bytes, tables: dict, interval: int) -> JpegData:
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = [(frame[7 + 3 * k] >> 4, frame[7 + 3 * k] & 15) for k in range(frame[5])]
    across, down = (1, 1) if len(factors) == 1 else (max(h for h, _ in factors), max(v for _, v in factors))
    per_row, rows = -(-width // (8 * across)), -(-height // (8 * down))
    blocks = []
    for k, (h, v) in enumerate(factors):
        chosen = scan[2 + 2 * k]
        pair = (codes_of(tables[0, chosen >> 4]), codes_of(tables[1, chosen & 15]))
        blocks += [pair] * (1 if len(factors) == 1 else h * v)
    expected = per_row * rows
    parts, ends_well = _intervals(data)
    done, most, strange = 0, 0, 0
    sound = ends_well and len(parts) == (-(-expected // interval) if interval else 1)
    for part in parts:
        wanted = min(interval or expected, expected - done)
        count, left, codes = _read_interval(part, blocks, wanted)
        done, most, strange, sound = done + count, max(most, left), strange + codes, sound and count == wanted
        if count < wanted:
            break
    return JpegData(done, expected, per_row, 8 * down, sound and done == expected, most, strange)


def _intervals(data: bytes) -> tuple[list[bytes], bool]:
    """Unstuffed data between restart markers, and whether they are in order and an end of image follows."""
    parts, current, position, number = [], bytearray(), 0, 0
    while position < len(data):
        if data[position] != 0xFF:
            current.append(data[position])
            position += 1
            continue
        marker = data[position + 1] if position + 1 < len(data) else -1
        position += 2
        if marker == 0:
            current.append(0xFF)
        elif 0xD0 <= marker <= 0xD7 and marker == 0xD0 + number % 8:
            parts.append(bytes(current))
            current, number = bytearray(), number + 1
        else:
            return [*parts, bytes(current)], marker == 0xD9
    return [*parts, bytes(current)], False


def _read_interval(data: bytes, blocks: list, wanted: int) -> tuple[int, int, int]:
    """Units read until data ran out, whole bytes left over, and strange codes."""
    bits, count = Bits(data), 0
    try:
        while count < wanted:
            for dc, ac in blocks:
                skip_block(bits, dc, ac)
            count += 1
    except EOFError:
        return count, 0, bits.strange
    return count, (len(bits.text) - bits.at) // 8, bits.strange
