"""Runs as the members of a stage: with the way to retrieve that the search has chosen for them."""

from __future__ import annotations

from foldpack.data.runs import Run
from foldpack.search.retrieval.choice import with_retrieval
from foldpack.settings.retrieve import Neighbours, Retrieval
from foldpack.settings.stages import StageSpec


def as_member(run: Run, stage: StageSpec) -> Run:
    """The run as the kernel will use it."""
    if not isinstance(stage.fuse, Neighbours):
        return run
    [member] = [one for one in stage.members if one.run == run.meta.run]
    return with_retrieval(run, member.retrieve or Retrieval(neighbours=stage.fuse.neighbours))
