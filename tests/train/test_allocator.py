"""Freed memory is kept by the process, where the C library can be asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from foldpack.train.allocator import keep_freed_memory

def faults():
    for _ in range(10):
        torch.ones(2**24)  # 64 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_large_tensors_reuse_freed_memory() -> None:
    """The pages that large tensors fault in, before the call and after it."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, said, after = done.stdout.split()
    assert said == "True" and int(after) < 1000 < int(before)
