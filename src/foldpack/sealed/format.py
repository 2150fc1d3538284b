"""The format of sealed files: header, keys, nonces, and every check that needs no file.

docs/sealed-format.md specifies it. A file is a header of 116 bytes, then chunks of AES-256-GCM:

    magic 8 | version 1 | suite 1 | log2 chunk 1 | flags 1 | plain size 8 | file id 16 | salt 32 | key id 8 | role tag 8
    header code 32 | chunk 0 | tag 16 | chunk 1 | tag 16 | ...
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foldpack.sealed.errors import (
    EmptySealedError,
    ExtendedSealedError,
    NewerSealedError,
    NotSealedError,
    RolledBackError,
    SealedHeaderError,
    SealedKeyFormatError,
    SealedRoleFormatError,
    SwappedSealedError,
    TruncatedSealedError,
    WrongKeyError,
    WrongRoleError,
)

SEALED_MAGIC = b"\x8bFPSEAL\n"
SEALED_VERSION = 1
SEALED_SUITE = 1  # AES-256-GCM, HKDF and HMAC with SHA-256
SEALED_HEAD = ">8sBBBBQ16s32s8s8s"  # what the header code is computed over
SEALED_HEAD_BYTES = 84
SEALED_HEADER_BYTES = 116  # with the header code
SEALED_TAG_BYTES = 16
SEALED_LOG2_CHUNK = 20  # what the writer uses: fast, and the cipher holds the GIL for half a millisecond only
SEALED_LOG2_RANGE = (10, 24)  # what the reader takes
SEALED_ROLE_LIMIT = 200  # bytes of UTF-8
SEALED_CONTEXT = b"foldpack sealed v1 "
SEALED_AGAIN = "copy or download it again"


class DataKey(bytes):
    """A secret that does not show itself in `repr`, `str`, an f-string or a traceback with locals."""

    def __repr__(self) -> str:
        return "<DataKey>"

    def __str__(self) -> str:
        return "<DataKey>"

    def __format__(self, spec: str) -> str:
        return "<DataKey>"


@dataclass(frozen=True)
class SealedInfo:
    """What the header of a sealed file says: nothing secret, and nothing to trust before a key has verified it."""

    header_sha256: str  # hex; pins this very version of the file
    file_id: str  # hex, 32 digits
    key_id: str  # hex, 16 digits; derived from the data key
    plain_size: int  # bytes
    sealed_size: int  # bytes
    chunk_size: int  # bytes
    header: bytes = field(repr=False)  # the whole of it


def derive_sealed_key(key: bytes, salt: bytes | None, purpose: bytes, size: int = 32) -> DataKey:
    """HKDF-SHA256 (RFC 5869) of a data key for one purpose."""
    if len(key) != 32:
        raise SealedKeyFormatError(f"a data key is 32 bytes, got {len(key)}; make one with new_data_key()")
    return DataKey(HKDF(algorithm=SHA256(), length=size, salt=salt, info=SEALED_CONTEXT + purpose).derive(bytes(key)))


def key_id_of(key: bytes) -> str:
    """The public name of a data key: 16 hex digits that reveal nothing about it."""
    return derive_sealed_key(key, None, b"key id", 8).hex()


def sealed_payload_key(key: bytes, salt: bytes, header: bytes, role: bytes) -> DataKey:
    """The key of the chunks, bound to the whole header and to the role."""
    return derive_sealed_key(key, salt, b"payload\0" + hashlib.sha256(header).digest() + role)


def sealed_role_bytes(role: str) -> bytes:
    """Check a role -> its bytes. Raises SealedRoleFormatError."""
    data = role.encode("utf-8", "replace")
    if not 0 < len(data) <= SEALED_ROLE_LIMIT or not role.isprintable():
        raise SealedRoleFormatError(
            f"role {role[:40]!r}: want 1 to {SEALED_ROLE_LIMIT} bytes of printable text, got {len(data)} bytes; "
            "use '<run>/fold<k>'"
        )
    return data


def new_sealed_header(
    key: bytes, role: str, plain_size: int, file_id: bytes, salt: bytes, log2_chunk: int
) -> tuple[bytes, DataKey]:
    """The header of a new file, and the key of the chunks that follow it. `salt`: 32 fresh random bytes."""
    role_bytes = sealed_role_bytes(role)
    key_id = derive_sealed_key(key, None, b"key id", 8)
    role_tag = derive_sealed_key(key, salt, b"role\0" + role_bytes, 8)
    fields = (SEALED_MAGIC, SEALED_VERSION, SEALED_SUITE, log2_chunk, 0, plain_size, file_id, salt, key_id, role_tag)
    head = struct.pack(SEALED_HEAD, *fields)
    header = head + hmac.digest(derive_sealed_key(key, salt, b"header"), head, "sha256")
    return header, sealed_payload_key(key, salt, header, role_bytes)


def parse_sealed_header(header: bytes, size: int, path: Path) -> SealedInfo:
    """Check all that needs no key: magic, version, fields, and `size`, the file's bytes.

    `header`: the first 116 bytes of the file at `path`, or all of it when it is shorter. Raises SealedError.
    """
    if not header:
        raise EmptySealedError(f"{path}: the file is empty; {SEALED_AGAIN}")
    if header[:8] != SEALED_MAGIC[: len(header)]:
        raise NotSealedError(
            f"{path}: not a sealed file (it starts with {header[:8].hex()}, want {SEALED_MAGIC.hex()}); "
            "make one with `foldpack seal`"
        )
    if len(header) > 8 and header[8] > SEALED_VERSION:
        raise NewerSealedError(
            f"{path}: format version {header[8]}, but this foldpack reads up to {SEALED_VERSION}; "
            "upgrade foldpack, or seal the file again with this one"
        )
    if len(header) < SEALED_HEADER_BYTES:
        raise TruncatedSealedError(
            f"{path}: cut off inside the header ({len(header)} of {SEALED_HEADER_BYTES} bytes); {SEALED_AGAIN}"
        )
    head = header[: SEALED_HEAD_BYTES]
    _, version, suite, log2_chunk, flags, plain_size, file_id, _, key_id, _ = struct.unpack(SEALED_HEAD, head)
    low, high = SEALED_LOG2_RANGE
    if version < 1 or suite != SEALED_SUITE or flags or not low <= log2_chunk <= high or not plain_size:
        raise SealedHeaderError(
            f"{path}: damaged header (version {version}, suite {suite}, chunk 2^{log2_chunk}, flags {flags}, "
            f"{plain_size} bytes); {SEALED_AGAIN}"
        )
    pin = hashlib.sha256(header).hexdigest()
    info = SealedInfo(pin, file_id.hex(), key_id.hex(), plain_size, size, 1 << log2_chunk, header)
    check_sealed_size(info, path)
    return info


def check_sealed_size(info: SealedInfo, path: Path) -> None:
    """Compare the size of the file with the one that its header implies. Raises Truncated- or ExtendedSealedError."""
    chunks = -(-info.plain_size // info.chunk_size)
    expected = SEALED_HEADER_BYTES + info.plain_size + SEALED_TAG_BYTES * chunks
    if info.sealed_size < expected:
        raise TruncatedSealedError(
            f"{path}: {info.sealed_size:,} of {expected:,} bytes, the end is missing; {SEALED_AGAIN}"
        )
    if info.sealed_size > expected:
        raise ExtendedSealedError(
            f"{path}: {info.sealed_size:,} bytes, its header says {expected:,}, so something was added; {SEALED_AGAIN}"
        )


def unlock_sealed(info: SealedInfo, key: bytes, role: str, header_sha256: str | None, path: Path) -> DataKey:
    """Authenticate the header under key, role and, when given, its pinned hash -> the key of the chunks."""
    role_bytes = sealed_role_bytes(role)
    pinned = sealed_pin_fits(info, header_sha256, path)
    head, code = info.header[: SEALED_HEAD_BYTES], info.header[SEALED_HEAD_BYTES :]
    salt, key_id, role_tag = head[36:68], head[68:76], head[76:84]
    versions = f"header {info.header_sha256}, want {header_sha256}"
    if not hmac.compare_digest(key_id, derive_sealed_key(key, None, b"key id", 8)):
        keys = f"it wants key {info.key_id}, got key {key_id_of(key)}"
        if not pinned:
            raise SwappedSealedError(
                f"{path}: another sealed file lies in this one's place ({keys}; {versions}); put the right file back"
            )
        raise WrongKeyError(f"{path}: wrong key ({keys}); find the right one with `foldpack keys list`")
    if not hmac.compare_digest(code, hmac.digest(derive_sealed_key(key, salt, b"header"), head, "sha256")):
        raise SealedHeaderError(f"{path}: damaged header (its authentication code does not fit); {SEALED_AGAIN}")
    if not hmac.compare_digest(role_tag, derive_sealed_key(key, salt, b"role\0" + role_bytes, 8)):
        raise WrongRoleError(f"{path}: not sealed for role {role!r}; check which file belongs to which run and fold")
    if not pinned:
        raise RolledBackError(
            f"{path}: another version than the pinned one ({versions}); update the dataset, or pack the kernel again"
        )
    return sealed_payload_key(key, salt, info.header, role_bytes)


def sealed_pin_fits(info: SealedInfo, header_sha256: str | None, path: Path) -> bool:
    """Whether the header is the pinned one; always, when none is pinned."""
    if header_sha256 is None:
        return True
    if not re.fullmatch("[0-9a-f]{64}", header_sha256):
        raise SealedKeyFormatError(
            f"{path}: the pinned header hash must be 64 hexadecimal digits, got {header_sha256[:80]!r}; "
            "pack the kernel again"
        )
    return hmac.compare_digest(header_sha256, info.header_sha256)


def sealed_chunk_plan(plain_size: int, chunk_size: int) -> Iterator[tuple[bytes, int]]:
    """Nonce and plain size of every chunk; only the last may be shorter, and none is empty.

    Nonce: 11 bytes of counter, then 1 for the last chunk and 0 for all others.
    """
    last = -(-plain_size // chunk_size) - 1
    for index in range(last + 1):
        yield index.to_bytes(11, "big") + bytes([index == last]), min(chunk_size, plain_size - index * chunk_size)


def new_sealed_salt() -> bytes:
    """32 bytes from the system's random source, so that no two files share a payload key."""
    return secrets.token_bytes(32)
