"""What a search optimises, its kernel hands in: probabilities for log-loss, rankings for MAP@3, through files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from answered_as import answered_as
from small_house import OWNER, PROJECT, RUNS, House, package_probs

from foldpack.data.runs import read_run, write_meta
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.registry import get_metric
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import write_spec
from packer.build.kernel_folder import build_kernel
from packer.rehearse.process import lay_out_inputs, rehearse


@pytest.mark.parametrize(("metric", "kind"), [("log_loss", "probs"), ("map3", "ranking")])
def test_the_kernel_hands_in_what_was_optimised(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = answered_as(Path(), get_metric(metric), {"kind": "class", "column": "label"})
    runs = Path(shutil.copytree(house.runs, tmp_path / "runs"))
    for run in RUNS:
        write_meta(runs / run, read_run(runs / run).meta.model_copy(update={"competition": asked}))
    spec, _ = search_runs("asked", [runs / run for run in RUNS], RunSearch(metric=metric, hours=1.0))
    assert spec.last.decision.kind == kind
    names, data = spec.last.outputs.names, house.copy_data(tmp_path)
    sample = pd.read_csv(data / "sample_submission.csv", dtype=str)
    if kind == "probs":
        sample = sample[["id"]].assign(**dict.fromkeys(names, "0"))
        sample.to_csv(data / "sample_submission.csv", index=False)
    write_spec(tmp_path / "asked.yml", spec)
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(tmp_path / "asked.yml", PROJECT / "src", runs, tmp_path / "build", OWNER, ring)
    done = rehearse(build.script, tmp_path, lay_out_inputs(tmp_path, (spec.slug, data), {build.dataset: build.weights}))
    table, expected = pd.read_csv(done.submission, dtype=str), package_probs(house, spec, data)
    assert table["id"].tolist() == sample["id"].tolist() and list(table) == list(sample)
    truth = pd.read_csv(house.answers, dtype=str)["label"].map(names.index).to_numpy()
    if kind == "probs":
        handed_in = table[names].to_numpy(dtype=np.float64)
        assert np.abs(handed_in - expected).max() < 1e-5 and np.abs(handed_in.sum(axis=1) - 1).max() < 1e-5
    else:
        best = np.argsort(-expected, axis=1, kind="stable")[:, :3]
        assert table["label"].tolist() == [" ".join(names[k] for k in row) for row in best]
        handed_in = np.zeros(expected.shape)
        np.put_along_axis(handed_in, best, [[3, 2, 1]] * len(best), axis=1)
    score = get_metric(metric)(truth, handed_in)
    assert score == pytest.approx(get_metric(metric)(truth, expected), abs=1e-4)
