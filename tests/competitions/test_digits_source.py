"""The embedded digits: the same bytes at every call, held-out labels beside the competition and not in it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from one_decoded import decode_image

from foldpack.competitions.digits_source import write_digits
from foldpack.data.geometry import CanvasKind


def test_a_whole_competition_is_written(tmp_path: Path) -> None:
    root = tmp_path / "competition"
    write_digits(root, tmp_path / "answers.csv", 120)
    train, sample = (pd.read_csv(root / name) for name in ("train.csv", "sample_submission.csv"))
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert (len(train), len(sample)) == (96, 24) and not set(train["id"]) & set(sample["id"])
    assert sample["id"].tolist() == answers["id"].tolist() and answers["label"].nunique() == 10
    assert (sample["label"] == 0).all()  # the sample gives nothing away
    assert sorted(path.name for path in root.iterdir()) == ["sample_submission.csv", "test", "train", "train.csv"]
    assert sorted(path.stem for path in (root / "test").iterdir()) == sorted(sample["id"])
    assert decode_image(root / "train" / f"{train['id'][0]}.png", CanvasKind(32)).std() > 20


def test_writing_twice_gives_the_same_bytes_and_keeps_what_is_there(tmp_path: Path) -> None:
    for name in ("a", "b", "b"):
        write_digits(tmp_path / name, tmp_path / f"{name}.csv", 100)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 102
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
