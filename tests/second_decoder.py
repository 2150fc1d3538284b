"""A second decoder of sealed files, written from docs/sealed-format.md alone. It shares no code with foldpack.

It has its own HKDF, reads the file in one piece, and uses the low-level cipher interface. Slow and simple on purpose.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Refused(Exception):
    """The file is refused. `name` is the failure of the document's table, `released` what had verified by then."""

    def __init__(self, name: str, released: bytes = b"") -> None:
        super().__init__(name)
        self.name = name
        self.released = released


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    pseudorandom = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(pseudorandom, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "big")


def check_form(data: bytes) -> tuple[int, int]:
    """Checks 2 to 7 -> plain size, chunk size."""
    magic = bytes.fromhex("8b46505345414c0a")
    if len(data) == 0:
        raise Refused("EmptySealedError")
    if data[:8] != magic[: len(data)]:
        raise Refused("NotSealedError")
    if len(data) >= 9 and data[8] > 1:
        raise Refused("NewerSealedError")
    if len(data) < 116:
        raise Refused("TruncatedSealedError")
    version, suite, log2_chunk, flags, plain = data[8], data[9], data[10], data[11], number(data, 12, 8)
    if version != 1 or suite != 1 or not 10 <= log2_chunk <= 24 or flags != 0 or plain < 1:
        raise Refused("SealedHeaderError")
    chunk = 2**log2_chunk
    want = 116 + plain + 16 * ((plain + chunk - 1) // chunk)
    if len(data) != want:
        raise Refused("TruncatedSealedError" if len(data) < want else "ExtendedSealedError")
    return plain, chunk


def check_header(data: bytes, key: bytes, role: str, pin: str | None) -> bytes:
    """Checks 8 to 11 -> payload key."""
    context, salt, name = b"foldpack sealed v1 ", data[36:68], role.encode("utf-8")
    pinned = pin is None or hashlib.sha256(data[:116]).hexdigest() == pin
    if data[68:76] != hkdf(key, b"", context + b"key id", 8):
        raise Refused("WrongKeyError" if pinned else "SwappedSealedError")
    if data[84:116] != hmac.new(hkdf(key, salt, context + b"header", 32), data[:84], hashlib.sha256).digest():
        raise Refused("SealedHeaderError")
    if data[76:84] != hkdf(key, salt, context + b"role" + b"\x00" + name, 8):
        raise Refused("WrongRoleError")
    if not pinned:
        raise Refused("RolledBackError")
    return hkdf(key, salt, context + b"payload" + b"\x00" + hashlib.sha256(data[:116]).digest() + name, 32)


def decode(data: bytes, key: bytes, role: str, pin: str | None = None) -> bytes:
    """The content of a sealed file, or Refused."""
    plain, chunk = check_form(data)
    payload_key = check_header(data, key, role, pin)
    content, position, index = b"", 116, 0
    while len(content) < plain:
        size = min(chunk, plain - len(content))
        last = len(content) + size == plain
        nonce = index.to_bytes(11, "big") + (b"\x01" if last else b"\x00")
        text, tag = data[position : position + size], data[position + size : position + size + 16]
        reader = Cipher(algorithms.AES(payload_key), modes.GCM(nonce, tag)).decryptor()
        try:
            content += reader.update(text) + reader.finalize()
        except InvalidTag:
            raise Refused("DamagedChunkError", content) from None
        position, index = position + size + 16, index + 1
    return content
