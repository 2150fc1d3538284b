"""The hidden test set is not the one that was seen: empty, small, large, shuffled, odd. Every row is answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drilling import Drill, Trial
from PIL import Image


def ask_for(drill: Drill, folder: Path, table: pd.DataFrame, images: dict[str, str] | None = None) -> Trial:
    """A trial that is asked for `table`. images: new id -> the id whose image it gets."""
    trial = drill.own_inputs(folder)
    sample = trial.competition / "sample_submission.csv"
    sample.unlink()
    table.to_csv(sample, index=False)
    for new, old in (images or {}).items():
        shutil.copy(drill.house.data / "test" / f"{old}.png", trial.competition / "test" / f"{new}.png")
    return trial


def sample_of(drill: Drill) -> pd.DataFrame:
    return pd.read_csv(drill.house.data / "sample_submission.csv", dtype=str)


def answers_of(trial: Trial) -> pd.DataFrame:
    return pd.read_csv(trial.output / "submission.csv", dtype=str, keep_default_na=False)


def test_no_rows(drill: Drill, tmp_path: Path) -> None:
    trial = ask_for(drill, tmp_path, sample_of(drill).iloc[:0])
    assert drill.run(trial) == 0, trial.log
    assert trial.submission == b"id,label\n"


def test_one_row_and_a_tenth(drill: Drill, tmp_path: Path) -> None:
    for count in (1, 7):
        trial = ask_for(drill, tmp_path / str(count), sample_of(drill).iloc[5 : 5 + count])
        assert drill.run(trial) == 0, trial.log
        assert trial.require_valid() and len(answers_of(trial)) == count
        assert np.abs(trial.probs - drill.probs[5 : 5 + count]).max() <= 1e-5


def test_ten_times_the_rows(drill: Drill, tmp_path: Path) -> None:
    ids = sample_of(drill)["id"].tolist()
    images = {f"more {turn}-{item}": item for turn in range(10) for item in ids}
    trial = ask_for(drill, tmp_path, pd.DataFrame({"id": list(images), "label": 0}), images)
    assert drill.run(trial) == 0, trial.log
    assert trial.require_valid() and trial.probs.shape == (720, 10)
    assert np.abs(trial.probs.reshape(10, 72, 10) - drill.probs).max() <= 1e-5


def test_images_that_end_otherwise_than_the_adapter_says(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    for number, path in enumerate(sorted((trial.competition / "test").iterdir())):
        path.rename(path.with_suffix((".PNG", ".jpeg", ".tif")[number % 3]))  # the format is known by the content
    assert drill.run(trial) == 0, trial.log
    assert np.abs(trial.probs - drill.probs).max() <= 1e-5
    assert "72 of 72 images have another ending than expected and are taken, such as " in trial.log


def test_images_of_16_bits_that_use_12(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    for path in (trial.competition / "test").iterdir():
        grey = np.asarray(Image.open(path).convert("L"), dtype=np.uint16)
        path.unlink()
        Image.fromarray(grey * 16).save(path)
    assert drill.run(trial) == 0, trial.log
    assert "] warning: 72 images have 16 bits a channel but use only 12 of them (largest value " in trial.log


def test_more_images_than_the_sample_asks_for(drill: Drill, tmp_path: Path) -> None:
    trial = ask_for(drill, tmp_path, sample_of(drill).iloc[:5])
    assert drill.run(trial) == 0, trial.log
    told = "test: holds 67 images more than the 5 that sample_submission.csv asks for"
    [begin, end] = [line for line in trial.log.splitlines() if told in line]
    assert "] warning: " in begin and "] end: " in end and answers_of(trial).shape == (5, 2)


def test_shuffled(drill: Drill, tmp_path: Path) -> None:
    order = np.random.default_rng(5).permutation(72)
    trial = ask_for(drill, tmp_path, sample_of(drill).iloc[order])
    assert drill.run(trial) == 0, trial.log
    assert trial.require_valid()
    assert np.abs(trial.probs - drill.probs[order]).max() <= 1e-5
    assert answers_of(trial)["id"].tolist() == sample_of(drill)["id"].iloc[order].tolist()


def test_duplicate_ids_are_answered_row_by_row(drill: Drill, tmp_path: Path) -> None:
    rows = [0, 1, 2, 1, 1, 70]
    trial = ask_for(drill, tmp_path, sample_of(drill).iloc[rows])
    assert drill.run(trial) == 0, trial.log
    assert trial.require_valid()
    assert np.abs(trial.probs - drill.probs[[0, 1, 2, 70]]).max() <= 1e-5  # each is predicted once
    assert answers_of(trial)["label"].tolist() == [str(k) for k in drill.probs[rows].argmax(axis=1)]


def test_extra_columns_stay_as_the_sample_has_them(drill: Drill, tmp_path: Path) -> None:
    table = sample_of(drill)
    table.insert(0, "Usage", ["Public", "Private"] * 36)
    table["note"] = ""
    trial = ask_for(drill, tmp_path, table)
    assert drill.run(trial) == 0, trial.log
    assert trial.require_valid()
    got = answers_of(trial)
    assert list(got.columns) == ["Usage", "id", "label", "note"]
    assert got["Usage"].tolist() == table["Usage"].tolist() and set(got["note"]) == {""}
    whole = pd.read_csv(drill.house.data / "sample_submission.csv", dtype=str)
    assert got["id"].tolist() == whole["id"].tolist()
    assert got["label"].tolist() == [str(k) for k in drill.probs.argmax(axis=1)]


def test_rows_without_an_image_get_the_prior_and_are_counted(drill: Drill, tmp_path: Path) -> None:
    table = sample_of(drill)
    table.loc[3, "id"] = "no such image"
    table.loc[4, "id"] = ""
    trial = ask_for(drill, tmp_path, table)
    assert drill.run(trial) == 0, trial.log
    assert trial.require_valid()
    prior = np.asarray(drill.house.build.spec.last.outputs.prior, dtype=np.float32)
    assert np.abs(trial.probs[3:5] - prior).max() <= 1e-6
    others = np.delete(np.arange(72), [3, 4])
    assert np.abs(trial.probs[others] - drill.probs[others]).max() <= 1e-5
    assert "images: decoded 70, repaired 0, prior 2" in trial.log


@pytest.mark.parametrize("workers", [0, 2])
def test_a_test_folder_without_a_readable_image_is_an_error(drill: Drill, tmp_path: Path, workers: int) -> None:
    trial = drill.own_inputs(tmp_path)
    arguments = ("--workers", str(workers)) if workers else ()
    for number, path in enumerate(sorted((trial.competition / "test").iterdir())):
        path.unlink()
        if number:
            path.write_bytes(b"no image")
    for variables, expected in ((None, 2), ({"KAGGLE_IS_COMPETITION_RERUN": "1"}, 0)):
        (trial.folder / "log.txt").unlink(missing_ok=True)
        assert drill.run(trial, *arguments, variables=variables) == expected, trial.log
        assert f"error: {trial.competition / 'test'}: not one of the 72 test images can be read; " in trial.log
        assert "; attach the whole test folder that belongs to sample_submission.csv" in trial.log
        assert "end: rows 72, decoded 0, repaired 0, prior 72, units 0 of 4" in trial.log
        assert "unit 1 " not in trial.log  # nobody predicts black images for hours
        assert trial.require_valid()


def test_one_readable_image_is_enough(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    for path in sorted((trial.competition / "test").iterdir())[1:]:
        path.unlink()
    assert drill.run(trial) == 0, trial.log
    assert "end: rows 72, decoded 1, repaired 0, prior 71, units 4 of 4" in trial.log


def test_a_sample_that_is_no_table_is_refused_clearly(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    sample = trial.competition / "sample_submission.csv"
    sample.unlink()
    sample.write_text("id,label\na,0,0\nb,0\n")
    assert drill.run(trial) == 2
    assert "sample_submission.csv: cannot read the table" in trial.log
    sample.write_text("image,label\na,0\n")
    assert drill.run(trial) == 2
    assert "no sample_submission.csv with columns id, label" in trial.log
