"""The Python of a made-up project: a task that finds dark blobs on pages, a network that says how dark they are, an
adapter that answers a page with a word for each of its blobs. Packable, as all that a kernel takes along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import nn

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.names import LabelsForm
from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.item_rules import ItemRules
from foldpack.competitions.protocol import Labelled
from foldpack.competitions.sources.csv_table import read_csv_table
from foldpack.data.answers import Answers
from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import Ragged
from foldpack.ensemble.box_fuser import BoxFuser
from foldpack.errors import DataError
from foldpack.models.classifier import MakeNet, build_classifier
from foldpack.predict.batch import Batch
from foldpack.predict.view import View
from foldpack.settings.answer_forms import LabelsAnswer
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import Boxes
from foldpack.settings.stages import StageSpec
from foldpack.tasks.protocol import OpenSealed

SHADES = ["light", "dark"]


class Blobs:
    """Finds what is darker than the page. The network's answer is not asked for."""

    name = "blobs"

    def layout(self, outputs: Boxes, items: Items) -> Ragged:
        return Ragged(len(items.ids), 24, outputs.most)

    def build(self, net: NetConfig, width: int, make: MakeNet | None = None) -> nn.Module:
        return build_classifier(net, width, make=make)

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        return net(pixels)

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        found = [blobs_of(page) for page in batch.images.mean(dim=1).numpy()]
        starts = np.concatenate([[0], np.cumsum([len(boxes) for boxes in found])]).astype(np.int64)
        box = np.concatenate(found).astype(np.float32)
        columns = {"box": box, "score": np.ones(len(box), np.float32), "label": np.zeros(len(box), np.int32)}
        return [Rows(columns, starts) for _ in views]

    def merge_views(self, views: list[Rows], how: str, outputs: Boxes) -> Rows:
        return views[0]

    def fuser(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> BoxFuser:
        return BoxFuser(stage)

    def fallback(self, outputs: Boxes, items: Items) -> Rows:
        none = {"box": np.zeros((0, 4), np.float32), "score": np.zeros(0, np.float32), "label": np.zeros(0, np.int32)}
        return Rows(none, np.zeros(len(items.ids) + 1, np.int64))


def blobs_of(page: np.ndarray) -> np.ndarray:
    """(k, 4) xyxy of the connected dark places of a normalised page."""
    labels, _ = ndimage.label(page < 0)
    slices = ndimage.find_objects(labels)
    return np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices]).reshape(-1, 4)


class ShadeNet(nn.Module):
    """(B, 3, H, W) normalised -> (B, 2) logits: darker than the edge, or not."""

    def __init__(self, num_classes: int, pretrained: bool) -> None:
        super().__init__()
        self.edge = nn.Parameter(torch.full((num_classes - 1,), 1.5))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        dark = -pixels.mean(dim=(1, 2, 3))
        return torch.stack([self.edge.expand(len(dark)), dark], dim=1)


class Lines(DeclaredCompetition):
    """A page is answered with a word for each of its boxes; one of which nothing is known with "?" or nothing."""

    task = "multilabel"

    def train(self, root: Path) -> Labelled:
        raise DataError("pages are not trained")

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """Words in the order of the boxes, the same as often as it stands there: a set of labels has each once."""
        return sample.answered(ids, {"label": [" ".join(words) for words in answers.names or []]})

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if strange := set(" ".join(table["label"]).split()) - {*SHADES, "?"}:
            raise DataError(f"{path}: '{min(strange)}' is no shade")
        if root is not None and table[self.id_column].tolist() != self.test(root).ids:
            raise DataError(f"{path}: its ids are not those of {self.sample_csv}")


LINES = Lines("lines", "lines", LabelsForm(LabelsAnswer(kind="labels", id="id", column="label")),
              ItemRules(read_csv_table, {"file": "sample_submission.csv"}, id="{id}", image="test/{id}.png"))
