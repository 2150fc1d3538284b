"""How a deploy may end: every exit code in one table, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum

from foldpack.errors import FoldpackError


class Exit(IntEnum):
    """Exit codes of `./deploy_kernel.py` and `foldpack quota`; docs/deploying.md explains each."""

    DONE = 0
    BUG = 1
    MENDABLE = 2
    SEVERAL = 3
    REHEARSAL = 4
    CREDENTIALS = 5
    OWNER = 6
    UNREACHABLE = 7
    REFUSED = 8
    FAILING = 9
    SLUG_TAKEN = 10
    DATASET = 11
    SOURCES_DROPPED = 12
    OTHER_REF = 13
    UNCLEAR = 14
    NO_SPACE = 15
    RUNS = 16
    BUSY = 17
    KERNEL_ERROR = 20
    KERNEL_CANCELLED = 21
    KERNEL_TIMED_OUT = 22
    QUOTA = 23
    OUTPUT = 24
    SUBMISSION_REFUSED = 30
    SCORING_ERROR = 31
    NO_SCORE = 32
    INTERRUPTED = 130


class DeployError(FoldpackError):
    """A deploy that ended early. `exit_code` is what the command ends with."""

    def __init__(self, message: str, exit_code: Exit = Exit.MENDABLE) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)
