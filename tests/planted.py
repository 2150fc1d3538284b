"""A competition of noise with labels by chance, so that nothing can be learned of an item but by having seen it.

Each item has a twin, the same picture but for a little noise: in the test set, or in the training set in another fold
and with a label of its own. An out-of-fold score above chance is a leak.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from foldpack.data.runs import RunMeta
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.run import train_run

FOLDS = 4
CLASSES = ["a", "b", "c", "d"]
SIDE = 8
NETWORK = '''from torch import nn


def make(pretrained=False, num_classes=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, num_classes))
'''
SETTINGS = """name: planted
slug: planted
train:
  source: {{kind: csv, file: train.csv}}
  id: '{{id}}'
  image: 'images/{{id}}.png'
test:
  source: {{kind: sample}}
  id: '{{id}}'
  image: 'images/{{id}}.png'
labels: {labels}
answer: {answer}
metric: {{name: {metric}}}
"""
KINDS = {
    "class": ("{kind: class, column: label}", "{kind: class, id: id, column: label}", "accuracy"),
    "labels": ("{kind: labels, column: label, separator: ' '}",
               "{kind: labels, id: id, column: label, separator: ' '}", "f2"),
    "values": ("{kind: values, columns: [label]}", "{kind: values, id: id, columns: [label]}", "rmse"),
}


class Planted:
    """The files, and what is trained on them."""

    def __init__(self, root: Path, kind: str = "class", twins: str = "test", count: int = 96, seed: int = 0) -> None:
        self.root, self.kind = root, kind
        chance = np.random.default_rng(seed)
        (root / "images").mkdir(parents=True)
        pictures = chance.integers(0, 256, (count, SIDE, SIDE, 3))
        fold = np.arange(count) % FOLDS
        truth = [self.label(chance) for _ in range(count)]
        ids = [f"t{row:03}" for row in range(count)]
        near = np.clip(pictures + chance.integers(-6, 7, pictures.shape), 0, 255)
        if twins == "train":
            pictures, fold = np.concatenate([pictures, near]), np.concatenate([fold, (fold + 1) % FOLDS])
            truth += [self.label(chance) for _ in range(count)]
            ids += [f"u{row:03}" for row in range(count)]
        tests = [f"x{row:03}" for row in range(count)]
        for name, picture in zip([*ids, *tests], np.concatenate([pictures, near]), strict=True):
            Image.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{name}.png")
        self.table = pd.DataFrame({"id": ids, "label": truth})
        self.table.to_csv(root / "train.csv", index=False)
        pd.DataFrame({"id": tests, "label": truth[0]}).to_csv(root / "sample_submission.csv", index=False)
        self.folds_csv = root / "folds.csv"
        pd.DataFrame({"id": ids, "fold": fold, "label": truth}).to_csv(self.folds_csv, index=False)
        (root / "nets.py").write_text(NETWORK)
        labels, answer, self.metric = KINDS[kind]
        (root / "competition.yml").write_text(SETTINGS.format(labels=labels, answer=answer, metric=self.metric))

    def label(self, chance: np.random.Generator) -> object:
        """By chance."""
        if self.kind == "class":
            return str(chance.choice(CLASSES))
        if self.kind == "values":
            return round(float(chance.normal()), 4)
        return " ".join(chance.permutation(CLASSES)[: chance.integers(1, 3)])

    def config(self, run: str, **changes: object) -> RunConfig:
        """A network that learns every item by heart."""
        loss = {"class": "cross_entropy", "labels": "bce", "values": "mse"}[self.kind]
        net = {"arch": f"{self.root / 'nets.py'}:make", "size": SIDE, "mean": [0.5] * 3, "std": [0.3] * 3}
        data: dict[str, object] = {
            "run": run, "competition": str(self.root / "competition.yml"), "metric": self.metric, "net": net,
            "task": "regress" if self.kind == "values" else "classify", "loss": {"name": loss},
            "optim": {"lr": 5e-3, "weight_decay": 0.0, "warmup_epochs": 0, "schedule": "constant"},
            "augment": {"hflip": 0.0}, "epochs": 12, "evaluate_every": 12, "batch_size": 16, "images": "memory"}
        return parse_config({**data, **changes}, "planted")

    def train(self, run: str, **changes: object) -> RunMeta:
        """Train all folds."""
        return train_run(self.config(run, **changes), self.root, self.folds_csv, self.root / "runs", lambda text: None)
