"""A process that trains in children of its own, which may be killed: they begin at once, as all is imported already.

Run as a program it reads orders, a line of JSON each, and says of each the process and, in the end, its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from foldpack.settings.run import parse_config

BATCH = "batch\n"


class Trainer:
    """Has runs trained, and kills."""

    def __init__(self, program: subprocess.Popen[str], data: Path, folds_csv: Path) -> None:
        self.program = program
        self.data = data
        self.folds_csv = folds_csv

    def train(self, config: dict[str, object], runs: Path, batches: int | None = None, seconds: float = 0.0) -> int:
        """Train a run -> exit code, -9 where it was killed: so many seconds after it began with so many batches."""
        assert self.program.stdin is not None and self.program.stdout is not None
        order = {"config": config, "data": str(self.data), "folds": str(self.folds_csv), "runs": str(runs)}
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        process = int(self.program.stdout.readline())
        while (line := self.program.stdout.readline()) == BATCH:
            if batches is not None and (batches := batches - 1) == 0:
                time.sleep(seconds)
                os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(int(line))


@contextmanager
def trainer(data: Path, folds_csv: Path) -> Iterator[Trainer]:
    """A process that waits for orders."""
    command = [sys.executable, "-P", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield Trainer(program, data, folds_csv)
        finally:
            assert program.stdin is not None
            program.stdin.close()


def main() -> None:
    """Read orders to the end."""
    from foldpack.train.loop.training import FoldTraining
    from foldpack.train.run import train_run

    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # it is killed, and the power stays
    learn = FoldTraining.learn

    def say_and_learn(self: FoldTraining, *batch: Any) -> tuple[float, int]:
        print(BATCH, end="", flush=True)
        return learn(self, *batch)

    FoldTraining.learn = say_and_learn  # type: ignore[method-assign]
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            print(os.getpid(), flush=True)
            log = open(order["runs"] + ".log", "a", buffering=1, encoding="utf-8")
            code = 1
            try:
                train_run(parse_config(order["config"], "order"), Path(order["data"]), Path(order["folds"]),
                          Path(order["runs"]), partial(print, file=log))
                code = 0
            except BaseException as failure:
                print(f"failed: {failure!r}", file=log)
            finally:
                os._exit(code)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
