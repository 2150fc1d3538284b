"""Tests of the tests: each guard of the reader and writer is taken out in turn, and some check must then fail.

A guard is a line of source and what it becomes without the guard. The frozen vectors are the check for the reader; what
no vector can show has a check of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import foldpack.sealed.container

SOURCE = Path(foldpack.sealed.container.__file__).parent
FOLDER = Path(__file__).parents[1] / "vectors" / "sealed"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())
KEY, ROLE = bytes(range(32)), "resnet10t/fold0"


class Guard(NamedTuple):
    name: str
    module: str
    line: str
    without: str


READER_GUARDS = [
    Guard("last-chunk flag", "format", "+ bytes([index == last])", '+ b"\\0"'),
    Guard("chunk counter", "format", 'index.to_bytes(11, "big")', "bytes(11)"),
    Guard("size check", "format", "    check_sealed_size(info, path)\n    return info", "    return info"),
    Guard("size check, too short", "format", "if info.sealed_size < expected:", "if False:"),
    Guard("size check, too long", "format", "if info.sealed_size > expected:", "if False:"),
    Guard("key id", "format", "if not hmac.compare_digest(key_id,", "if False and (key_id,"),
    Guard("header code", "format", "if not hmac.compare_digest(code,", "if False and (code,"),
    Guard("role tag", "format", "if not hmac.compare_digest(role_tag,", "if False and (role_tag,"),
    Guard("role in the payload key", "format", "hashlib.sha256(header).digest() + role)",
          "hashlib.sha256(header).digest())"),
    Guard("header in the payload key", "format", "hashlib.sha256(header).digest() + role)", "role)"),
    Guard("pin, same key", "format", "    if not pinned:\n        raise RolledBackError", "    if False:\n"
          "        raise RolledBackError"),
    Guard("pin, other key", "format", "        if not pinned:\n            raise SwappedSealedError",
          "        if False:\n            raise SwappedSealedError"),
    Guard("pin comparison", "format", "return hmac.compare_digest(header_sha256, info.header_sha256)",
          "return True"),
    Guard("magic", "format", "if header[:8] != SEALED_MAGIC[: len(header)]:", "if False:"),
    Guard("version", "format", "if len(header) > 8 and header[8] > SEALED_VERSION:", "if False:"),
    Guard("version 0", "format", "if version < 1 or suite", "if suite"),
    Guard("suite", "format", "suite != SEALED_SUITE or ", ""),
    Guard("flags", "format", "flags or not low", "not low"),
    Guard("chunk size", "format", "not low <= log2_chunk <= high or ", ""),
    Guard("plain size above 0", "format", " or not plain_size:", ":"),
    Guard("short header", "format", "if len(header) < SEALED_HEADER_BYTES:", "if False:"),
    Guard("empty file", "format", "if not header:", "if False:"),
    Guard("chunk authentication", "container", "except InvalidTag:\n            raise DamagedChunkError",
          "except InvalidTag:\n            if not info: raise DamagedChunkError"),
]


def without(guard: Guard | None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh `foldpack.sealed.container`, and the modules below it, with one guard taken out."""
    for name in ("format", "disk", "container"):
        source = (SOURCE / f"{name}.py").read_text()
        if guard and guard.module == name:
            assert source.count(guard.line) == 1, guard
            source = source.replace(guard.line, guard.without)
        fresh = ModuleType(f"foldpack.sealed.{name}")
        monkeypatch.setitem(sys.modules, fresh.__name__, fresh)
        exec(compile(source, name, "exec"), fresh.__dict__)
    return sys.modules["foldpack.sealed.container"]


def wrong_vectors(module: ModuleType) -> list[str]:
    """The frozen vectors that this reader gets wrong: another outcome, or other bytes."""
    wrong = []
    for vector in VECTORS:
        path, released = FOLDER / vector["file"], b""
        try:
            with module.open_for_sealing(path) as file:
                info = module._sealed_parse(file, path)
                payload_key = module.unlock_sealed(
                    info, bytes.fromhex(vector["key"]), vector["role"], vector["pin"], path
                )
                for chunk in module.sealed_chunks(file, info, payload_key, path):
                    released += chunk
            outcome = "success"
        except Exception as refusal:
            outcome = type(refusal).__name__
        if (outcome, hashlib.sha256(released).hexdigest()) != (vector["expect"], vector["released_sha256"]):
            wrong.append(vector["file"])
    return wrong


def test_with_all_guards_every_vector_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_vectors(without(None, monkeypatch)) == []


@pytest.mark.parametrize("guard", READER_GUARDS, ids=lambda guard: guard.name)
def test_a_vector_fails_without(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_vectors(without(guard, monkeypatch))


# ---- guards that no vector can show ----


def seal(module: ModuleType, folder: Path, content: bytes = bytes(3000), **options: Any) -> Path:
    (folder / "plain").write_bytes(content)
    module.seal_file(folder / "plain", folder / "a.sealed", KEY, ROLE, log2_chunk=10, **options)
    return folder / "a.sealed"


def refuses_a_pipe(module: ModuleType, folder: Path) -> bool:
    os.mkfifo(folder / "pipe")
    return refused(lambda: module.read_sealed_header(folder / "pipe"), "UnreadableSealedError")


def refuses_what_shrinks(module: ModuleType, folder: Path) -> bool:
    path = seal(module, folder)
    with module.open_for_sealing(path) as file:
        info = module._sealed_parse(file, path)
        payload_key = module.unlock_sealed(info, KEY, ROLE, None, path)
        os.truncate(path, 1500)
        return refused(lambda: list(module.sealed_chunks(file, info, payload_key, path)), "TruncatedSealedError")


def refuses_pickles(module: ModuleType, folder: Path) -> bool:
    return refused(lambda: seal(module, folder, b"PK\x03\x04" + bytes(99)), "SealSourceError")


def refuses_an_empty_source(module: ModuleType, folder: Path) -> bool:
    return refused(lambda: seal(module, folder, b""), "SealSourceError")


def reads_back(module: ModuleType, folder: Path) -> bool:
    def write(file: Any, data: Any) -> None:
        changed = bytearray(data)
        changed[-1] ^= 1
        original(file, changed)

    original, module.write_whole = module.write_whole, write
    return refused(lambda: seal(module, folder), "SealMismatchError")


def compares_with_the_source(module: ModuleType, folder: Path) -> bool:
    def change(done: int) -> None:
        (folder / "plain").write_bytes(b"x" + bytes(2999))

    return refused(lambda: seal(module, folder, progress=change), "SealMismatchError")


def compares_the_length_with_the_source(module: ModuleType, folder: Path) -> bool:
    def change(done: int) -> None:
        (folder / "plain").write_bytes(bytes(4000))

    return refused(lambda: seal(module, folder, progress=change), "SealMismatchError")


def uses_a_fresh_salt(module: ModuleType, folder: Path) -> bool:
    return seal(module, folder).read_bytes()[36:68] != seal(module, folder).read_bytes()[36:68]


def opens_privately(module: ModuleType, folder: Path) -> bool:
    module.open_sealed(seal(module, folder), folder / "opened", KEY, ROLE)
    return (folder / "opened").stat().st_mode & 0o077 == 0


def leaves_no_output(module: ModuleType, folder: Path) -> bool:
    path = seal(module, folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return refused(lambda: module.open_sealed(path, folder / "opened", KEY, ROLE), "DamagedChunkError") and not (
        folder / "opened"
    ).exists()


def refused(act: Callable[[], Any], expected: str) -> bool:
    try:
        act()
    except Exception as refusal:
        return type(refusal).__name__ == expected
    return False


OTHER_GUARDS: list[tuple[Guard, Callable[[ModuleType, Path], bool]]] = [
    (Guard("regular file", "disk", "if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):", "if False:"),
     refuses_a_pipe),
    (Guard("short read", "container", "if fill_sealed(file, piece, path) < len(piece):",
           "if fill_sealed(file, piece, path) < 0:"), refuses_what_shrinks),
    (Guard("pickles", "disk", "if start.startswith(SEALED_PICKLE_STARTS) and not safetensors:", "if False:"),
     refuses_pickles),
    (Guard("empty source", "disk", "if not start:", "if False:"), refuses_an_empty_source),
    (Guard("reading back", "container", "info = _sealed_read_back(file, temporary, key, role, source, progress)",
           "info = read_sealed_header(temporary)"), reads_back),
    (Guard("comparison", "container", " or again != chunk:", ":"), compares_with_the_source),
    (Guard("comparison of the length", "container", "    if file.read(1):\n", "    if False:\n"),
     compares_the_length_with_the_source),
    (Guard("fresh salt", "format", "return secrets.token_bytes(32)", "return bytes(32)"), uses_a_fresh_salt),
    (Guard("private output", "container", "atomic_path(target, 0o600)", "atomic_path(target, 0o644)"), opens_privately),
    (Guard("atomic output", "container", "atomic_path(target, 0o600) as temporary:",
           "nullcontext(target) as temporary:"),
     leaves_no_output),
]


@pytest.mark.parametrize(("guard", "holds"), OTHER_GUARDS, ids=lambda value: getattr(value, "name", ""))
def test_a_check_fails_without(
    guard: Guard, holds: Callable[[ModuleType, Path], bool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    assert holds(without(None, monkeypatch), tmp_path / "whole")
    module = without(guard, monkeypatch)
    module.__dict__["nullcontext"] = __import__("contextlib").nullcontext
    (tmp_path / "without").mkdir()
    assert not holds(module, tmp_path / "without")
