"""Files as people bring them, and the two commands that read them, run in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.commands.main import app
from foldpack.settings.strict_yaml import load_strict

N = 90
NAMES = ["cat", "dog", "owl"]
IDS = [f"img_{k}" for k in range(N)]
RNG = np.random.default_rng(11)
Y = RNG.integers(0, 3, N)
Y[:3] = [0, 1, 2]


def softmax_member(seed: int, spread: float = 1.0) -> np.ndarray:
    """(N, 3) probabilities that know the classes."""
    logits = 1.5 * np.eye(3)[Y] + np.random.default_rng(seed).normal(0, spread, (N, 3))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def frame_of(values: np.ndarray, names: list[str] | None = None, ids: list | None = None, id_name: str = "id"):
    """A frame with the ids first."""
    frame = pd.DataFrame(values, columns=names or NAMES)
    if ids is not None:
        frame.insert(0, id_name, ids)
    return frame


def write_csv(path: Path, values: np.ndarray, names: list[str] | None = None, ids: list | None = None, id_name="id"):
    frame_of(values, names, ids, id_name).to_csv(path, index=False)


class Commands:
    """`foldpack search` and `foldpack blend` in one folder; what they print is in `said`. Figures are not drawn."""

    def __init__(self, folder: Path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **more: file.write("<svg></svg>"))
        self.folder, self.capsys, self.said = folder, capsys, ""

    def search(self, *inputs, labels="y.csv", metric="log_loss", options=()) -> dict:
        """Runs `foldpack search e INPUTS` -> the numbers of its report."""
        self._run("search", "e", *inputs, "--labels", labels, "--metric", metric, "--spaces", "probability", *options)
        return json.loads(Path("ensembles/e.report.json").read_text())

    def alone(self, *inputs, **options) -> list[float]:
        """Every member's score alone, to four digits."""
        return [round(one["alone"], 4) for one in self.search(*inputs, **options)["members"]]

    def blend(self, *inputs, out="out.npy", options=()):
        """Runs foldpack blend on the last search -> what it wrote."""
        self._run("blend", "ensembles/e.yml", "--inputs", inputs[0], *inputs[1:], "--out", out, *options)
        return pd.read_csv(out) if out.endswith(".csv") else np.load(out)

    def yaml(self) -> dict:
        """The file that the search wrote, the keys of its one stage and of its files beside its own."""
        spec = load_strict(Path("ensembles/e.yml").read_text(), "ensembles/e.yml")
        return spec | spec["stages"][0] | spec["stages"][0]["files"]

    def _run(self, *arguments) -> None:
        self.capsys.readouterr()
        try:
            app([str(one) for one in arguments], standalone_mode=False)
        finally:
            self.said = self.capsys.readouterr().out
