"""A project outside the clone, with an adapter, a network, a metric and a loss of its own: from images to a kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from foldpack.commands.main import app
from foldpack.commands.project import tool_source
from foldpack.commands.recipe import RecipeResult, run_recipe
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_meta
from foldpack.settings.ensemble import read_spec
from packer.build.where import verify_script

ADAPTER = '''"""Drawings that lie in a folder for what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.answer_table import AnswerTable, blank_table, read_answer_table
from foldpack.competitions.protocol import Labelled
from foldpack.data.answers import Answers
from foldpack.data.items import Items, whole_images
from foldpack.errors import DataError
from foldpack.settings.stages import StageSpec
from paths import TEST_FOLDER


class Drawings:
    name, slug, task = "drawings", "the-drawings", "multiclass"
    sample_csv, id_column = "answers.csv", "image"

    def train(self, root: Path) -> Labelled:
        paths = sorted((root / "train").glob("*/*.png"))
        kinds = [path.parent.name for path in paths]
        classes = sorted(set(kinds))
        targets = np.array([classes.index(kind) for kind in kinds])
        return Labelled(root / "train", whole_images([path.stem for path in paths], paths), targets, classes,
                        {"kind": kinds})

    def test(self, root: Path) -> Items:
        ids = read_answer_table(root / self.sample_csv, self.id_column, []).ids
        return whole_images(ids, [root / TEST_FOLDER / f"{item}.png" for item in ids])

    def made_up(self, ids: list[str], stage: StageSpec) -> AnswerTable:
        return blank_table(self.id_column, ["kind"], ids)

    def fill(self, answers: Answers, ids: list[str], sample: AnswerTable) -> AnswerTable:
        return sample.answered(ids, {"kind": ["".join(words) for words in answers.names or []]})

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        table = read_answer_table(path, self.id_column, ["kind"])
        if strange := set(table.cells()["kind"]) - set(stage.outputs.names):
            raise DataError(f"{path}: '{min(strange)}' is no kind of drawing")
        if root is not None and table.ids != self.test(root).ids:
            raise DataError(f"{path}: its ids are not those of {self.sample_csv}")
'''
PATHS = '''"""Where things lie."""

from __future__ import annotations

TEST_FOLDER = "unknown"
'''
MODELS = '''"""A network of our own."""

from __future__ import annotations

from torch import nn


def make_net(num_classes: int, pretrained: bool, width: int) -> nn.Module:
    """(B, 3, 32, 32) -> (B, num_classes)."""
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(18 * width, num_classes))
'''
METRIC = "needs = 'class'\n\n\ndef share_right(y, p):\n    return float((y == p).mean())\n"
LOSSES = '''def focal(outputs, targets, gamma):
    probs = outputs.softmax(1).clamp(min=1e-6)
    return -(targets * (1 - probs) ** gamma * probs.log()).sum(1).mean()
'''
CONFIG = '''run: tiny
competition: adapter.py:Drawings
net: {arch: models.py:make_net, size: 32, kwargs: {width: 8}}
loss: {name: losses.py:focal, kwargs: {gamma: 1.0}}
metric: metric.py:share_right
optim: {lr: 0.01, warmup_epochs: 0}
augment: {hflip: 0.0}
epochs: 3
batch_size: 16
'''
RECIPE = '''name: drawings
competition: adapter.py:Drawings
folds: {kind: stratified, count: 2}
runs: [tiny]
hours: 1
'''
DEPLOY = ["deploy", "work/ensembles/drawings.yml", "--dry-run", "--runs", "work/runs", "--keyring", "keyring"]


def write_project(folder: Path) -> Path:
    """The files of the project and its data, made of the digits."""
    files = {"adapter.py": ADAPTER, "paths.py": PATHS, "models.py": MODELS, "metric.py": METRIC, "losses.py": LOSSES,
             "configs/drawings/tiny.yml": CONFIG, "configs/drawings/recipe.yml": RECIPE}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    digits, data = folder.parent / "digits", folder / "data"
    write_digits(digits, folder.parent / "answers.csv", 200)
    train = pd.read_csv(digits / "train.csv", dtype=str)
    for item, label in zip(train["id"], train["label"], strict=True):
        (data / "train" / f"digit {label}").mkdir(parents=True, exist_ok=True)
        shutil.copy(digits / "train" / f"{item}.png", data / "train" / f"digit {label}" / f"{item}.png")
    shutil.copytree(digits / "test", data / "unknown")
    sample = pd.read_csv(digits / "sample_submission.csv", dtype=str)
    sample.rename(columns={"id": "image", "label": "kind"}).to_csv(data / "answers.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecipeResult]:
    """The project after `foldpack recipe drawings`."""
    project = write_project(tmp_path_factory.mktemp("own") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        result = run_recipe("drawings", Path("data"), Path("work"), lambda said: None, project / "keyring")
    return project, result


@pytest.fixture
def project(walked: tuple[Path, RecipeResult], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(walked[0])
    return walked[0]


def test_the_whole_walk_ends_with_an_answer_to_every_image(walked: tuple[Path, RecipeResult]) -> None:
    project, result = walked
    answers = pd.read_csv(result.submission, dtype=str)
    assert list(answers.columns) == ["image", "kind"] and len(answers) == 40
    truth = pd.read_csv(project.parent / "answers.csv", dtype=str)
    right = (answers["kind"] == "digit " + truth["label"]).mean()
    assert right > 0.3 and result.metric.oof > 0.3  # ten kinds
    assert result.metric.name == "share_right"


def test_the_run_and_the_ensemble_name_what_is_the_projects_own(project: Path) -> None:
    meta = read_meta(project / "work/runs/tiny")
    assert (meta.competition, meta.network) == ("adapter.py:Drawings", "models.py:make_net")
    spec = read_spec(project / "work/ensembles/drawings.yml")
    assert spec.competition == "adapter.py:Drawings" and spec.slug == "the-drawings"
    assert [member.network for member in spec.last.members] == ["models.py:make_net"]
    assert (spec.metric.name, spec.metric.answer) == ("share_right", "class")


def test_the_script_has_the_files_that_the_ensemble_names_and_no_others(project: Path) -> None:
    script = (project / "work/build/drawings/drawings.keyless.py").read_text()
    for kept in ("adapter.py", "paths.py", "models.py", "entry.py"):
        assert f"# ======== {kept} ========" in script
    assert "def make_net(" in script and "class Drawings:" in script
    for left_out in ("foldpack-digits", "imet-2019", "class DeclaredCompetition", "def focal(",
                     "def share_right(", "load_code"):
        assert left_out not in script
    verdict = verify_script(script, tool_source())
    assert verdict.identical, verdict.difference


def test_the_same_inputs_give_the_same_script(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "work/build/sealed", tmp_path / "build/sealed")
    assert run_app(app, [*DEPLOY, "--build", f"{tmp_path}/build"]) == 0
    again, first = tmp_path / "build/drawings", project / "work/build/drawings"
    assert (again / "drawings.keyless.py").read_bytes() == (first / "drawings.keyless.py").read_bytes()


@pytest.mark.parametrize(("old", "new", "said"), [
    ("from torch import nn", "import lightly\nfrom torch import nn", "models.py:5: rule 2: 'lightly' is not on the"),
    ("    return nn", "    from paths import TEST_FOLDER\n    return nn", "models.py:10: rule 1: `from paths import"),
    ("def make_net(", "def normalise(): ...\n\n\ndef make_net(", "rule 3: "),
    ("def make_net(", "def other_net(", "network models.py:make_net: models.py defines no 'make_net' at its top"),
])
def test_a_file_that_cannot_be_packed_is_named_with_the_rule(project: Path, capsys, old: str, new: str,
                                                             said: str) -> None:
    try:
        (project / "models.py").write_text(MODELS.replace(old, new))
        assert run_app(app, [*DEPLOY, "--build", "work/build"]) == 2
    finally:
        (project / "models.py").write_text(MODELS)
    assert said in capsys.readouterr().err


def test_files_of_the_project_are_missed_with_a_clear_word(project: Path, tmp_path: Path, capsys,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_app(app, ["train", f"{project}/configs/drawings/tiny.yml", "--data", f"{project}/data"]) == 2
    said = capsys.readouterr().err
    assert f"competition adapter.py:Drawings: there is no file adapter.py in {tmp_path}; run the command in" in said
