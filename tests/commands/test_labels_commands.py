"""Pseudo-labels, completion and students from the command line, and the settings that the how-to page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from planted import Planted
from small_house import tiny_config
from typer.testing import CliRunner

from foldpack.commands.main import app
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.extra_labels.labels_file import read_labels

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pseudo_labels.md"


def ran(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def written(place: Planted, run: str, **changes: object) -> Path:
    path = place.root / f"{run}.yml"
    path.write_text(yaml.safe_dump(place.config(run, **changes).model_dump(mode="json", exclude_defaults=True)))
    return path


def test_the_whole_way_by_commands(tmp_path: Path) -> None:
    place = Planted(tmp_path / "p", "labels", count=16)
    root, runs = place.root, ("--runs", place.root / "runs")
    data = ("--data", root)
    ran("train", written(place, "first", epochs=2, evaluate_every=1, keep=2), *data, "--folds", place.folds_csv, *runs)
    for items in ("test", "train", "oof"):
        said = ran("predict", "first", "--items", items, "--out", root / items, *data, *runs)
        assert ("may be too good" in said) == (items == "oof")
    said = ran("pseudo", root / "test", "--low", 0.9, "--high", 0.91, "--weigh", "--out", root / "pseudo")
    assert "pseudo: fold 3: 16 of 16 test items" in said
    said = ran("complete", root / "train", "--above", 0.1, "--out", root / "more")
    assert re.search(r"more: fold 3: \d+ labels of \d+ of 16 training items, those that they have included", said)
    for name, block in {"pseudo": "pseudo", "complete": "more", "distill": "oof"}.items():
        said = ran("train", written(place, name, epochs=1, evaluate_every=1, **{name: {"file": str(root / block)}}),
                   *data, "--folds", place.folds_csv, *runs)
        assert ("its out-of-fold score may be too good" in said) == (name == "distill")
    said = ran("average", "first", "--name", "mean", "--how", "greedy", *data, "--folds", place.folds_csv, *runs)
    assert "mean: oof f2 " in said
    assert read_labels(root / "more", "complete").items == "train"
    failed = CliRunner().invoke(app, ["pseudo", str(root / "test"), "--out", str(root / "x"), "--confidence", "0.9"])
    assert "--confidence does not choose among multilabel predictions" in str(failed.exception)


def shown() -> list[dict]:
    """The settings of the page."""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)]


@pytest.mark.parametrize("number", range(len(shown())))
def test_the_settings_that_the_page_shows_are_settings(number: int) -> None:
    whole = tiny_config().model_dump(mode="json")
    config = parse_config({**whole, **shown()[number]}, "page")
    assert isinstance(config, RunConfig) and config != tiny_config()
