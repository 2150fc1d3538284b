"""A million damaged, spliced and forged sealed files: none accepted, none that ends in anything but a named refusal.

    pytest -m slow tests/sealed/test_sealed_mutants.py -s     # 1,000,000; without -m slow a sample of them
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from foldpack.sealed.container import read_sealed, seal_file, sealed_chunks
from foldpack.sealed.errors import SealedError
from foldpack.sealed.format import SEALED_HEADER_BYTES, parse_sealed_header, unlock_sealed

KEYS = [bytes([number]) * 32 for number in range(1, 4)]
ROLES = ["resnet10t/fold0", "resnet10t/fold1"]
HERE = Path("mutant.sealed")


class Case:
    """What the reader is given. A mutator changes it in place."""

    def __init__(self, data: bytes, key: bytes, role: str, pin: str | None) -> None:
        self.data, self.key, self.role, self.pin = bytearray(data), key, role, pin


def read_bytes(case: Case) -> bytes:
    """The reader's own steps, on bytes instead of a file: forty thousand of them fit in a second."""
    file: Any = BytesIO(case.data)
    info = parse_sealed_header(file.read(SEALED_HEADER_BYTES), len(case.data), HERE)
    payload_key = unlock_sealed(info, case.key, case.role, case.pin, HERE)
    return b"".join(bytes(chunk) for chunk in sealed_chunks(file, info, payload_key, HERE))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, bytes, str]]:
    """Valid files of one to four chunks under several keys and roles: (file, key, role)."""
    folder, files = tmp_path_factory.mktemp("corpus"), []
    for number, size in enumerate((1, 700, 1024, 1025, 2048, 3500, 3500, 3500)):
        source, target = folder / "plain", folder / f"{number}.sealed"
        source.write_bytes(random.Random(number).randbytes(size))
        key, role = KEYS[number % 2], ROLES[number // 4]
        seal_file(source, target, key, role, log2_chunk=10)
        files.append((target.read_bytes(), key, role))
    return files


Corpus = list[tuple[bytes, bytes, str]]


def flip_bit(case: Case, rng: random.Random, _: Corpus) -> None:
    case.data[rng.randrange(len(case.data))] ^= 1 << rng.randrange(8)


def flip_header_bit(case: Case, rng: random.Random, _: Corpus) -> None:
    case.data[rng.randrange(116)] ^= 1 << rng.randrange(8)


def overwrite(case: Case, rng: random.Random, _: Corpus) -> None:
    at, size = rng.randrange(len(case.data)), rng.randrange(1, 64)
    case.data[at : at + size] = rng.choice([rng.randbytes(size), bytes(size), b"\xff" * size])[: len(case.data) - at]


def truncate(case: Case, rng: random.Random, _: Corpus) -> None:
    del case.data[rng.randrange(len(case.data)) :]


def truncate_at_a_chunk(case: Case, rng: random.Random, _: Corpus) -> None:
    del case.data[116 + 1040 * rng.randrange(4) :]


def extend(case: Case, rng: random.Random, _: Corpus) -> None:
    case.data += rng.randbytes(rng.choice([1, 16, 17, 1040, rng.randrange(1, 3000)]))


def cut_out(case: Case, rng: random.Random, _: Corpus) -> None:
    at = rng.randrange(len(case.data))
    del case.data[at : at + rng.choice([1, 16, 116, 1040, rng.randrange(1, 2000)])]


def repeat(case: Case, rng: random.Random, _: Corpus) -> None:
    at, size = rng.randrange(len(case.data)), rng.choice([1, 16, 116, 1040, rng.randrange(1, 2000)])
    case.data[at:at] = case.data[at : at + size]


def shuffle_chunks(case: Case, rng: random.Random, _: Corpus) -> None:
    chunks = [case.data[at : at + 1040] for at in range(116, len(case.data), 1040)]
    rng.shuffle(chunks)
    case.data[116:] = b"".join(chunks)


def replace_chunk(case: Case, rng: random.Random, corpus: Corpus) -> None:
    """A chunk of another file, at the same place or another."""
    other = rng.choice(corpus)[0]
    to, source = 116 + 1040 * rng.randrange(4), 116 + 1040 * rng.randrange(4)
    size = len(case.data[to : to + 1040])
    case.data[to : to + size] = other[source : source + size]


def splice(case: Case, rng: random.Random, corpus: Corpus) -> None:
    """The beginning of this file, the rest of another."""
    at = rng.choice([8, 12, 20, 36, 68, 76, 84, 116, 1156, rng.randrange(len(case.data))])
    case.data[at:] = rng.choice(corpus)[0][at:]


def header_field(case: Case, rng: random.Random, corpus: Corpus) -> None:
    """One field of the header from another file, or an extreme value."""
    begin, end = rng.choice([(8, 9), (9, 10), (10, 11), (11, 12), (12, 20), (20, 36), (36, 68), (68, 76), (76, 84),
                             (84, 116)])
    size = end - begin
    extremes = [bytes(size), b"\xff" * size, (1).to_bytes(size, "big"), rng.randbytes(size)]
    case.data[begin:end] = rng.choice([*extremes, rng.choice(corpus)[0][begin:end]])


def plain_size(case: Case, rng: random.Random, _: Corpus) -> None:
    """Another size, with the file cut or filled to fit it, so that the size check passes."""
    size = rng.choice([rng.randrange(1, 5000), 1024 * rng.randrange(1, 5), 2**rng.randrange(64)])
    case.data[12:20] = struct.pack(">Q", size)
    if size < 10_000:
        want = 116 + size + 16 * -(-size // 1024)
        case.data = (case.data + bytes(want))[:want]


def chunk_size(case: Case, rng: random.Random, _: Corpus) -> None:
    """Another chunk size, with the file cut or filled to fit it."""
    log2 = rng.randrange(8, 28)
    case.data[10] = log2
    size = int.from_bytes(case.data[12:20], "big")
    if size < 10_000:
        want = 116 + size + 16 * -(-size // (1 << log2))
        case.data = (case.data + bytes(want))[:want]


def other_role(case: Case, rng: random.Random, _: Corpus) -> None:
    case.role = rng.choice([role for role in (*ROLES, "x", case.role + "0", case.role[:-1]) if role != case.role])


def other_key(case: Case, rng: random.Random, _: Corpus) -> None:
    flipped = bytearray(case.key)
    flipped[rng.randrange(32)] ^= 1 << rng.randrange(8)
    case.key = rng.choice([bytes(flipped), *(key for key in KEYS if key != case.key), rng.randbytes(32)])


def other_pin(case: Case, rng: random.Random, _: Corpus) -> None:
    case.pin = rng.choice([rng.randbytes(32).hex(), "0" * 64])


def nothing_left(case: Case, rng: random.Random, _: Corpus) -> None:
    case.data = bytearray(rng.randbytes(rng.randrange(0, 300)))


MUTATORS: list[Callable[[Case, random.Random, Corpus], None]] = [
    flip_bit, flip_header_bit, overwrite, truncate, truncate_at_a_chunk, extend, cut_out, repeat, shuffle_chunks,
    replace_chunk, splice, header_field, plain_size, chunk_size, other_role, other_key, other_pin, nothing_left,
]


def run(corpus: Corpus, count: int, seed: int, read: Callable[[Case], Any] = read_bytes) -> Counter[str]:
    """Refusals by name over `count` mutants. A mutant that comes out unchanged is skipped and not counted."""
    rng, outcomes = random.Random(seed), Counter[str]()
    while outcomes.total() < count:
        data, key, role = rng.choice(corpus)
        case = Case(data, key, role, None)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            if len(case.data) >= 116:  # the mutators want a header to work on
                rng.choice(MUTATORS)(case, rng, corpus)
        if any((bytes(case.data), case.key, case.role) == valid for valid in corpus) and case.pin is None:
            continue
        try:
            read(case)
        except SealedError as refusal:
            outcomes[type(refusal).__name__] += 1
        else:
            raise AssertionError(f"accepted: seed {seed}, mutant {outcomes.total()}, {vars(case)}")
    return outcomes


def test_the_valid_files_are_accepted(corpus: Corpus) -> None:
    assert [len(read_bytes(Case(*valid, None))) for valid in corpus] == [1, 700, 1024, 1025, 2048, 3500, 3500, 3500]


def test_20_000_mutants(corpus: Corpus) -> None:
    outcomes = run(corpus, 20_000, seed=1)
    assert outcomes.total() == 20_000
    assert len(outcomes) >= 10  # every kind of refusal is met


@pytest.mark.slow
def test_1_000_000_mutants(corpus: Corpus) -> None:
    outcomes = run(corpus, 1_000_000, seed=2)
    print(dict(outcomes.most_common()))
    assert outcomes.total() == 1_000_000


def test_1_000_mutants_as_files(corpus: Corpus, tmp_path: Path) -> None:
    """The same through the disk and `read_sealed`."""

    def read(case: Case) -> None:
        path = tmp_path / "mutant.sealed"
        path.write_bytes(case.data)
        read_sealed(path, case.key, case.role, case.pin)

    assert run(corpus, 1_000, seed=3, read=read).total() == 1_000


@pytest.mark.parametrize("number", [0, 3, 5])
def test_every_single_truncation(corpus: Corpus, number: int) -> None:
    data, key, role = corpus[number]
    for size in range(len(data)):
        with pytest.raises(SealedError):
            read_bytes(Case(data[:size], key, role, None))


def test_every_single_bit_of_a_small_file(corpus: Corpus) -> None:
    data, key, role = corpus[0]
    for bit in range(8 * len(data)):
        case = Case(data, key, role, None)
        case.data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealedError):
            read_bytes(case)
