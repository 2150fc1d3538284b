"""Writes the frozen vectors of the sealed format, in tests/vectors/sealed/. Run once; the files are never made again.

    python tests/vectors/make_sealed_vectors.py

The files come from the second decoder's primitives, not from foldpack's writer, and from fixed seeds: a second run
gives the same bytes. `index.json` says for each file: key, role, pin, the expected outcome, the file's hash, and the
number and hash of the bytes that verify before the failure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from second_decoder import Refused, decode, hkdf  # noqa: E402

CONTEXT = b"foldpack sealed v1 "


def seeded(label: str, size: int) -> bytes:
    """Bytes that look random and are always the same."""
    return hashlib.shake_256(label.encode()).digest(size)


@dataclass(frozen=True)
class Recipe:
    """How to make a file, with every choice open, so that wrong writers can be built too."""

    content: bytes
    key: bytes = field(default_factory=lambda: seeded("key", 32))
    role: str = "resnet10t/fold0"
    log2_chunk: int = 10
    file_id: bytes = field(default_factory=lambda: seeded("file id", 16))
    salt: bytes = field(default_factory=lambda: seeded("salt", 32))
    version: int = 1
    suite: int = 1
    flags: int = 0
    plain_size: int | None = None  # what the header says; None: the truth
    tag_role: str | None = None  # the role of the role tag; None: the role
    key_id: bytes | None = None
    nonce: Callable[[int, bool], bytes] = lambda index, last: index.to_bytes(11, "big") + bytes([last])
    payload_info: Callable[[bytes, bytes], bytes] = (
        lambda header, role: CONTEXT + b"payload\0" + hashlib.sha256(header).digest() + role
    )
    associated: bytes = b""


def header_of(recipe: Recipe) -> bytes:
    """The 116 bytes, with a code that fits whatever they say."""
    role = (recipe.tag_role or recipe.role).encode()
    key_id = recipe.key_id or hkdf(recipe.key, b"", CONTEXT + b"key id", 8)
    role_tag = hkdf(recipe.key, recipe.salt, CONTEXT + b"role\0" + role, 8)
    size = len(recipe.content) if recipe.plain_size is None else recipe.plain_size
    fields = (recipe.version, recipe.suite, recipe.log2_chunk, recipe.flags, size)
    head = b"\x8bFPSEAL\n" + struct.pack(">BBBBQ", *fields) + recipe.file_id + recipe.salt + key_id + role_tag
    return head + hmac.digest(hkdf(recipe.key, recipe.salt, CONTEXT + b"header", 32), head, "sha256")


def build(recipe: Recipe) -> bytes:
    """A whole file."""
    header = header_of(recipe)
    payload_key = hkdf(recipe.key, recipe.salt, recipe.payload_info(header, recipe.role.encode()), 32)
    chunk = 1 << recipe.log2_chunk
    pieces = [recipe.content[at : at + chunk] for at in range(0, len(recipe.content), chunk)]
    for index, piece in enumerate(pieces):
        nonce = recipe.nonce(index, index == len(pieces) - 1)
        writer = Cipher(algorithms.AES(payload_key), modes.GCM(nonce)).encryptor()
        if recipe.associated:
            writer.authenticate_additional_data(recipe.associated)
        header += writer.update(piece) + writer.finalize() + writer.tag
    return header


def flip(data: bytes, offset: int, mask: int = 1) -> bytes:
    """One byte changed."""
    changed = bytearray(data)
    changed[offset] ^= mask
    return bytes(changed)


def pin_of(data: bytes) -> str:
    return hashlib.sha256(data[:116]).hexdigest()


class Vectors:
    """Collects files and what is expected of them; the second decoder must agree with the expectation."""

    def __init__(self) -> None:
        self.index: list[dict[str, object]] = []

    def add(
        self, group: str, name: str, data: bytes, expect: str, key: bytes, role: str, pin: str | None = None
    ) -> None:
        try:
            outcome, released = "success", decode(data, key, role, pin)
        except Refused as refusal:
            outcome, released = refusal.name, refusal.released
        assert outcome == expect, (group, name, outcome, expect)
        file = f"{group}-{name}.sealed"
        assert not any(entry["file"] == file for entry in self.index), file
        (HERE / "sealed" / file).write_bytes(data)
        self.index.append({
            "file": file, "group": group, "expect": expect, "key": key.hex(), "role": role, "pin": pin,
            "sha256": hashlib.sha256(data).hexdigest(),
            "released_bytes": len(released), "released_sha256": hashlib.sha256(released).hexdigest(),
        })

    def make(self, group: str, name: str, recipe: Recipe, expect: str = "success", pin: str | None = None) -> bytes:
        data = build(recipe)
        self.add(group, name, data, expect, recipe.key, recipe.role, pin)
        return data


def success(vectors: Vectors) -> None:
    sizes = (1, 2, 15, 16, 17, 255, 1008, 1023, 1024, 1025, 1040, 2047, 2048, 2049, 3000, 4096)
    for size in sizes:
        recipe = Recipe(seeded(f"content {size}", size), salt=seeded(f"salt {size}", 32))
        vectors.make("success", f"size-{size}", recipe)
    for log2_chunk in (11, 12, 13, 16, 20, 24):
        vectors.make("success", f"chunk-{log2_chunk}", Recipe(seeded("content", 4200), log2_chunk=log2_chunk))
    roles = {"one": "x", "utf8": "модель/δ/折0", "longest": "r" * 200, "spaces": "a run / fold 3",
             "quotes": "'\"\\/%{}"}
    for name, role in roles.items():
        vectors.make("success", f"role-{name}", Recipe(seeded("content", 1500), role=role))
    tensors = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    safetensors = struct.pack("<Q", len(tensors)) + tensors + struct.pack("<2f", 0.5, -1.0)
    contents = {"safetensors": safetensors, "zeros": bytes(2000), "text": b"tree\nversion=v4\nnum_class=1\n" * 90,
                "looks-sealed": b"\x8bFPSEAL\n" + bytes(200)}
    for name, content in contents.items():
        vectors.make("success", f"content-{name}", Recipe(content))
    for name, key in {"zeros": bytes(32), "ones": b"\xff" * 32, "counting": bytes(range(32))}.items():
        vectors.make("success", f"key-{name}", Recipe(seeded("content", 1100), key=key))
    pinned = Recipe(seeded("content", 1300))
    vectors.make("success", "pinned", pinned, pin=pin_of(build(pinned)))
    vectors.make("success", "zero-salt", replace(pinned, salt=bytes(32)))


def header(vectors: Vectors, base: Recipe, data: bytes) -> None:
    def bad(name: str, changed: bytes, expect: str) -> None:
        vectors.add("header", name, changed, expect, base.key, base.role)

    for offset in range(8):
        bad(f"magic-{offset}", flip(data, offset), "NotSealedError")
    bad("magic-text-mode", data.replace(b"\n", b"\r\n", 1), "NotSealedError")
    bad("zip", b"PK\x03\x04" + data[4:], "NotSealedError")
    for version, expect in ((0, "SealedHeaderError"), (2, "NewerSealedError"), (255, "NewerSealedError")):
        vectors.make("header", f"version-{version}-authentic", replace(base, version=version), expect)
    for suite in (0, 2, 255):
        vectors.make("header", f"suite-{suite}-authentic", replace(base, suite=suite), "SealedHeaderError")
    for flags in (1, 2, 128, 255):
        vectors.make("header", f"flags-{flags}-authentic", replace(base, flags=flags), "SealedHeaderError")
    bad("chunk-9", data[:10] + b"\x09" + data[11:], "SealedHeaderError")
    bad("chunk-25", data[:10] + b"\x19" + data[11:], "SealedHeaderError")
    bad("chunk-255", data[:10] + b"\xff" + data[11:], "SealedHeaderError")
    bad("chunk-0", data[:10] + b"\x00" + data[11:], "SealedHeaderError")
    bad("plain-0", data[:12] + bytes(8) + data[20:], "SealedHeaderError")
    bad("plain-0-alone", data[:12] + bytes(8) + data[20:116], "SealedHeaderError")
    flips = {"file-id-first": 20, "file-id-last": 35, "salt-first": 36, "salt-last": 67, "role-tag": 76,
             "role-tag-last": 83, "code-first": 84, "code-middle": 100, "code-last": 115}
    for name, offset in flips.items():
        bad(f"flip-{name}", flip(data, offset), "SealedHeaderError")
    bad("code-zero", data[:84] + bytes(32) + data[116:], "SealedHeaderError")
    one = build(replace(base, content=base.content[:900]))
    bad("chunk-size-changed", one[:10] + b"\x0b" + one[11:], "SealedHeaderError")
    other = build(replace(base, salt=seeded("other salt", 32)))
    bad("code-of-other", data[:84] + other[84:116] + data[116:], "SealedHeaderError")


def sizes(vectors: Vectors, base: Recipe, data: bytes) -> None:
    def bad(name: str, changed: bytes, expect: str) -> None:
        vectors.add("size", name, changed, expect, base.key, base.role)

    bad("empty", b"", "EmptySealedError")
    for length in (1, 7, 8, 9, 50, 115, 116, 117, 131, 132):
        bad(f"first-{length}", data[:length], "TruncatedSealedError")
    for lost in (1, 15, 16, 17, len(base.content) % 1024 + 16, len(base.content) % 1024 + 17):
        bad(f"lost-{lost}", data[:-lost], "TruncatedSealedError")
    for added in (1, 16, 17, 1040):
        bad(f"added-{added}", data + seeded("added", added), "ExtendedSealedError")
    bad("last-chunk-twice", data + data[-(len(base.content) % 1024 + 16) :], "ExtendedSealedError")
    bad("two-files", data + data, "ExtendedSealedError")
    bad("first-byte-lost", data[1:], "NotSealedError")
    for name, size in {"huge": 2**64 - 1, "half": 2**63, "plus-1": len(base.content) + 1, "2-pow-40": 2**40}.items():
        vectors.make("size", f"plain-{name}-authentic", replace(base, plain_size=size), "TruncatedSealedError")
    for name, size in {"1": 1, "minus-1": len(base.content) - 1}.items():
        vectors.make("size", f"plain-{name}-authentic", replace(base, plain_size=size), "ExtendedSealedError")


def payload(vectors: Vectors, base: Recipe, data: bytes) -> None:
    def bad(name: str, changed: bytes) -> None:
        vectors.add("payload", name, changed, "DamagedChunkError", base.key, base.role)

    start, step = 116, 1040
    chunks = [data[at : at + step] for at in range(start, len(data), step)]
    for index, chunk in enumerate(chunks):
        at = start + index * step
        for name, offset in {"first": 0, "middle": len(chunk) // 2, "tag-first": len(chunk) - 16,
                             "tag-last": len(chunk) - 1}.items():
            bad(f"chunk-{index}-{name}", flip(data, at + offset, 0x80))
    head = data[:start]
    bad("swap-0-1", head + chunks[1] + chunks[0] + b"".join(chunks[2:]))
    bad("swap-1-2", head + chunks[0] + chunks[2] + chunks[1] + b"".join(chunks[3:]))
    bad("repeat-0", head + chunks[0] + chunks[0] + b"".join(chunks[2:]))
    bad("drop-0-pad", head + b"".join(chunks[1:]) + bytes(step))
    bad("zeros", head + bytes(len(data) - start))
    other = build(replace(base, salt=seeded("other salt", 32)))
    bad("chunks-of-other-sealing", head + other[start:])
    bad("chunk-1-of-other-sealing", head + chunks[0] + other[start + step : start + 2 * step] + b"".join(chunks[2:]))
    bad("header-of-other-sealing", other[:start] + data[start:])
    wrong = {
        "last-flag-missing": replace(base, nonce=lambda index, last: index.to_bytes(11, "big") + b"\0"),
        "last-flag-everywhere": replace(base, nonce=lambda index, last: index.to_bytes(11, "big") + b"\1"),
        "last-flag-two": replace(base, nonce=lambda index, last: index.to_bytes(11, "big") + bytes([2 * last])),
        "counter-from-one": replace(base, nonce=lambda index, last: (index + 1).to_bytes(11, "big") + bytes([last])),
        "counter-little-endian": replace(base, nonce=lambda index, last: index.to_bytes(11, "little") + bytes([last])),
        "counter-stuck": replace(base, nonce=lambda index, last: bytes(11) + bytes([last])),
        "flag-first": replace(base, nonce=lambda index, last: bytes([last]) + index.to_bytes(11, "big")),
        "associated-data": replace(base, associated=b"x"),
        "key-without-header": replace(base, payload_info=lambda header, role: CONTEXT + b"payload\0" + role),
        "key-without-role": replace(
            base, payload_info=lambda header, role: CONTEXT + b"payload\0" + hashlib.sha256(header).digest()
        ),
        "key-of-head": replace(
            base, payload_info=lambda header, role: CONTEXT + b"payload\0" + hashlib.sha256(header[:84]).digest() + role
        ),
    }
    for name, recipe in wrong.items():
        bad(f"writer-{name}", build(recipe))


def keys_roles_pins(vectors: Vectors, base: Recipe, data: bytes) -> None:
    def bad(group: str, name: str, expect: str, key: bytes = base.key, role: str = base.role, pin: str | None = None,
            changed: bytes = data) -> None:
        vectors.add(group, name, changed, expect, key, role, pin)

    for name, key in {"other": seeded("other key", 32), "zeros": bytes(32), "bit-first": flip(base.key, 0),
                      "bit-last": flip(base.key, 31), "reversed": base.key[::-1]}.items():
        bad("key", f"wrong-{name}", "WrongKeyError", key=key)
    stranger = seeded("other key", 32)
    forged = hkdf(stranger, b"", CONTEXT + b"key id", 8)
    bad("key", "id-flipped", "WrongKeyError", changed=flip(data, 68))
    bad("key", "id-forged", "SealedHeaderError", key=stranger, changed=data[:68] + forged + data[76:])
    vectors.make("key", "id-forged-authentic", replace(base, key_id=forged), "WrongKeyError")
    roles = ("resnet10t/fold1", "resnet10t/fold", "resnet10t/fold00", "RESNET10T/fold0", "resnet10t\\fold0", "x",
             " resnet10t/fold0", "resnet10t/fold0 ")
    for number, role in enumerate(roles):
        bad("role", f"wrong-{number}", "WrongRoleError", role=role)
    composed = build(replace(base, role="é/fold0"))
    bad("role", "decomposed", "WrongRoleError", role="e\u0301/fold0", changed=composed)
    lied = build(replace(base, tag_role="other/fold0"))
    bad("role", "tag-of-other", "WrongRoleError", changed=lied)
    bad("role", "tag-forged", "DamagedChunkError", role="other/fold0", changed=lied)
    older = build(replace(base, salt=seeded("older salt", 32)))
    bad("pin", "rolled-back", "RolledBackError", pin=pin_of(data), changed=older)
    bad("pin", "same-content-again", "RolledBackError", pin=pin_of(older))
    foreign = build(replace(base, key=stranger, file_id=seeded("other id", 16)))
    bad("pin", "swapped", "SwappedSealedError", pin=pin_of(data), changed=foreign)
    bad("pin", "wrong-key-right-pin", "WrongKeyError", key=stranger, pin=pin_of(data))
    bad("pin", "wrong-role-wrong-pin", "WrongRoleError", role="other/fold0", pin=pin_of(older))
    bad("pin", "damaged-header", "SealedHeaderError", pin=pin_of(data), changed=flip(data, 90))
    bad("pin", "damaged-chunk", "DamagedChunkError", pin=pin_of(data), changed=flip(data, -1))
    bad("pin", "truncated", "TruncatedSealedError", pin=pin_of(data), changed=data[:-1])


def main() -> None:
    (HERE / "sealed").mkdir(exist_ok=True)
    vectors = Vectors()
    base = Recipe(seeded("content", 3500))
    data = build(base)
    success(vectors)
    header(vectors, base, data)
    sizes(vectors, base, data)
    payload(vectors, base, data)
    keys_roles_pins(vectors, base, data)
    (HERE / "sealed" / "index.json").write_text(json.dumps(vectors.index, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(vectors.index)} vectors")


if __name__ == "__main__":
    main()
