"""How fast sealed weights are read and written, against reading the plain file and against other ways to encrypt it.

    python benchmarks/sealed.py [--mib 512] [--pairs 9] [--slow-pairs 3] [--folder DIR]

Every candidate runs in turn with its own run of the base line, in alternating order, so that a slow moment of the
machine hits both. Printed are medians of the ratios of speeds (1 = as fast as the base line, 0.5 = half as fast): by
the clock, with quartiles, and by the CPU time used, which other programs disturb less but which leaves out waiting for
the disk. Files are in the page cache. Peak memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from peers import find_peer

from foldpack.sealed.container import open_sealed, read_sealed, seal_file, sealed_chunks, sealed_pieces, verify_sealed
from foldpack.sealed.disk import open_for_sealing, read_sealed_start
from foldpack.sealed.format import SEALED_HEADER_BYTES, parse_sealed_header, unlock_sealed

KEY, ROLE, MIB = bytes(range(32)), "resnet10t/fold0", 1 << 20
Job = Callable[[], object]


def read_raw(path: Path, buffer: bytearray | None = None) -> bytearray:
    """The base line: unbuffered `readinto` into a new buffer of the file's size, or into one that is there already."""
    target = bytearray(path.stat().st_size) if buffer is None else buffer
    view, done = memoryview(target), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(view[done:]):
            done += count
    return target


def read_raw_pieces(path: Path) -> None:
    """The base line of what streams: every byte through one buffer of 1 MiB."""
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def copy_raw(source: Path, target: Path) -> None:
    """The base line of what writes: read, write, fsync, and read back."""
    buffer = memoryview(bytearray(MIB))
    with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as output:
        while count := file.readinto(buffer):
            output.write(buffer[:count])
        os.fsync(output.fileno())
    read_raw_pieces(target)


def decrypt_into(path: Path, buffer: bytearray) -> None:
    """A sealed file into a buffer that is there already, through the reader's chunks: one copy more than needed."""
    view, position = memoryview(buffer), 0
    with open_for_sealing(path) as file:
        header = read_sealed_start(file, SEALED_HEADER_BYTES, path)
        info = parse_sealed_header(header, path.stat().st_size, path)
        for chunk in sealed_chunks(file, info, unlock_sealed(info, KEY, ROLE, None, path), path):
            view[position : position + len(chunk)] = chunk
            position += len(chunk)


def encrypt_pieces(path: Path) -> None:
    """Read and encrypt, without writing."""
    with open(path, "rb", buffering=0) as file:
        for _ in sealed_pieces(file, path.stat().st_size, MIB, KEY, path):
            pass


def read_cbc(path: Path) -> bytearray:
    """AES-256-CBC without authentication, as other kernels do it, streamed into a new buffer."""
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).decryptor()
    target, piece, position = bytearray(path.stat().st_size + 16), memoryview(bytearray(MIB)), 0
    view = memoryview(target)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(piece):
            position += cipher.update_into(piece[:count], view[position:])
    return target


def write_cbc(source: Path, target: Path) -> None:
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).encryptor()
    target.write_bytes(cipher.update(source.read_bytes()))


def compare(name: str, base: Job, candidate: Job, pairs: int, size: int) -> None:
    """Print the median ratio of speeds."""
    ratios, cpu_ratios, times = [], [], []
    for pair in range(pairs):
        took: dict[Job, tuple[float, float]] = {}
        for job in (base, candidate) if pair % 2 else (candidate, base):
            start, cpu_start = time.perf_counter(), time.process_time()
            job()
            took[job] = time.perf_counter() - start, time.process_time() - cpu_start
        ratios.append(took[base][0] / took[candidate][0])
        cpu_ratios.append(took[base][1] / took[candidate][1])
        times.append(took[candidate][0])
    low, _, high = statistics.quantiles(ratios, n=4) if pairs > 1 else ratios * 3
    middle, cpu, seconds = (statistics.median(values) for values in (ratios, cpu_ratios, times))
    print(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {cpu:.2f} | {size / seconds / 1e9:.2f} | {pairs} |",
          flush=True)


PEAK = """
import os, sys
from pathlib import Path
from foldpack.sealed.container import read_sealed
def peak(): return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
before = peak()
plaintext = read_sealed(Path(sys.argv[1]), bytes(range(32)), sys.argv[2])
print(peak() - before + os.fstat(plaintext._memory.fileno()).st_blocks * 512, plaintext.info.plain_size)
"""


def report_memory(path: Path) -> None:
    """Print what reading takes beyond the imported modules; the memfd is counted in."""
    extra, size = map(int, subprocess.check_output([sys.executable, "-c", PEAK, str(path), ROLE]).split())
    print(f"\npeak memory of read_sealed: {extra / size:.3f} x content ({(extra - size) / MIB:.1f} MiB above it)")


def run(folder: Path, mib: int, pairs: int, slow_pairs: int) -> None:
    size, plain, sealed, out = mib * MIB, folder / "plain", folder / "a.sealed", folder / "out"
    with open(plain, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    seal_file(plain, sealed, KEY, ROLE)
    there = bytearray(size)
    print("| | by the clock | quartiles | by CPU time | GB/s | pairs |\n|---|---|---|---|---|---|")
    compare("`read_sealed` (new memfd) / `readinto` (new buffer)", lambda: read_raw(plain),
            lambda: read_sealed(sealed, KEY, ROLE).close(), pairs, size)
    compare("decrypt into a buffer / `readinto` the same buffer", lambda: read_raw(plain, there),
            lambda: decrypt_into(sealed, there), pairs, size)
    compare("`verify_sealed` / `readinto` piece by piece", lambda: read_raw_pieces(plain),
            lambda: verify_sealed(sealed, KEY, ROLE), pairs, size)
    compare("encrypt, not written / `readinto` (new buffer)", lambda: read_raw(plain), lambda: encrypt_pieces(plain),
            pairs, size)
    compare("`seal_file` / copy, fsync, read back", lambda: copy_raw(plain, out),
            lambda: seal_file(plain, folder / "b.sealed", KEY, ROLE), pairs, size)
    compare("`seal_file` / `readinto` (new buffer)", lambda: read_raw(plain),
            lambda: seal_file(plain, folder / "b.sealed", KEY, ROLE), pairs, size)
    compare("`open_sealed` / copy, fsync, read back", lambda: copy_raw(plain, out),
            lambda: open_sealed(sealed, out, KEY, ROLE), pairs, size)
    compare_peers(folder, plain, lambda: read_sealed(sealed, KEY, ROLE).close(), size, pairs, slow_pairs)
    report_memory(sealed)


def compare_peers(folder: Path, plain: Path, ours: Job, size: int, pairs: int, slow_pairs: int) -> None:
    """`read_sealed` against other readers of the same content: above 1 we are faster."""
    write_cbc(plain, folder / "cbc")
    compare("`read_sealed` / AES-CBC, unauthenticated", lambda: read_cbc(folder / "cbc"), ours, pairs, size)
    fernet = Fernet(base64.urlsafe_b64encode(KEY))
    (folder / "fernet").write_bytes(fernet.encrypt(plain.read_bytes()))
    compare("`read_sealed` / Fernet", lambda: fernet.decrypt((folder / "fernet").read_bytes()), ours, slow_pairs, size)
    (folder / "fernet").unlink()
    pyrage = find_peer("pyrage", "its row")
    if pyrage is None:
        return
    identity = pyrage.x25519.Identity.generate()
    (folder / "age").write_bytes(pyrage.encrypt(plain.read_bytes(), [identity.to_public()]))
    compare("`read_sealed` / pyrage (age)", lambda: pyrage.decrypt((folder / "age").read_bytes(), [identity]), ours,
            slow_pairs, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=512, help="size of the content")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--slow-pairs", type=int, default=3, help="for peers that take many seconds")
    parser.add_argument("--folder", type=Path, help="where to put the files; by default a temporary folder")
    chosen = parser.parse_args()
    print(f"{chosen.mib} MiB, cryptography {version('cryptography')}, Python {platform.python_version()}, "
          f"{os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        run(Path(name), chosen.mib, chosen.pairs, chosen.slow_pairs)


if __name__ == "__main__":
    main()
