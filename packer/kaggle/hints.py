"""What known failures on Kaggle mean and what to do about them. docs/deploying.md has the same table."""

from __future__ import annotations

import re

HINTS: list[tuple[str, str]] = [
    (r"no kernel image is available|sm_60", "the session got a P100, which the image's torch cannot use: push with "
     "--accelerator NvidiaTeslaT4"),
    (r"CUDA out of memory|OutOfMemoryError", "the GPU's memory is too small for a batch of one; take out the largest "
     "member, or decode smaller"),
    (r"Your notebook tried to allocate more memory|exceeded .*memory|Killed", "the machine's memory ran out: "
     "what the networks and the blend need beside decoded images, which take at most 40 % of it; use fewer members"),
    (r"No space left on device", "the kernel's disk is full: 20 GB below /kaggle/working, for "
     "predictions and the submission; decoded images give way"),
    (r"no foldpack-keys|no wheel of|attach the|not found below", "an input is not attached or is an old version: look "
     "at the kernel's Input on its page, then deploy again"),
    (r"SealedError|sealed file|wrong key", "a sealed file is not the one that was packed: the session may have got an "
     "older dataset version; deploy again, which waits for the new one"),
    (r"ModuleNotFoundError|ImportError", "the image lacks a package: `foldpack image` says what the kernel needs; "
     "carry it with `vendor:` or `wheels:` in the ensemble"),
    (r"Temporary failure in name resolution|ConnectionError|URLError", "something wanted the internet, which is off; "
     "weights must come from the datasets"),
    (r"Notebook Timeout|timed? ?out|exceeded the .*time", "the session ran out of time: lower `budget.hours` below the "
     "competition's limit, or leave members out"),
    (r"Notebook Threw Exception", "Kaggle shows no more of a hidden rerun; see 'Notebook Threw Exception' in "
     "docs/deploying.md, and rehearse with --rehearse DIR"),
    (r"Exceeded Allowed Compute", "memory, disk or accelerator ran out in the hidden rerun, which has more items"),
    (r"Submission CSV Not Found", "the rerun ended before the fallback was written: look for an error in its first "
     "seconds"),
    (r"Submission Scoring Error", "rows, columns or types of submission.csv are not those that the competition "
                                  "wants; `foldpack check-submission` says which"),
]


def hints_for(text: str) -> list[str]:
    """The hints whose pattern occurs in a log or a failure message, in the table's order."""
    return [hint for pattern, hint in HINTS if re.search(pattern, text, re.IGNORECASE)]


def with_hints(message: str, text: str) -> str:
    """A message, followed by the hints for `text`."""
    return "\n".join([message, *(f"hint: {hint}" for hint in hints_for(text))])
