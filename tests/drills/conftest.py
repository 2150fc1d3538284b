"""The packed digits kernel, run again and again by a server that has imported torch once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drilling import Drill
from small_house import House

from foldpack.competitions.digits import DIGITS
from packer.rehearse.process import KEPT_VARIABLES, lay_out_inputs

SERVER = Path(__file__).with_name("fork_server.py")


@pytest.fixture(scope="session")
def drill(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """A warm server, and the answer of an unbroken run."""
    root = tmp_path_factory.mktemp("drills")
    inputs = lay_out_inputs(root, (DIGITS["slug"], house.data), {house.build.dataset: house.build.weights})
    command = [sys.executable, "-I", str(SERVER), str(house.build.script)]
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
                              env=kept | {"HOME": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        made = Drill(house, server, inputs, root)
        whole = made.trial()
        started = time.monotonic()
        assert made.run(whole) == 0, whole.log
        made.seconds = time.monotonic() - started
        made.unbroken, made.probs = whole.answer(), whole.probs
        whole.require_tidy()
        yield made
    finally:
        server.kill()
        server.wait()
