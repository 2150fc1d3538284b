"""Coverage-guided fuzzing of the reader of sealed files, with atheris (which foldpack does not depend on).

    pip install atheris cryptography
    python tests/fuzz/fuzz_sealed.py tests/fuzz/corpus/sealed -atheris_runs=1000000

An input is: one byte that chooses key, role and pin, then the file. To get past the header code, which no fuzzer can
guess, an odd choice lets the target compute it, as a writer that holds the key would. Whatever comes out must be the
content of the valid file or a SealedError; anything else is a crash. `--make-corpus FOLDER` writes the seeds anew.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

KEY, ROLE = bytes(range(32)), "resnet10t/fold0"
SALT, FILE_ID = bytes(range(32, 64)), bytes(16)
CONTENT = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(80))  # 2560 bytes, three chunks


def valid_file(content: bytes = CONTENT) -> bytes:
    """A sealed file, always the same."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from foldpack.sealed.format import new_sealed_header, sealed_chunk_plan

    data, payload_key = new_sealed_header(KEY, ROLE, len(content), FILE_ID, SALT, 10)
    position = 0
    for nonce, size in sealed_chunk_plan(len(content), 1024):
        data += AESGCM(payload_key).encrypt(nonce, content[position : position + size], None)
        position += size
    return data


def with_code(data: bytes) -> bytes:
    """The file with the header code that its first 84 bytes need."""
    from foldpack.sealed.format import derive_sealed_key

    head = data[:84]
    return head + hmac.digest(derive_sealed_key(KEY, head[36:68], b"header"), head, "sha256") + data[116:]


def read(data: bytes, key: bytes, role: str, pin: str | None) -> bytes:
    """The reader's steps, on bytes."""
    from foldpack.sealed.container import sealed_chunks
    from foldpack.sealed.format import parse_sealed_header, unlock_sealed

    here = Path("fuzzed.sealed")
    file: Any = BytesIO(data)
    info = parse_sealed_header(file.read(116), len(data), here)
    payload_key = unlock_sealed(info, key, role, pin, here)
    return b"".join(bytes(chunk) for chunk in sealed_chunks(file, info, payload_key, here))


def check_one(data: bytes) -> str:
    """One input -> 'accepted', or the name of the refusal. Raises when something is accepted that should not be."""
    from foldpack.sealed.errors import SealedError

    choice, file = (data[0], bytes(data[1:])) if data else (0, b"")
    key = KEY if not choice & 2 else bytes(32)
    role = ROLE if not choice & 4 else file[:20].decode("latin-1")
    pin = None if not choice & 8 else hashlib.sha256(file[:116]).hexdigest()
    if choice & 1 and len(file) >= 116:
        file = with_code(file)
    try:
        content = read(file, key, role, pin)
    except SealedError as refusal:
        return type(refusal).__name__
    if file != valid_file() or content != CONTENT or (key, role) != (KEY, ROLE):
        raise RuntimeError("accepted a file that no writer wrote")
    return "accepted"


def make_corpus(folder: Path) -> None:
    """The valid file and a few steps away from it, one for each refusal."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = valid_file()
    seeds = {
        "valid": b"\0" + whole, "valid-code": b"\1" + whole, "wrong-key": b"\2" + whole,
        "wrong-role": b"\4" + whole, "pinned": b"\x08" + whole, "short": b"\0" + whole[:-1],
        "long": b"\0" + whole + b"x", "header": b"\0" + whole[:116], "empty": b"\0", "magic": b"\0" + whole[:8],
        "newer": b"\1" + whole[:8] + b"\2" + whole[9:], "chunk": b"\0" + whole[:-1] + b"x",
        "one-byte-plain": b"\1" + whole[:12] + (1).to_bytes(8, "big") + whole[20:133],
        "huge": b"\1" + whole[:12] + b"\xff" * 8 + whole[20:],
    }
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


def main() -> None:
    if sys.argv[1:2] == ["--make-corpus"]:
        make_corpus(Path(sys.argv[2]))
        return
    import atheris

    with atheris.instrument_imports(include=["foldpack"]):
        import foldpack.sealed.container  # noqa: F401
    atheris.Setup(sys.argv, check_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
