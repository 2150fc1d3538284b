"""Sealed files, `*.sealed`: encrypted weights, read into memory and nowhere else. Reader and writer.

Reading yields a chunk only after it verified, and no caller sees any of them before the last one did.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from foldpack.files import atomic_path
from foldpack.sealed.disk import (
    create_private_file,
    fill_sealed,
    open_for_sealing,
    open_seal_source,
    read_sealed_start,
    sealed_writing,
    sweep_sealed_leftovers,
    write_whole,
)
from foldpack.sealed.errors import (
    DamagedChunkError,
    SealedError,
    SealedMemoryError,
    SealMismatchError,
    SealSourceError,
    TruncatedSealedError,
)
from foldpack.sealed.format import (
    SEALED_AGAIN,
    SEALED_HEADER_BYTES,
    SEALED_LOG2_CHUNK,
    SEALED_TAG_BYTES,
    DataKey,
    SealedInfo,
    new_sealed_header,
    new_sealed_salt,
    parse_sealed_header,
    sealed_chunk_plan,
    unlock_sealed,
)
from foldpack.sealed.tensors import tensors_from_buffer, tensors_from_path


def new_data_key() -> DataKey:
    """32 bytes from the system's random source. Use one for each file."""
    return DataKey(secrets.token_bytes(32))


class SealedPlaintext:
    """Decrypted and verified content, in memory only: a memfd, or a buffer where the system has none."""

    def __init__(self, info: SealedInfo, name: str, memory: FileIO | None, buffer: bytearray) -> None:
        self.info = info
        self._name = name
        self._memory = memory
        self._buffer = buffer

    def to_bytes(self) -> bytes:
        """A copy of the content."""
        if self._memory is None:
            return bytes(self._buffer)
        self._memory.seek(0)
        return self._memory.readall()

    def tensors(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The content as safetensors -> CPU tensors by name, metadata. The tensors stay valid after `close`."""
        if self._memory is None:
            return tensors_from_buffer(self._buffer, self._name)
        path = f"/proc/self/fd/{self._memory.fileno()}"
        if os.path.exists(path):
            return tensors_from_path(path, self._name)
        return tensors_from_buffer(bytearray(self.to_bytes()), self._name)

    def close(self) -> None:
        """Give the memory back, once no tensor uses it."""
        if self._memory is not None:
            self._memory.close()
        self._memory, self._buffer = None, bytearray()

    def __enter__(self) -> SealedPlaintext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_sealed_header(path: Path) -> SealedInfo:
    """Read and check the header and the size of a file, without a key. Raises SealedError."""
    with open_for_sealing(path) as file:
        return _sealed_parse(file, path)


def read_sealed(path: Path, key: bytes, role: str, header_sha256: str | None = None) -> SealedPlaintext:
    """Decrypt a whole file into memory.

    `role` is what the file was sealed for; `header_sha256` (64 hex digits), when given, is the only version accepted.
    Raises a subclass of SealedError that names the file, what is wrong and what to do.
    """
    with open_for_sealing(path) as file:
        info = _sealed_parse(file, path)
        chunks = sealed_chunks(file, info, unlock_sealed(info, key, role, header_sha256, path), path)
        try:
            return _sealed_collect(chunks, info, path)
        except (MemoryError, OSError) as failure:
            raise _sealed_memory_failure(failure, info, path) from None


def load_sealed_tensors(
    path: Path, key: bytes, role: str, header_sha256: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Decrypt a sealed safetensors file -> CPU tensors (torch.Tensor) by name, metadata. Raises SealedError."""
    with read_sealed(path, key, role, header_sha256) as plaintext:
        return plaintext.tensors()


def verify_sealed(
    path: Path,
    key: bytes,
    role: str,
    header_sha256: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> SealedInfo:
    """Check every byte of a file, in constant memory. `progress` gets the bytes done since its last call."""
    with open_for_sealing(path) as file:
        info = _sealed_parse(file, path)
        for chunk in sealed_chunks(file, info, unlock_sealed(info, key, role, header_sha256, path), path):
            if progress:
                progress(len(chunk))
    return info


def open_sealed(
    path: Path,
    target: Path,
    key: bytes,
    role: str,
    header_sha256: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> SealedInfo:
    """Decrypt to a file that only its owner may read (0600). Nothing appears at `target` unless every byte verified."""
    with sealed_writing(target, 0):
        sweep_sealed_leftovers(target)
    with open_for_sealing(path) as file:
        info = _sealed_parse(file, path)
        chunks = sealed_chunks(file, info, unlock_sealed(info, key, role, header_sha256, path), path)
        with sealed_writing(target, info.plain_size), atomic_path(target, 0o600) as temporary:
            with create_private_file(temporary) as output:
                for chunk in chunks:
                    write_whole(output, chunk)
                    if progress:
                        progress(len(chunk))
    return info


def seal_file(
    source: Path,
    target: Path,
    key: bytes,
    role: str,
    *,
    file_id: bytes | None = None,
    log2_chunk: int = SEALED_LOG2_CHUNK,
    progress: Callable[[int], None] | None = None,
    before_publish: Callable[[SealedInfo], None] | None = None,
) -> SealedInfo:
    """Encrypt `source` into `target`, read it back, compare it with the source, then let it appear in one step.

    `file_id`: 16 random bytes, drawn when not given. `progress` gets the bytes done since its last call; every byte is
    counted twice, once written and once read back. `before_publish` sees the verified header before `target` appears:
    the place to store the key, so that no sealed file exists without one. Raises SealedError.
    """
    with sealed_writing(target, 0):
        sweep_sealed_leftovers(target)
    with open_seal_source(source) as file:
        size = os.fstat(file.fileno()).st_size
        new_id = secrets.token_bytes(16) if file_id is None else file_id
        header, payload_key = new_sealed_header(key, role, size, new_id, new_sealed_salt(), log2_chunk)
        with sealed_writing(target, size), atomic_path(target) as temporary:
            with create_private_file(temporary) as output:
                write_whole(output, header)
                for chunk in sealed_pieces(file, size, 1 << log2_chunk, payload_key, source):
                    write_whole(output, chunk)
                    if progress:
                        progress(len(chunk) - SEALED_TAG_BYTES)
            info = _sealed_read_back(file, temporary, key, role, source, progress)
            if before_publish:
                before_publish(info)
    return info


# ---- chunks ----


def sealed_chunks(file: FileIO, info: SealedInfo, payload_key: bytes, path: Path) -> Iterator[memoryview | bytes]:
    """Decrypt chunk by chunk from the end of the header; each piece is valid until the next is asked for."""
    cipher = AESGCM(payload_key)
    into = hasattr(AESGCM, "decrypt_into")  # from cryptography 47 on; saves an allocation a chunk
    room = min(info.chunk_size, info.plain_size)
    sealed, plain = memoryview(bytearray(room + SEALED_TAG_BYTES)), memoryview(bytearray(room))
    for index, (nonce, size) in enumerate(sealed_chunk_plan(info.plain_size, info.chunk_size)):
        piece = sealed[: size + SEALED_TAG_BYTES]
        if fill_sealed(file, piece, path) < len(piece):
            raise TruncatedSealedError(f"{path}: became shorter while it was read; {SEALED_AGAIN}")
        chunk: memoryview | bytes = plain[:size]
        try:
            if into:
                cipher.decrypt_into(nonce, piece, None, plain[:size])
            else:
                chunk = cipher.decrypt(nonce, piece, None)
        except InvalidTag:
            raise DamagedChunkError(f"{path}: chunk {index} is damaged or was replaced; {SEALED_AGAIN}") from None
        yield chunk


def sealed_pieces(file: FileIO, size: int, chunk_size: int, payload_key: bytes, source: Path) -> Iterator[memoryview]:
    """Encrypt `size` bytes of `file` chunk by chunk, tag included; each piece is valid until the next is asked for."""
    cipher = AESGCM(payload_key)
    into = hasattr(AESGCM, "encrypt_into")
    room = min(chunk_size, size)
    plain, sealed = memoryview(bytearray(room)), memoryview(bytearray(room + SEALED_TAG_BYTES))
    for nonce, count in sealed_chunk_plan(size, chunk_size):
        if fill_sealed(file, plain[:count], source) < count:
            raise SealSourceError(f"{source}: became shorter while it was sealed; seal it when nothing writes to it")
        if into:
            cipher.encrypt_into(nonce, plain[:count], None, sealed[: count + SEALED_TAG_BYTES])
            yield sealed[: count + SEALED_TAG_BYTES]
        else:
            yield memoryview(cipher.encrypt(nonce, plain[:count], None))


def _sealed_collect(chunks: Iterator[memoryview | bytes], info: SealedInfo, path: Path) -> SealedPlaintext:
    """All chunks into a memfd, or into a buffer where there is none. Writing is faster than mapping: no page faults."""
    memory = _sealed_memory_file()
    if memory is None:
        buffer, position = bytearray(info.plain_size), 0
        view = memoryview(buffer)  # assigning to a slice of the bytearray itself would copy twice
        for chunk in chunks:
            view[position : position + len(chunk)] = chunk
            position += len(chunk)
        view.release()
        return SealedPlaintext(info, str(path), None, buffer)
    try:
        for chunk in chunks:
            write_whole(memory, chunk)
    except BaseException:
        memory.close()
        raise
    return SealedPlaintext(info, str(path), memory, bytearray())


def _sealed_memory_failure(failure: Exception, info: SealedInfo, path: Path) -> SealedError:
    """What to say when the decrypted content does not fit."""
    return SealedMemoryError(
        f"{path}: no memory for {info.plain_size:,} bytes of decrypted content ({type(failure).__name__}); "
        "free some, or load fewer folds at once"
    )


def _sealed_memory_file() -> FileIO | None:
    """A nameless file in memory; None where the system has none or forbids it."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return os.fdopen(os.memfd_create("foldpack"), "r+b", buffering=0)
    except OSError:
        return None


def _sealed_read_back(
    file: FileIO, sealed: Path, key: bytes, role: str, source: Path, progress: Callable[[int], None] | None
) -> SealedInfo:
    """Decrypt the new file at `sealed` and compare it, byte by byte, with its source."""
    differs = SealMismatchError(
        f"{source}: the sealed file, read back, differs from it; seal it when nothing writes to it, "
        "and check the disk if this happens twice"
    )
    again = bytearray()
    file.seek(0)
    try:
        with open_for_sealing(sealed) as written:
            info = _sealed_parse(written, sealed)
            for chunk in sealed_chunks(written, info, unlock_sealed(info, key, role, None, sealed), sealed):
                if len(again) != len(chunk):
                    again = bytearray(len(chunk))
                if fill_sealed(file, memoryview(again), source) < len(chunk) or again != chunk:
                    raise differs
                if progress:
                    progress(len(chunk))
    except SealedError:
        raise differs from None
    if file.read(1):
        raise differs
    return info


def _sealed_parse(file: FileIO, path: Path) -> SealedInfo:
    """The checked header of an open file."""
    header = read_sealed_start(file, SEALED_HEADER_BYTES, path)
    return parse_sealed_header(header, os.fstat(file.fileno()).st_size, path)
