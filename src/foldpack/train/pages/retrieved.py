"""A run of task embed, or the members of an ensemble as one: out-of-fold queries, galleries, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.protocol import Labelled
from foldpack.data.runs import Run, read_run
from foldpack.errors import DataError
from foldpack.look.sheet import Card
from foldpack.search.runs import require_same_rows
from foldpack.settings.ensemble import read_spec
from foldpack.train.extra_labels.sources import member_run
from foldpack.train.pages.neighbours import FoldSpace, joined_spaces, run_spaces
from foldpack.train.pages.run_log import run_folder
from foldpack.train.pages.thumbs import Thumbs


@dataclass(frozen=True, eq=False)
class Retrieved:
    """A run, or an ensemble as one, with its queries and galleries by fold. run: its targets are the identities of the
    competition; score: metric and number; labelled: the images of the run, row by row."""

    name: str
    run: Run
    score: tuple[str, float]
    spaces: list[FoldSpace]
    labelled: Labelled

    @property
    def names(self) -> list[str]:
        """Identities; the last may stand for none."""
        return self.run.meta.classes

    def identity(self, row: int) -> str:
        """Of an image of the run."""
        return self.names[int(self.run.targets[row])]

    def card(self, row: int, texts: list[str], thumbs: Thumbs) -> Card:
        """An image of the run."""
        items = self.labelled.items
        return Card(f"{self.run.ids[row]}, fold {self.run.fold[row]}", texts,
                    thumbs.of_file(items.images[row], items.reader, self.run.meta.channels))


def read_retrieved(name: str, runs: Path, root: Path) -> Retrieved:
    """name: of a finished run, or an ensemble's YAML; root: the competition's folder. Raises FoldpackError."""
    if name.endswith((".yml", ".yaml")):
        spec = read_spec(Path(name))
        members = [member for member in spec.last.members if member.weight > 0]
        if len(spec.stages) > 1 or spec.last.task != "embed":
            raise DataError(f"{name}: its last stage's task is '{spec.last.task}', after {len(spec.stages) - 1} "
                            "others; needed: one stage of task embed, whose vectors have neighbours")
        found = [member_run(member, runs, Path(name)) for member in members]
        require_same_rows(found)
        weights, title, score = [member.weight for member in members], spec.name, (spec.metric.name, spec.metric.oof)
    else:
        found = [read_run(run_folder(runs, name))]
        meta = found[0].meta
        if meta.embed is None:
            raise DataError(f"run '{meta.run}': its task is '{meta.task}'; needed: embed, whose vectors have "
                            "neighbours; for others there is `foldpack errors`")
        weights, title, score = [1.0], meta.run, (meta.metric, meta.score)
    first = found[0]
    labelled = find_adapter(first.meta.competition).train(root).take(first.ids, first.folder / "oof.csv")
    labelled.items.reader.prepare(labelled.items.images)
    spaces = joined_spaces([run_spaces(run, labelled.targets) for run in found], weights, name)
    return Retrieved(title, replace(first, targets=labelled.targets), score, spaces, labelled)
