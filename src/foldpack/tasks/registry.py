"""All tasks, by name. A kernel is handed those of its stages by the entry that the deploy writes."""

from __future__ import annotations

from foldpack.tasks.classify import CLASSIFY
from foldpack.tasks.embed import EMBED
from foldpack.tasks.protocol import Task
from foldpack.tasks.regress import REGRESS

TASKS: dict[str, Task] = {
    "classify": CLASSIFY,
    "embed": EMBED,
    "regress": REGRESS,
}
