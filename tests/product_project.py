"""A project whose competition asks about products of one to three images each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.competitions.digits_source import write_digits

ADAPTER = '''"""Products, each shown by some images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.answer_table import AnswerTable, blank_table, read_answer_table
from foldpack.competitions.protocol import Labelled
from foldpack.data.answers import Answers, number_texts
from foldpack.data.items import Items, whole_images
from foldpack.errors import DataError
from foldpack.settings.stages import StageSpec


class Products:
    name, slug, task = "products", "the-products", "multiclass"
    sample_csv, id_column = "sample.csv", "product"

    def items(self, root: Path, split: str, asked: set[str] | None) -> tuple[Items, list[str]]:
        table = read_answer_table(root / f"{split}.csv", "image", ["product", "label"])
        said = table.cells()
        rows = [row for row, product in enumerate(said["product"]) if asked is None or product in asked]
        ids = [table.ids[row] for row in rows]
        items = whole_images(ids, [root / split / f"{item}.png" for item in ids],
                             answer=[said["product"][row] for row in rows])
        return items, [said["label"][row] for row in rows]

    def train(self, root: Path) -> Labelled:
        items, labels = self.items(root, "train", None)
        classes = sorted(set(labels))
        targets = np.array([classes.index(label) for label in labels])
        return Labelled(root / "train.csv", items, targets, classes, {"label": labels})

    def test(self, root: Path) -> Items:
        return self.items(root, "test", set(read_answer_table(root / self.sample_csv, self.id_column, []).ids))[0]

    def made_up(self, ids: list[str], stage: StageSpec) -> AnswerTable:
        return blank_table(self.id_column, ["label"], ids)

    def fill(self, answers: Answers, ids: list[str], sample: AnswerTable) -> AnswerTable:
        if answers.names is None:
            return sample.answered(ids, {"label": number_texts(answers.numbers[:, 0])})
        return sample.answered(ids, {"label": [" ".join(words) for words in answers.names]})

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        table = read_answer_table(path, self.id_column, ["label"])
        if "" in table.cells()["label"]:
            raise DataError(f"{path}: a product without a label")
        if root is not None and table.ids != read_answer_table(root / self.sample_csv, self.id_column, []).ids:
            raise DataError(f"{path}: its ids are not those of {self.sample_csv}")
'''


def write_products(project: Path, count: int = 240) -> Path:
    """`adapter.py` and the competition's folder, made of the digits: images of one digit are a product. The rows of the
    tables are mixed, so that images of one product do not follow each other. Returns the competition's folder."""
    project.mkdir(parents=True)
    (project / "adapter.py").write_text(ADAPTER)
    digits, data = project / "digits", project / "data"
    write_digits(digits, digits / "answers.csv", count)
    data.mkdir()
    dice = np.random.default_rng(5)
    for split, labels in (("train", "train.csv"), ("test", "answers.csv")):
        shutil.copytree(digits / split, data / split)
        table = pd.read_csv(digits / labels, dtype=str).sort_values("label", kind="stable").reset_index(drop=True)
        table["product"] = products_of(table["label"].tolist(), split)
        table = table.rename(columns={"id": "image"}).iloc[dice.permutation(len(table))]
        table[["image", "product", "label"]].to_csv(data / f"{split}.csv", index=False)
    asked = pd.DataFrame({"product": sorted(set(table["product"])), "label": "0"})
    asked.iloc[dice.permutation(len(asked))].to_csv(data / "sample.csv", index=False)
    return data


def products_of(labels: list[str], split: str) -> list[str]:
    """A product for each of some images that are sorted by label: of one image, of two, of three, and again."""
    names: list[str] = []
    left, number = 0, 0
    for row, label in enumerate(labels):
        if left == 0 or label != labels[row - 1]:
            number += 1
            left = number % 3 + 1
        left -= 1
        names.append(f"{split}{number:03d}")
    return names
