"""The proof: the packed kernel, given the items of a fold, gives level 2's out-of-fold answer for them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from small_house import OWNER, PROJECT, RUNS, competition_of, tiny_config, write_small_folds

from foldpack.app.asking import AskedEnsemble
from foldpack.competitions.digits_source import write_digits
from foldpack.data.decode import PILLOW
from foldpack.data.runs import read_run
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.registry import get_metric
from foldpack.search.find import SearchOptions, find_ensemble
from foldpack.search.level2.files import write_level2
from foldpack.search.level2.fit import Level2Options, fit_level2, gather_candidates
from foldpack.search.run_rows import run_cells
from foldpack.search.runs import RunSearch, run_level2, run_options, run_spec
from foldpack.settings.ensemble import write_spec
from foldpack.train.run import train_run
from packer.build.kernel_folder import build_kernel
from packer.rehearse.process import BLOCKED, SANDBOX, lay_out_inputs

ACCURACY = get_metric("accuracy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two tiny runs of three folds, their blend with level 2 on top, believed or not."""
    root = tmp_path_factory.mktemp("level2")
    write_digits(root / "competition", root / "answers.csv", 360)
    write_small_folds(root / "competition", root / "folds.csv", 3)
    for run in RUNS:
        train_run(tiny_config(run), root / "competition", root / "folds.csv", root / "runs", lambda text: None)
    runs = [read_run(root / "runs" / run) for run in RUNS]
    asked = RunSearch(options=SearchOptions(spaces=["logit"]))
    cells = run_cells(runs)
    found = find_ensemble(cells, ACCURACY, runs[0].fold, run_options(runs, asked))
    spec = run_spec("small", runs, found, asked).with_last(plan=None)
    source = run_level2(runs, cells, found, spec)
    settings = {"lightgbm": {"num_leaves": 7, "learning_rate": 0.2}, "xgboost": {"max_depth": 3, "eta": 0.3}}
    options = Level2Options(settings=settings)
    table = gather_candidates(source.members, source.blend, source.prior, len(runs[0].ids), options)
    level2 = fit_level2(table, source.cells, runs[0].fold, ACCURACY, options=options)
    part = write_level2(root / "small", level2, ACCURACY, source.names)
    return root, runs, spec.with_last(level2=[part]), level2


def kernel_answer(root, spec, runs, fold, folder):
    """(rows, C) probabilities that the packed kernel saves for the items of a fold, with that fold's models alone."""
    members = [m.model_copy(update={"folds": [one for one in m.folds if one.fold == fold]}) for m in spec.members]
    boosters = [one for one in spec.boosters if one.fold == fold]
    part = spec.with_last(members=members, level2=[spec.last.level2[0].model_copy(update={"boosters": boosters})])
    write_spec(root / "small.yml", part)
    with Keyring.editing(folder / "keyring") as ring:
        build = build_kernel(root / "small.yml", PROJECT / "src", root / "runs", folder / "build", OWNER, ring)
    ids = [runs[0].ids[row] for row in np.flatnonzero(runs[0].fold == fold)]
    data = competition_of(folder / "data", root / "competition" / "train", ids)
    inputs = lay_out_inputs(folder, ("foldpack-digits", data), {build.dataset: build.weights})
    command = [sys.executable, "-I", str(SANDBOX), BLOCKED, str(build.script), "--input", str(inputs),
               "--output", str(folder / "output"), "--probs", str(folder / "probs.npy")]
    (folder / "empty").mkdir()
    wanted = ("PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in wanted if name in os.environ}
    done = subprocess.run(command, cwd=folder / "empty", env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return np.load(folder / "probs.npy")


def test_the_packed_kernel_reproduces_level_two_on_one_fold(trained, tmp_path):
    root, runs, spec, level2 = trained
    rows = runs[0].fold == 1
    answers = kernel_answer(root, spec, runs, 1, tmp_path)
    assert np.abs(answers - level2.cells.dense(level2.cells.values[0])[rows]).max() <= 1e-6
    score = ACCURACY(np.asarray(runs[0].targets)[rows], answers)
    assert score == pytest.approx(level2.per_fold[1], abs=1e-6)
    asked = AskedEnsemble(root / "small.yml", root / "runs", PILLOW)  # the browser demo says the same
    for place, row in enumerate(np.flatnonzero(rows)[:4]):
        said = asked.ask(root / "competition" / "train" / f"{runs[0].ids[row]}.png")
        assert np.abs(said.numbers - answers[place]).max() <= 1e-6


@pytest.mark.slow
def test_the_packed_kernel_reproduces_the_reported_score_of_level_two(trained, tmp_path):
    root, runs, spec, level2 = trained
    answers, scores = np.zeros((len(runs[0].ids), len(spec.last.outputs.names)), dtype=np.float32), []
    for fold in range(3):
        (tmp_path / str(fold)).mkdir()
        rows = runs[0].fold == fold
        answers[rows] = kernel_answer(root, spec, runs, fold, tmp_path / str(fold))
        scores.append(ACCURACY(np.asarray(runs[0].targets)[rows], answers[rows]))
    assert ACCURACY(np.asarray(runs[0].targets), answers) == pytest.approx(spec.last.level2[0].oof, abs=1e-6)
    assert np.mean(scores) == pytest.approx(spec.last.level2[0].nested, abs=1e-6)
