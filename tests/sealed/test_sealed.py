"""Sealing and opening files: round trips, every named refusal, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from second_decoder import decode

from foldpack.sealed import container as sealed
from foldpack.sealed import format as sealed_format
from foldpack.sealed.container import (
    load_sealed_tensors,
    new_data_key,
    open_sealed,
    read_sealed,
    read_sealed_header,
    seal_file,
    verify_sealed,
)
from foldpack.sealed.disk import SEALED_PICKLE_STARTS
from foldpack.sealed.errors import (
    DamagedChunkError,
    EmptySealedError,
    ExtendedSealedError,
    NewerSealedError,
    NotSafetensorsError,
    NotSealedError,
    RolledBackError,
    SealedDiskFullError,
    SealedError,
    SealedHeaderError,
    SealedKeyFormatError,
    SealedMemoryError,
    SealedRoleFormatError,
    SealedWriteError,
    SealMismatchError,
    SealSourceError,
    SwappedSealedError,
    TruncatedSealedError,
    UnreadableSealedError,
    WrongKeyError,
    WrongRoleError,
)
from foldpack.sealed.format import DataKey
from foldpack.sealed.keys import data_key_from_hex
from foldpack.sealed.prefetch import SealedPrefetch

KEY = DataKey(bytes(range(32)))
ROLE = "resnet10t/fold0"
CONTENT = os.urandom(5000)


@pytest.fixture
def sealed_path(tmp_path: Path) -> Path:
    """A sealed file of five chunks, `weights.sealed`."""
    return seal(tmp_path, CONTENT)


def seal(folder: Path, content: bytes, name: str = "weights", key: bytes = KEY, role: str = ROLE) -> Path:
    source = folder / f"{name}.plain"
    source.write_bytes(content)
    seal_file(source, folder / f"{name}.sealed", key, role, log2_chunk=10)
    source.unlink()
    return folder / f"{name}.sealed"


def content_of(path: Path, key: bytes = KEY, role: str = ROLE, pin: str | None = None) -> bytes:
    with read_sealed(path, key, role, pin) as plaintext:
        return plaintext.to_bytes()


# ---- round trips ----


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(min_size=1, max_size=6000),
    key=st.binary(min_size=32, max_size=32),
    role=st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=40),
    log2_chunk=st.integers(10, 24),
)
def test_what_is_sealed_opens_to_the_same_in_both_decoders(
    content: bytes, key: bytes, role: str, log2_chunk: int
) -> None:
    assume(not content.startswith(SEALED_PICKLE_STARTS))
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "a"), Path(name, "a.sealed")
        source.write_bytes(content)
        info = seal_file(source, target, key, role, log2_chunk=log2_chunk)
        assert info == read_sealed_header(target)
        assert content_of(target, key, role, info.header_sha256) == content
        assert decode(target.read_bytes(), key, role, info.header_sha256) == content
        assert sorted(os.listdir(name)) == ["a", "a.sealed"]


def test_the_same_content_twice_gives_unrelated_files(tmp_path: Path) -> None:
    first, second = (seal(tmp_path, CONTENT, name).read_bytes() for name in "ab")
    same = sum(left == right for left, right in zip(first[116:], second[116:], strict=True))
    assert same < len(first) // 50
    assert first[20:68] != second[20:68]


def test_nothing_about_the_content_is_in_clear(tmp_path: Path) -> None:
    data = seal(tmp_path, b"layer4.weight resnet10t imet " * 200).read_bytes()
    for word in (b"layer4", b"resnet", b"imet", ROLE.encode(), KEY):
        assert bytes(word) not in data


def test_open_writes_a_private_file(sealed_path: Path, tmp_path: Path) -> None:
    done: list[int] = []
    open_sealed(sealed_path, tmp_path / "new" / "plain", KEY, ROLE, progress=done.append)
    assert (tmp_path / "new" / "plain").read_bytes() == CONTENT
    assert stat.S_IMODE((tmp_path / "new" / "plain").stat().st_mode) == 0o600
    assert sum(done) == len(CONTENT)


def test_verify_counts_every_byte_and_writes_nothing(sealed_path: Path) -> None:
    done: list[int] = []
    before = sorted(os.listdir(sealed_path.parent))
    assert verify_sealed(sealed_path, KEY, ROLE, progress=done.append).plain_size == len(CONTENT)
    assert sum(done) == len(CONTENT)
    assert sorted(os.listdir(sealed_path.parent)) == before


def test_seal_shows_the_verified_header_before_the_file_appears(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    seen = []
    info = seal_file(
        tmp_path / "a",
        tmp_path / "a.sealed",
        KEY,
        ROLE,
        before_publish=lambda early: seen.append((early, (tmp_path / "a.sealed").exists())),
    )
    assert seen == [(info, False)]


def test_a_refusing_hook_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)

    def refuse(_: Any) -> None:
        raise WrongKeyError("no")

    with pytest.raises(WrongKeyError):
        seal_file(tmp_path / "a", tmp_path / "a.sealed", KEY, ROLE, before_publish=refuse)
    assert os.listdir(tmp_path) == ["a"]


def test_without_memfd_a_buffer_takes_its_place(sealed_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> int:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    assert content_of(sealed_path) == CONTENT
    monkeypatch.delattr(os, "memfd_create")
    assert content_of(sealed_path) == CONTENT


def test_the_older_call_of_cryptography_reads_and_writes_the_same_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions 43 to 46 have no decrypt_into. The matrix runs them; this shows it on any version."""

    class Older:
        def __init__(self, key: bytes) -> None:
            cipher = real(key)
            self.encrypt, self.decrypt = cipher.encrypt, cipher.decrypt

    real = sealed.AESGCM
    newer_file = seal(tmp_path, CONTENT, "newer")
    monkeypatch.setattr(sealed, "AESGCM", Older)
    older_file = seal(tmp_path, CONTENT, "older")
    assert content_of(newer_file) == CONTENT
    monkeypatch.undo()
    assert content_of(older_file) == CONTENT


def test_no_file_descriptor_stays_open(sealed_path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    for role in (ROLE, "other"):
        for _ in range(5):
            try:
                content_of(sealed_path, role=role)
            except WrongRoleError:
                pass
    damage(sealed_path, -1)
    for _ in range(5):
        with pytest.raises(DamagedChunkError):
            content_of(sealed_path)
    assert open_files() == before


def test_reading_needs_little_more_memory_than_the_content(tmp_path: Path) -> None:
    """At most 1.1 x content + 8 MiB, the memfd included, seen by a process of its own."""
    size = 64 << 20
    (tmp_path / "a").write_bytes(bytes(size))
    seal_file(tmp_path / "a", tmp_path / "a.sealed", KEY, ROLE)
    code = (
        "import sys\nfrom pathlib import Path\nfrom foldpack.sealed.container import read_sealed\n"
        "def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) << 10\n"
        "before = peak()\n"
        "plaintext = read_sealed(Path(sys.argv[1]), bytes(range(32)), sys.argv[2])\n"
        "import os\nheld = os.fstat(plaintext._memory.fileno()).st_blocks * 512\n"
        "print(peak() - before + held)\n"
    )
    extra = int(subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "a.sealed"), ROLE]))
    assert size <= extra <= 1.1 * size + (8 << 20)


# ---- refusals: each its own error, with the file and what to do ----


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_wrong_key(sealed_path: Path) -> None:
    with pytest.raises(WrongKeyError, match=r"weights\.sealed: wrong key \(it wants key .* got key .*keys list"):
        content_of(sealed_path, key=new_data_key())


def test_wrong_role(sealed_path: Path) -> None:
    with pytest.raises(WrongRoleError, match=r"weights\.sealed: not sealed for role 'resnet10t/fold1'; check which"):
        content_of(sealed_path, role="resnet10t/fold1")


@pytest.mark.parametrize("lost", [1, 16, 1040, 4000])
def test_truncated(sealed_path: Path, lost: int) -> None:
    os.truncate(sealed_path, sealed_path.stat().st_size - lost)
    with pytest.raises(TruncatedSealedError, match=r"weights\.sealed: .* the end is missing; copy or download it"):
        content_of(sealed_path)


def test_truncated_in_the_header(sealed_path: Path) -> None:
    os.truncate(sealed_path, 60)
    with pytest.raises(TruncatedSealedError, match=r"weights\.sealed: cut off inside the header \(60 of 116 bytes\)"):
        content_of(sealed_path)


def test_extended(sealed_path: Path) -> None:
    with open(sealed_path, "ab") as file:
        file.write(b"x")
    with pytest.raises(ExtendedSealedError, match=r"weights\.sealed: .* something was added; copy or download it"):
        content_of(sealed_path)


def test_swapped(sealed_path: Path, tmp_path: Path) -> None:
    pin = read_sealed_header(sealed_path).header_sha256
    other = seal(tmp_path, CONTENT, "other", new_data_key())
    with pytest.raises(SwappedSealedError, match=r"other\.sealed: another sealed file lies in this one's place.*put"):
        content_of(other, pin=pin)


def test_swapped_between_folds_of_one_key_is_a_wrong_role(tmp_path: Path) -> None:
    """Nobody should use a key twice; if someone does, a swap still does not pass."""
    other = seal(tmp_path, CONTENT, "other", KEY, "resnet10t/fold1")
    with pytest.raises(WrongRoleError, match=r"other\.sealed"):
        content_of(other)


def test_rolled_back(tmp_path: Path) -> None:
    older, newer = seal(tmp_path, CONTENT, "older"), seal(tmp_path, CONTENT, "newer")
    pin = read_sealed_header(newer).header_sha256
    assert content_of(newer, pin=pin) == CONTENT
    with pytest.raises(RolledBackError, match=r"older\.sealed: another version than the pinned one .*pack the kernel"):
        content_of(older, pin=pin)


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "no.sealed").touch()
    with pytest.raises(EmptySealedError, match=r"no\.sealed: the file is empty; copy or download it again"):
        content_of(tmp_path / "no.sealed")


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b"hello", b"\x8bFPSEAM\n" + bytes(200)])
def test_not_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "zip.sealed").write_bytes(content)
    with pytest.raises(NotSealedError, match=r"zip\.sealed: not a sealed file .*make one with `foldpack seal`"):
        content_of(tmp_path / "zip.sealed")


def test_newer_version(sealed_path: Path) -> None:
    data = bytearray(sealed_path.read_bytes())
    data[8] = 2
    sealed_path.write_bytes(data)
    with pytest.raises(NewerSealedError, match=r"weights\.sealed: format version 2, .* up to 1; upgrade foldpack"):
        content_of(sealed_path)


def test_damaged_header(sealed_path: Path) -> None:
    damage(sealed_path, 90)
    with pytest.raises(SealedHeaderError, match=r"weights\.sealed: damaged header .*copy or download it again"):
        content_of(sealed_path)


def test_damaged_chunk_is_named(sealed_path: Path) -> None:
    damage(sealed_path, 116 + 2 * 1040 + 5)
    with pytest.raises(DamagedChunkError, match=r"weights\.sealed: chunk 2 is damaged or was replaced; copy or"):
        content_of(sealed_path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSealedError, match=r"no\.sealed: cannot be opened \(No such file.*check the path"):
        content_of(tmp_path / "no.sealed")


def test_a_folder_and_a_pipe_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.sealed")
    with pytest.raises(UnreadableSealedError, match=r"pipe\.sealed: not a regular file; give the path of one file"):
        content_of(tmp_path / "pipe.sealed")
    with pytest.raises(UnreadableSealedError, match=r"cannot be opened \(Is a directory\); check the path"):
        content_of(tmp_path)


def test_no_permission(sealed_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> int:  # tests may run as root, whom no mode stops
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UnreadableSealedError, match=r"weights\.sealed: cannot be opened \(Permission denied\); check"):
        read_sealed(sealed_path, KEY, ROLE)


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_disk_that_fails_while_reading(sealed_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    class Failing:
        def __init__(self, file: Any) -> None:
            self.file, self.calls = file, 0

        def fileno(self) -> int:
            return int(self.file.fileno())

        def readinto(self, view: memoryview) -> int:
            self.calls += 1
            if self.calls == at:
                raise OSError(errno.EIO, "Input/output error")
            return int(self.file.readinto(view))

    def parse(file: Any, path: Path) -> Any:
        nonlocal failing
        failing = Failing(file)
        return original(failing, path)

    failing: Any = None
    original, original_chunks = sealed._sealed_parse, sealed.sealed_chunks
    monkeypatch.setattr(sealed, "_sealed_parse", parse)
    monkeypatch.setattr(sealed, "sealed_chunks", lambda file, *rest: original_chunks(failing, *rest))
    with pytest.raises(UnreadableSealedError, match=r"weights\.sealed: the disk failed while reading \(Input/output"):
        read_sealed(sealed_path, KEY, ROLE)


def test_a_file_that_shrinks_while_it_is_read(sealed_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlock_and_shrink(*arguments: Any) -> DataKey:
        os.truncate(sealed_path, 3000)
        return unlock(*arguments)

    unlock = sealed.unlock_sealed
    monkeypatch.setattr(sealed, "unlock_sealed", unlock_and_shrink)
    with pytest.raises(TruncatedSealedError, match=r"weights\.sealed: became shorter while it was read; copy"):
        read_sealed(sealed_path, KEY, ROLE)


@pytest.mark.parametrize("failure", [MemoryError(), OSError(errno.ENOMEM, "no"), OSError(errno.ENOSPC, "no")])
def test_no_memory(sealed_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(sealed, "write_whole", fail)
    with pytest.raises(SealedMemoryError, match=r"weights\.sealed: no memory for 5,000 bytes .*load fewer folds"):
        read_sealed(sealed_path, KEY, ROLE)


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33)])
def test_a_key_of_the_wrong_length(sealed_path: Path, key: bytes) -> None:
    with pytest.raises(SealedKeyFormatError, match=rf"a data key is 32 bytes, got {len(key)}; make one with"):
        content_of(sealed_path, key=key)


@pytest.mark.parametrize("role", ["", "r" * 201, "a\nb", "a\0b", "\ud800" * 300])
def test_a_role_that_is_none(sealed_path: Path, role: str) -> None:
    with pytest.raises(SealedRoleFormatError, match="want 1 to 200 bytes of printable text, got .*use '<run>/fold<k>'"):
        content_of(sealed_path, role=role)


@pytest.mark.parametrize("pin", ["", "x", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_a_pin_that_is_none(sealed_path: Path, pin: str) -> None:
    with pytest.raises(SealedKeyFormatError, match=r"weights\.sealed: the pinned header hash must be 64 hexadecimal"):
        content_of(sealed_path, pin=pin)


def test_a_text_that_is_no_key_is_not_shown() -> None:
    text = "c0ffee" * 10
    with pytest.raises(SealedKeyFormatError, match=r"here: a data key is 64 hexadecimal digits, got 60") as refusal:
        data_key_from_hex(text, "here")
    assert text not in str(refusal.value)


def test_content_that_is_no_safetensors(sealed_path: Path) -> None:
    with pytest.raises(NotSafetensorsError, match=r"weights\.sealed: decrypted and verified, but .* seal a \.safe"):
        load_sealed_tensors(sealed_path, KEY, ROLE)


ALL_READERS: list[Callable[[Path, Path], Any]] = [
    lambda path, target: read_sealed(path, KEY, ROLE),
    lambda path, target: load_sealed_tensors(path, KEY, ROLE),
    lambda path, target: verify_sealed(path, KEY, ROLE),
    lambda path, target: open_sealed(path, target, KEY, ROLE),
]


@pytest.mark.parametrize("reader", ALL_READERS)
@pytest.mark.parametrize("offset", [0, 9, 90, 116, 3000, -1])
def test_a_refusal_leaves_no_output(
    sealed_path: Path, tmp_path: Path, offset: int, reader: Callable[[Path, Path], Any]
) -> None:
    damage(sealed_path, offset)
    (tmp_path / "out").mkdir()
    with pytest.raises(SealedError, match=r"weights\.sealed"):
        reader(sealed_path, tmp_path / "out" / "plain")
    assert os.listdir(tmp_path / "out") == []


def test_a_refusal_keeps_the_older_output(sealed_path: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"older")
    damage(sealed_path, -1)
    with pytest.raises(DamagedChunkError):
        open_sealed(sealed_path, tmp_path / "plain", KEY, ROLE)
    assert (tmp_path / "plain").read_bytes() == b"older"


# ---- writing ----


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02", b"\x80\x04"])
def test_pickles_are_not_sealed(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(start + bytes(50))
    with pytest.raises(SealSourceError, match=r"a\.pth: a pickle or zip archive, .*foldpack convert"):
        seal_file(tmp_path / "a.pth", tmp_path / "a.sealed", KEY, ROLE)
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("header_size", [640, 896, 1152, 1408])
def test_a_safetensors_header_that_begins_like_a_pickle_is_sealed(tmp_path: Path, header_size: int) -> None:
    (tmp_path / "a").write_bytes(header_size.to_bytes(8, "little") + b"{}".ljust(header_size) + bytes(9))
    assert (tmp_path / "a").read_bytes().startswith(SEALED_PICKLE_STARTS)
    seal_file(tmp_path / "a", tmp_path / "a.sealed", KEY, ROLE)
    assert content_of(tmp_path / "a.sealed") == (tmp_path / "a").read_bytes()


def test_an_empty_source(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(SealSourceError, match="a: the file is empty, nothing to seal"):
        seal_file(tmp_path / "a", tmp_path / "a.sealed", KEY, ROLE)


@pytest.mark.parametrize("later", [CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), CONTENT + b"!", CONTENT[:4000]])
def test_a_source_that_changes_while_it_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bytes
) -> None:
    source = tmp_path / "a"

    def read_back(*arguments: Any) -> Any:
        source.write_bytes(later)
        return original(*arguments)

    original = sealed._sealed_read_back
    monkeypatch.setattr(sealed, "_sealed_read_back", read_back)
    source.write_bytes(CONTENT)
    with pytest.raises(SealMismatchError, match=r"a: the sealed file, read back, differs from it; seal it when"):
        seal_file(source, tmp_path / "a.sealed", KEY, ROLE, log2_chunk=10)
    assert os.listdir(tmp_path) == ["a"]


def test_a_source_that_shrinks_while_it_is_sealed(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(CONTENT)
    with pytest.raises(SealSourceError, match="a: became shorter while it was sealed; seal it when nothing writes"):
        seal_file(source, tmp_path / "b", KEY, ROLE, log2_chunk=10, progress=lambda _: os.truncate(source, 100))
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("damaged_chunk", [0, 4])
def test_a_disk_that_writes_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged_chunk: int
) -> None:
    """The file is read back before it appears."""

    def write(file: Any, data: Any) -> None:
        nonlocal chunk
        changed = bytearray(data)
        changed[0] ^= chunk == damaged_chunk
        chunk += 1
        original(file, changed)

    chunk, original = -1, sealed.write_whole
    (tmp_path / "a").write_bytes(CONTENT)
    monkeypatch.setattr(sealed, "write_whole", write)
    with pytest.raises(SealMismatchError, match=r"a: the sealed file, read back, differs from it; .*check the disk"):
        seal_file(tmp_path / "a", tmp_path / "a.sealed", KEY, ROLE, log2_chunk=10)
    assert os.listdir(tmp_path) == ["a"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from foldpack.sealed.container import open_sealed, seal_file
from foldpack.sealed.errors import SealedDiskFullError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
act = {"seal": seal_file, "open": open_sealed}[sys.argv[1]]
try:
    act(Path(sys.argv[2]), Path(sys.argv[3]), bytes(range(32)), "resnet10t/fold0")
except SealedDiskFullError as failure:
    print(failure)
"""


@pytest.mark.parametrize("act", ["seal", "open"])
def test_disk_full(sealed_path: Path, tmp_path: Path, act: str) -> None:
    """The system's limit on file sizes stands for a full disk: the write fails in the middle, in the same way."""
    (tmp_path / "plain").write_bytes(CONTENT)
    source = {"seal": tmp_path / "plain", "open": sealed_path}[act]
    before = sorted(os.listdir(tmp_path))
    command = [sys.executable, "-c", FULL_DISK, act, str(source), str(tmp_path / "target")]
    said = subprocess.check_output(command, text=True)
    assert "target: no room for 5,000 bytes (" in said and "free some, or choose another folder" in said
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("at", range(6))
def test_disk_full_at_every_write(
    sealed_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, at: int
) -> None:
    def write(file: Any, data: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(code, os.strerror(code))
        original(file, data)

    calls, original = 0, sealed.write_whole
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "target").write_bytes(b"older")
    monkeypatch.setattr(sealed, "write_whole", write)
    with pytest.raises(SealedDiskFullError, match=r"target: no room for 5,000 bytes"):
        seal_file(tmp_path / "plain", tmp_path / "target", KEY, ROLE, log2_chunk=10)
    assert sorted(os.listdir(tmp_path)) == ["plain", "target", "weights.sealed"]
    assert (tmp_path / "target").read_bytes() == b"older"


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_disk_that_fails_in_the_last_steps(
    sealed_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "plain").write_bytes(CONTENT)
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(SealedWriteError, match=r"target: cannot be written \(Input/output error\); check the folder"):
        seal_file(tmp_path / "plain", tmp_path / "target", KEY, ROLE)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == ["plain", "weights.sealed"]


def test_a_target_below_a_file(sealed_path: Path) -> None:
    with pytest.raises(SealedWriteError, match="cannot be written"):
        open_sealed(sealed_path, sealed_path / "below", KEY, ROLE)


def test_leftovers_of_killed_runs_are_swept(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover, alive = tmp_path / f".a.sealed.{dead.pid}.tmp", tmp_path / f".a.sealed.{os.getppid()}.tmp"
    others = [tmp_path / ".b.sealed.1.tmp", tmp_path / ".a.sealed.note.tmp"]
    for path in (leftover, alive, *others):
        path.touch()
    seal_file(tmp_path / "plain", tmp_path / "a.sealed", KEY, ROLE)
    assert not leftover.exists()
    assert alive.exists() and all(path.exists() for path in others)


def test_a_sealed_file_may_be_read_by_others_and_is_private_until_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    modes = []

    def look(_: int) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(".*.tmp"))

    seal_file(tmp_path / "plain", tmp_path / "a.sealed", KEY, ROLE, progress=look)
    assert set(modes) == {0o600}
    assert stat.S_IMODE((tmp_path / "a.sealed").stat().st_mode) == 0o644


# ---- keys do not show themselves ----


def test_a_key_does_not_show_itself() -> None:
    shown = f"{KEY!r} {KEY!s} {KEY} {KEY:>5} {[KEY]} {{'k': {KEY}}} %s %r" % (KEY, KEY)
    assert KEY.hex() not in shown and repr(bytes(KEY)) not in shown and repr(bytes(KEY))[2:20] not in shown
    assert shown.count("<DataKey>") == 8
    assert isinstance(new_data_key(), DataKey) and len(new_data_key()) == 32
    assert len({bytes(new_data_key()) for _ in range(100)}) == 100


def test_derived_keys_do_not_show_themselves_either() -> None:
    assert repr(sealed_format.derive_sealed_key(KEY, None, b"x")) == "<DataKey>"


# ---- prefetch ----


def test_prefetch_loads_the_next_while_the_current_is_used() -> None:
    started = threading.Event()

    def load(request: str) -> str:
        if threading.current_thread() is not threading.main_thread():
            started.set()
        return request.upper()

    with SealedPrefetch(load) as prefetch:
        prefetch.start("a")
        assert started.wait(5)
        assert prefetch.take("a") == "A"
        assert prefetch.take("b") == "B"  # never started: loaded here
        prefetch.start("c")
        assert prefetch.take("d") == "D"  # plans changed: c is forgotten
        assert prefetch.take("c") == "C"


def test_prefetch_raises_in_take_and_goes_on(sealed_path: Path) -> None:
    with SealedPrefetch(lambda role: content_of(sealed_path, role=role)) as prefetch:
        prefetch.start("wrong")
        with pytest.raises(WrongRoleError):
            prefetch.take("wrong")
        prefetch.start(ROLE)
        assert prefetch.take(ROLE) == CONTENT
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
