"""Data keys on their way to the kernel: as text in a private script, or as a file in a second, private dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from foldpack.files import write_atomic
from foldpack.sealed.errors import SealedKeyFormatError, UnreadableSealedError
from foldpack.sealed.format import DataKey

KEYS_FORMAT = "foldpack keys"
KEYS_VERSION = 1


def data_key_from_hex(text: str, source: str) -> DataKey:
    """64 hex digits -> key. `source` is named in the error; the text is not."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise SealedKeyFormatError(
            f"{source}: a data key is 64 hexadecimal digits, got {len(text)} characters; "
            "write the keys again with `foldpack keys export`"
        )
    return DataKey(bytes.fromhex(text))


def keys_to_text(keys: Mapping[str, bytes]) -> str:
    """Data keys by file id (32 hex digits) -> JSON text. The text is secret."""
    listed = {file_id: bytes(keys[file_id]).hex() for file_id in sorted(keys)}
    return json.dumps({"format": KEYS_FORMAT, "version": KEYS_VERSION, "keys": listed}, indent=1) + "\n"


def keys_from_text(text: str, source: str) -> dict[str, DataKey]:
    """JSON text -> data keys by file id. Raises SealedKeyFormatError, which names `source` and shows no key."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    ours = isinstance(content, dict) and content.get("format") == KEYS_FORMAT
    if not ours or not isinstance(content.get("keys"), dict):
        raise SealedKeyFormatError(f"{source}: not a keys file; write it again with `foldpack keys export --kernel`")
    if content.get("version") != KEYS_VERSION:
        raise SealedKeyFormatError(
            f"{source}: keys of version {str(content.get('version'))[:10]}, this foldpack reads {KEYS_VERSION}; "
            "pack the kernel again"
        )
    return {str(file_id): data_key_from_hex(str(key), source) for file_id, key in content["keys"].items()}


def write_keys_file(path: Path, keys: Mapping[str, bytes]) -> None:
    """Write data keys for the private dataset: atomic, readable by the owner only (0600)."""
    write_atomic(path, keys_to_text(keys), 0o600)


def read_keys_file(path: Path) -> dict[str, DataKey]:
    """Data keys by file id. Raises UnreadableSealedError or SealedKeyFormatError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as failure:
        raise UnreadableSealedError(
            f"{path}: cannot read the keys ({failure.strerror}); attach the private keys dataset to the kernel"
        ) from None
    except UnicodeDecodeError:
        text = ""
    return keys_from_text(text, str(path))
