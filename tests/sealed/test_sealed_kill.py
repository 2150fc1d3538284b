"""kill -9 at random moments while sealing: what is there is whole, and the next run leaves no litter."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foldpack.keyring.keyring import Keyring
from foldpack.keyring.store import seal_with_keyring
from foldpack.sealed.container import read_sealed

SEAL_FOREVER = """
import sys
from pathlib import Path
from foldpack.keyring.store import seal_with_keyring
source, target, keyring = map(Path, sys.argv[1:])
print("ready", flush=True)
while True:
    seal_with_keyring(source, target, "run/fold0", keyring=keyring)
"""


def kill_once(folder: Path, delay: float) -> None:
    """Start a process that seals again and again, and kill it `delay` seconds after its first seal began."""
    arguments = [str(folder / "plain"), str(folder / "a.sealed"), str(folder / "keyring")]
    child = subprocess.Popen([sys.executable, "-c", SEAL_FOREVER, *arguments], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    time.sleep(delay)
    child.kill()
    child.stdout.close()
    assert child.wait() == -9


def check(folder: Path, content: bytes) -> bool:
    """Whatever lies at the target is whole and has its key in the keyring -> whether litter was left by the kill."""
    target, ring = folder / "a.sealed", Keyring.load(folder / "keyring")
    if target.exists():
        # The file itself says which key it wants; its id is in its header.
        file_id = target.read_bytes()[20:36].hex()
        with read_sealed(target, ring.data_key(file_id), "run/fold0", ring.entry(file_id).header_sha256) as plaintext:
            assert plaintext.to_bytes() == content
    return any(path.suffix == ".tmp" for path in folder.iterdir())


def kill_and_check(folder: Path, times: int) -> int:
    """-> how many of the kills left a temporary file behind, so that the sweep had something to do."""
    rng, littered = random.Random(times), 0
    content = rng.randbytes(4 << 20)
    (folder / "plain").write_bytes(content)
    for _ in range(times):
        kill_once(folder, rng.uniform(0, 0.06))
        littered += check(folder, content)
        seal_with_keyring(folder / "plain", folder / "a.sealed", "run/fold0", keyring=folder / "keyring")
        assert sorted(os.listdir(folder)) == ["a.sealed", "keyring", "keyring.lock", "plain"]
        assert not check(folder, content)
        (folder / "keyring").unlink()  # keep it short: it holds a key for every seal
        if rng.random() < 0.5:
            (folder / "a.sealed").unlink()
        else:
            seal_with_keyring(folder / "plain", folder / "a.sealed", "run/fold0", keyring=folder / "keyring")
    return littered


def test_10_kills(tmp_path: Path) -> None:
    assert kill_and_check(tmp_path, 10) > 0


@pytest.mark.slow
def test_200_kills(tmp_path: Path) -> None:
    littered = kill_and_check(tmp_path, 200)
    print(f"{littered} of 200 kills left a temporary file, all swept by the next run")
    assert littered > 20
