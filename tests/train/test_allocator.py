"""Freed memory is kept by the process, where the C library can be asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from foldpack.train.allocator import keep_freed_memory
print(keep_freed_memory() if {asked} else None)
for _ in range(20):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(asked: bool) -> tuple[str, int]:
    """What the call says in a new process, and the pages that ten large tensors then fault in."""
    script = FAULTS.format(asked=asked)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said, faults = done.stdout.split()
    return said, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_large_tensors_reuse_freed_memory() -> None:
    said, faults = page_faults(asked=True)
    assert said == "True" and faults < 1000 < page_faults(asked=False)[1]
