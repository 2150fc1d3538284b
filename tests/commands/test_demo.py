"""The one command: a small recipe from images to a scored offline kernel, and (slow) the demo itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_house import PROJECT, RUNS, House, tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.recipe import FOLDPACK, RecipeError, run_recipe, run_step
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import digits_score
from foldpack.errors import DataError
from foldpack.settings.ensemble import read_spec
from foldpack.settings.run import config_text

RECIPE = """
name: small
competition: digits
slug: my-digits
folds: {kind: stratified, count: 2}
runs: [tiny_resnet, tiny_efficientnet]
hours: 2.0
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only recipe is small. Its commands run in this process, to save their imports."""
    root = tmp_path / "project"
    (root / "configs" / "small").mkdir(parents=True)
    (root / "configs" / "small" / "recipe.yml").write_text(RECIPE)
    for run in RUNS:
        (root / "configs" / "small" / f"{run}.yml").write_text(config_text(tiny_config(run)))
    monkeypatch.chdir(root)

    def in_process(arguments: list[str]) -> None:
        assert run_app(foldpack, arguments[len(FOLDPACK):]) == 0

    monkeypatch.setattr("foldpack.commands.recipe.run_step", in_process)
    return root


def test_a_recipe_walks_the_whole_house_and_takes_up_what_is_done(house: House, project: Path, tmp_path: Path,
                                                                   capsys) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(house.runs, work / "runs")  # the folds are the same, so nothing is trained again
    said: list[str] = []
    result = run_recipe("small", house.data, work, said.append, keyring=tmp_path / "my keyring")
    assert (tmp_path / "my keyring").is_file() and not (Path.home() / ".config/foldpack/keyring").exists()
    kept = [line for line in said if line.endswith("finished before, kept")]
    assert len(kept) == 4
    assert result.metric.name == "accuracy" and 0.3 < result.metric.oof < 1
    assert not any("/kaggle/working" in line for line in said) and "end: rows 72" in "\n".join(said)
    output = capsys.readouterr().out
    assert "ensemble " in output and "pack " in output and "request:" not in output and '"slug"' not in output
    assert result.submission == work / "build/small/rehearsal/output/submission.csv"
    spec = read_spec(work / "ensembles" / "small.yml")
    assert spec.slug == "my-digits" and spec.budget.hours == 2.0
    assert sorted(path.name for path in work.iterdir()) == ["build", "ensembles", "folds", "runs"]
    inputs = work / "build/small/rehearsal/input"
    assert (inputs / "competitions/my-digits/sample_submission.csv").is_file()
    assert len(list(inputs.glob("datasets/*/small-weights/*.sealed"))) == 2 * len(spec.members)
    assert len(pd.read_csv(result.submission)) == 72
    assert 0.3 < digits_score(result.submission, house.answers)[1] < 1
    assert str(PROJECT) not in (work / "build/small/small.keyless.py").read_text()


def test_a_script_that_fails_is_named(tmp_path: Path) -> None:
    script = tmp_path / "fail.py"
    script.write_text("raise SystemExit(7)")
    with pytest.raises(RecipeError, match="fail.py a b ended with exit code 7; see above"):
        run_step([str(script), "a", "b"])


def test_the_score_counts_every_answer_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("id,label\na,1\nb,2\nc,3\nd,4\n")
    (tmp_path / "submission.csv").write_text("id,label\nd,4\na,1\nb,0\n")
    assert digits_score(tmp_path / "submission.csv", tmp_path / "answers.csv") == ("accuracy", 0.5)
    with pytest.raises(DataError, match="cannot read the table"):
        digits_score(tmp_path / "nothing.csv", tmp_path / "answers.csv")


@pytest.mark.slow
def test_the_demo_keeps_its_promise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(foldpack, ["demo", "--work", str(tmp_path)]) == 0
    lines = capfd.readouterr().out.splitlines()[-3:]
    found = re.fullmatch(r"oof accuracy ([01]\.\d{4})\nkernel accuracy ([01]\.\d{4})\nsubmission .*", "\n".join(lines))
    assert found is not None, lines
    oof, kernel = float(found[1]), float(found[2])
    assert kernel >= 0.975 and abs(kernel - oof) <= 0.01
    assert lines[2] == f"submission {tmp_path / 'build/digits/rehearsal/output/submission.csv'}"
    assert len(pd.read_csv(lines[2].removeprefix("submission "))) == 360
