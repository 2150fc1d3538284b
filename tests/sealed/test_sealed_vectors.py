"""The frozen vectors: foldpack's reader and the second decoder must both do what the index says, to the byte."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from second_decoder import Refused, decode

from foldpack.sealed.container import read_sealed, sealed_chunks
from foldpack.sealed.disk import open_for_sealing, read_sealed_start
from foldpack.sealed.errors import SealedError
from foldpack.sealed.format import SEALED_HEADER_BYTES, parse_sealed_header, unlock_sealed

FOLDER = Path(__file__).parents[1] / "vectors" / "sealed"
FROZEN = "0d73be611264584cf8959a0983e97b03087c65bd56c6f03b8f423fee9575abca"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())


def released_by_stream(path: Path, key: bytes, role: str, pin: str | None) -> tuple[str, bytes]:
    """What the streaming reader verifies, up to the failure."""
    released = b""
    try:
        with open_for_sealing(path) as file:
            header = read_sealed_start(file, SEALED_HEADER_BYTES, path)
            info = parse_sealed_header(header, path.stat().st_size, path)
            for chunk in sealed_chunks(file, info, unlock_sealed(info, key, role, pin, path), path):
                released += chunk
    except SealedError as refusal:
        return type(refusal).__name__, released
    return "success", released


def test_there_are_at_least_100_vectors_of_every_kind() -> None:
    counted = Counter(vector["group"] for vector in VECTORS)
    assert len(VECTORS) >= 100
    assert set(counted) == {"success", "header", "size", "payload", "key", "role", "pin"}
    assert min(counted.values()) >= 8


def test_the_vectors_are_frozen() -> None:
    """A change of this hash means that files sealed before no longer open: that needs a new version of the format."""
    on_disk = sorted(path.name for path in FOLDER.glob("*.sealed"))
    assert on_disk == sorted(vector["file"] for vector in VECTORS)
    for vector in VECTORS:
        assert hashlib.sha256((FOLDER / vector["file"]).read_bytes()).hexdigest() == vector["sha256"], vector["file"]
    frozen = "\n".join(f"{vector['file']} {vector['sha256']} {vector['expect']}" for vector in VECTORS)
    assert hashlib.sha256(frozen.encode()).hexdigest() == FROZEN


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_reader(vector: dict[str, Any]) -> None:
    path, key = FOLDER / vector["file"], bytes.fromhex(vector["key"])
    outcome, released = released_by_stream(path, key, vector["role"], vector["pin"])
    assert outcome == vector["expect"]
    assert len(released) == vector["released_bytes"]
    assert hashlib.sha256(released).hexdigest() == vector["released_sha256"]
    if outcome == "success":
        with read_sealed(path, key, vector["role"], vector["pin"]) as plaintext:
            assert plaintext.to_bytes() == released
    else:
        with pytest.raises(SealedError) as refusal:
            read_sealed(path, key, vector["role"], vector["pin"])
        assert type(refusal.value).__name__ == vector["expect"]
        assert vector["file"] in str(refusal.value)
        assert vector["key"] not in str(refusal.value)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_second_decoder(vector: dict[str, Any]) -> None:
    data, key = (FOLDER / vector["file"]).read_bytes(), bytes.fromhex(vector["key"])
    try:
        outcome, released = "success", decode(data, key, vector["role"], vector["pin"])
    except Refused as refusal:
        outcome, released = refusal.name, refusal.released
    assert outcome == vector["expect"]
    assert hashlib.sha256(released).hexdigest() == vector["released_sha256"]
