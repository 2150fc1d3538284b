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


MEANING: dict[Exit, str] = {
    Exit.DONE: "everything that was asked for is done",
    Exit.BUG: "a bug of ours: a traceback",
    Exit.MENDABLE: "wrong use, an unreadable file, or the pack was refused; nothing was sent",
    Exit.SEVERAL: "the preflight found errors of several kinds; nothing was sent",
    Exit.REHEARSAL: "the kernel failed in the rehearsal; nothing was sent",
    Exit.CREDENTIALS: "no credentials, readable by others, or refused by Kaggle (401)",
    Exit.OWNER: "the credentials belong to another user than --owner",
    Exit.UNREACHABLE: "no way to Kaggle: network, proxy or name lookup",
    Exit.REFUSED: "Kaggle refused a request (400, 403, 413, or an error field)",
    Exit.FAILING: "Kaggle kept failing (429, 500 and above, time-outs, unreadable answers)",
    Exit.SLUG_TAKEN: "the kernel's slug or title belongs to another kernel (409)",
    Exit.DATASET: "a dataset failed, is public where it must be private, or never became current; nothing was pushed",
    Exit.SOURCES_DROPPED: "Kaggle saved the kernel without some of its sources",
    Exit.OTHER_REF: "Kaggle saved the kernel under another name than asked",
    Exit.UNCLEAR: "what Kaggle holds is not what was sent, or somebody else pushed at the same time",
    Exit.NO_SPACE: "no space left on the disk",
    Exit.RUNS: "runs of the ensemble are gone, or their weights changed since the search",
    Exit.BUSY: "another deploy of this ensemble is running",
    Exit.KERNEL_ERROR: "the kernel ended in an error",
    Exit.KERNEL_CANCELLED: "the kernel's session was cancelled",
    Exit.KERNEL_TIMED_OUT: "the kernel ran out of its time, or did not end within --wait-hours",
    Exit.QUOTA: "no accelerator hours left, or too many sessions are running",
    Exit.OUTPUT: "the kernel ended well, but its submission.csv is missing or wrong",
    Exit.SUBMISSION_REFUSED: "Kaggle refused the submission",
    Exit.SCORING_ERROR: "the submission ended in an error",
    Exit.NO_SCORE: "no score came in time; run the same command again",
    Exit.INTERRUPTED: "you stopped it with Ctrl-C; run the same command again",
}


class DeployError(FoldpackError):
    """A deploy that ended early. `exit_code` is what the command ends with."""

    def __init__(self, message: str, exit_code: Exit = Exit.MENDABLE) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)
