"""The whole house: the packed kernel gives the numbers of the package, and ends well whatever its inputs are."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from small_house import OWNER, PROJECT, House, competition_of, load_entry, only, package_probs
from view_arrays import oof_array

from foldpack.competitions import answer_table
from foldpack.competitions.adapters import find_adapter
from foldpack.data.rows import Rows
from foldpack.data.runs import read_run
from foldpack.engine.deadline import OutOfTime, StageDeadline
from foldpack.engine.runlog import LOG_NAME
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.kernel.fallback import Fallback, make_fallback
from foldpack.kernel.options import kernel_options
from foldpack.kernel.stage import StageRunner
from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import parse_spec, spec_to_dict, write_spec
from packer.build.kernel_folder import build_kernel
from packer.build.stage import lay_out_keys
from packer.rehearse.process import BLOCKED, SANDBOX, lay_out_inputs, rehearse

DIGITS = find_adapter("digits")

LONG = "20"  # hours; the process is that of all tests, and its age counts


def test_a_packed_kernel_gives_the_out_of_fold_numbers_of_its_fold(house: House, tmp_path: Path) -> None:
    """One member, one fold, on the training images of that fold: the largest difference of a probability is 1e-5."""
    run, fold = read_run(house.runs / "tiny_efficientnet"), 1
    rows = np.flatnonzero(run.fold == fold)
    data = competition_of(tmp_path / "data", house.data / "train", [run.ids[row] for row in rows])
    write_spec(tmp_path / "one.yml", only(house.spec, "tiny_efficientnet", fold))
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(tmp_path / "one.yml", PROJECT / "src", house.runs, tmp_path / "build", OWNER, ring)
    inputs = lay_out_inputs(tmp_path, ("foldpack-digits", data), {build.dataset: build.weights})
    command = [sys.executable, "-I", str(SANDBOX), BLOCKED, str(build.script), "--input", str(inputs),
               "--output", str(tmp_path / "output"), "--probs", str(tmp_path / "probs.npy")]
    (tmp_path / "empty").mkdir()
    wanted = ("PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in wanted if name in os.environ}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = merge_view_probs(oof_array(run)[:, rows], "multiclass")
    probs = np.load(tmp_path / "probs.npy")
    assert probs.shape == expected.shape and probs.dtype == np.float32
    assert np.abs(probs - expected).max() <= 1e-5
    submission = pd.read_csv(tmp_path / "output" / "submission.csv", dtype=str)
    assert submission["id"].tolist() == [run.ids[row] for row in rows]
    score = (submission["label"].astype(int).to_numpy() == run.targets[rows]).mean()
    assert score == pytest.approx(run.meta.folds[fold].score)
    keys = ast.literal_eval(build.script.read_text().split("\nKEYS: dict[str, str] = ")[1].split("\n")[0])
    assert len(keys) == 1 and not any(key in done.stdout + done.stderr for key in keys.values())


def test_the_whole_ensemble_in_a_rehearsal_answers_as_the_package(house: House, tmp_path: Path) -> None:
    inputs = lay_out_inputs(tmp_path, ("foldpack-digits", house.data), {house.build.dataset: house.build.weights})
    done = rehearse(house.build.script, tmp_path, inputs)
    probs = package_probs(house, house.spec, house.data)
    table = pd.read_csv(done.submission, dtype=str)
    assert [[label] for label in table["label"]] == answers_of(
        Rows({"probs": probs}), house.spec.last.decision, house.spec.last.outputs).names
    assert "4 of 4 units" in done.log and "72 rows" in done.log
    assert not any(key in done.log for key in house.keys().values())
    answers = pd.read_csv(house.answers, dtype=str)
    assert (table["label"] == answers["label"]).mean() > 0.3  # 0.1 is chance


@pytest.fixture(scope="module")
def entry() -> ModuleType:
    """kernels/kernel.py, unpacked."""
    return load_entry()


@dataclass
class Kernel:
    """Runs the kernel in this process, on inputs that a test may damage."""

    entry: ModuleType
    house: House
    root: Path
    spec: dict
    keys: dict[str, str]
    log: Callable[[], str]

    @property
    def input(self) -> Path:
        return self.root / "input"

    @property
    def competition(self) -> Path:
        return self.input / "competitions" / "foldpack-digits"

    @property
    def weights(self) -> Path:
        return self.input / "datasets" / "someone" / "small-weights"

    @property
    def submission(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "output" / "submission.csv", dtype=str, keep_default_na=False)

    @property
    def outputs(self) -> dict:
        return self.spec["stages"][0]["outputs"]

    def run(self, *arguments: str, hours: str = LONG) -> int:
        return self.entry.main(self.spec, self.keys, ["--input", str(self.input), "--output",
                                                      str(self.root / "output"), "--hours", hours, *arguments])

    def is_prior(self) -> bool:
        """Whether the submission answers every id with the likeliest class of the training labels."""
        likeliest = self.outputs["names"][int(np.argmax(self.outputs["prior"]))]
        return len(self.submission) == 72 and set(self.submission["label"]) == {likeliest}


@pytest.fixture
def kernel(entry: ModuleType, house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kernel:
    inputs = tmp_path / "input"
    shutil.copytree(house.data, inputs / "competitions" / "foldpack-digits")
    shutil.copytree(house.build.weights, inputs / "datasets" / "someone" / "small-weights")
    return Kernel(entry, house, tmp_path, house.kernel_spec(), house.keys(), lambda: capsys.readouterr().out)


def test_the_entry_gives_the_probabilities_of_the_package(kernel: Kernel) -> None:
    assert kernel.run("--probs", str(kernel.root / "probs.npy")) == 0
    expected = package_probs(kernel.house, kernel.house.spec, kernel.house.data)
    assert np.abs(np.load(kernel.root / "probs.npy") - expected).max() <= 1e-5
    log = kernel.log()
    assert "4 of 4 units" in log and not any(key in log for key in kernel.keys.values())
    assert sorted(path.name for path in (kernel.root / "output").iterdir()) == [LOG_NAME, "submission.csv"]


def test_inputs_are_found_by_what_they_are(kernel: Kernel) -> None:
    """The older layout, a nested dataset, and sealed files that got other names."""
    shutil.move(kernel.competition, kernel.input / "foldpack-digits")
    shutil.rmtree(kernel.input / "competitions")
    for number, path in enumerate(sorted(kernel.weights.glob("*.sealed"))):
        target = kernel.input / "renamed" / "deep" / f"weights {number}.sealed"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    shutil.rmtree(kernel.input / "datasets")
    assert kernel.run() == 0
    assert len(kernel.submission) == 72 and not kernel.is_prior()


def test_broken_and_missing_images_get_the_prior_and_a_line(kernel: Kernel) -> None:
    spec = only(kernel.house.build.spec, "tiny_resnet", 0)
    kernel.spec = spec_to_dict(spec)
    ids = pd.read_csv(kernel.competition / "sample_submission.csv")["id"].tolist()
    (kernel.competition / "test" / f"{ids[3]}.png").write_bytes(b"broken")
    (kernel.competition / "test" / f"{ids[5]}.png").unlink()
    assert kernel.run("--probs", str(kernel.root / "probs.npy")) == 0
    probs, whole = np.load(kernel.root / "probs.npy"), package_probs(kernel.house, spec, kernel.house.data)
    prior = np.asarray(spec.last.outputs.prior, dtype=np.float32)
    assert np.abs(probs[[3, 5]] - prior).max() <= 1e-6
    others = np.delete(np.arange(72), [3, 5])
    assert np.abs(probs[others] - whole[others]).max() <= 1e-5
    log = kernel.log()
    assert "images: decoded 70, repaired 0, prior 2" in log
    assert f"{ids[3]}.png: cannot decode the image" in log and f"{ids[5]}.png: cannot decode the image" in log


def test_an_empty_test_set_gives_a_header(kernel: Kernel) -> None:
    (kernel.competition / "sample_submission.csv").write_text("id,label\n")
    assert kernel.run() == 0
    assert (kernel.root / "output" / "submission.csv").read_bytes() == b"id,label\n"


def test_no_time_leaves_the_prior_and_code_1(kernel: Kernel) -> None:
    assert kernel.run(hours="0.000001") == 1
    assert kernel.is_prior() and "no unit was finished in time" in kernel.log()


def test_what_was_finished_in_time_is_handed_in(kernel: Kernel, monkeypatch) -> None:
    """The deadline comes inside the second unit."""
    checks: list[int] = []

    def check(self: StageDeadline) -> None:
        checks.append(1)
        if len(checks) > 3 + 1:  # the batches of the first unit
            raise OutOfTime

    monkeypatch.setattr(StageDeadline, "check", check)
    assert kernel.run("--probs", str(kernel.root / "probs.npy")) == 0
    log = kernel.log()
    assert "deadline: inside True" in log and "1 of 4 units" in log
    first = package_probs(kernel.house, only(kernel.house.spec, "tiny_resnet", 0), kernel.house.data)
    assert np.abs(np.load(kernel.root / "probs.npy") - first).max() <= 1e-5


def test_missing_weights_are_named_and_the_prior_stands(kernel: Kernel) -> None:
    member = kernel.house.build.spec.members[1]
    (kernel.weights / str(member.folds[0].file)).unlink()
    assert kernel.run() == 2
    assert kernel.is_prior()
    assert f"sealed weights of {member.run}/fold0 are not below {kernel.input}; attach the weights" in kernel.log()
    shutil.rmtree(kernel.weights)
    assert kernel.run() == 2
    log = kernel.log()
    assert all(f"{member.run}/fold{k}" in log for member in kernel.house.build.spec.members for k in range(2))


def test_damaged_weights_and_a_wrong_key_are_code_2(kernel: Kernel) -> None:
    path = kernel.weights / str(kernel.house.build.spec.members[0].folds[0].file)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    assert kernel.run() == 2 and len(kernel.submission) == 72
    assert path.name in kernel.log()
    kernel.keys = {name: "0" * 64 for name in kernel.keys}
    assert kernel.run() == 2 and "error: " in kernel.log()


def test_the_keyless_script_says_what_it_is(kernel: Kernel) -> None:
    kernel.keys = {}
    assert kernel.run() == 2 and kernel.is_prior()
    assert "no key for the weights of tiny_resnet/fold0; run the script that holds its" in kernel.log()


def test_keys_may_come_in_a_dataset_of_their_own(kernel: Kernel) -> None:
    """The script then holds none, and a lost dataset is named."""
    kernel.spec["keys"] = "dataset"
    folder = kernel.input / "datasets" / "someone" / "small-keys"
    lay_out_keys(kernel.keys, folder, "someone/small-keys")
    kernel.keys = {}
    assert kernel.run() == 0 and not kernel.is_prior()
    (folder / "foldpack-keys.json").rename(folder / "other.json")
    assert kernel.run() == 2 and kernel.is_prior()
    assert f"no foldpack-keys.json below {kernel.input}; attach the private keys dataset" in kernel.log()


def test_without_the_competition_nothing_is_written(kernel: Kernel) -> None:
    shutil.rmtree(kernel.competition)
    assert kernel.run() == 2
    assert not (kernel.root / "output").exists()
    assert "attach the competition 'foldpack-digits' to the kernel" in kernel.log()


def test_a_spec_that_cannot_be_planned_leaves_the_fallback_in_the_rerun(kernel: Kernel, monkeypatch) -> None:
    """The first part has written it; the error comes before the kernel's own work."""
    make_fallback(kernel.spec, kernel.input, kernel.root / "output").write()
    share = [{"run": "tiny_resnet", "weight": 1.0}]
    plan = {"units": [{"run": "none", "fold": 0}], "prefixes": [{"members": share, "oof": 0.5}]}
    kernel.spec["stages"][0]["plan"] = plan
    for rerun, code in (("", 2), ("1", 0)):
        monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", rerun)
        assert kernel.run() == code and kernel.is_prior()
        log = kernel.log()
        assert "error: plan.units names fold 0 of run 'none'" in log and f"exit_code {code}" in log


def test_arguments_replace_the_paths_and_the_budget(house: House, monkeypatch) -> None:
    spec = parse_spec(house.kernel_spec())
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    options = kernel_options(["--input", "a", "--output", "b", "--hours", "0.5"], spec.name, spec.budget.hours)
    assert (options.input, options.output, options.hours) == (Path("a"), Path("b"), 0.5)
    assert options.scratch == Path("b/.foldpack")
    options = kernel_options([], spec.name, spec.budget.hours)
    assert (options.input, options.output, options.hours) == (Path("/kaggle/input"), Path("/kaggle/working"), 1.0)
    with pytest.raises(SystemExit) as caught:
        kernel_options(["--imput", "a"], spec.name, spec.budget.hours)
    assert caught.value.code == 2


@pytest.mark.parametrize("kind", ["Batch", "Interactive", ""])
def test_on_kaggle_arguments_are_ignored(monkeypatch, kind: str) -> None:
    """A notebook's runner brings arguments of its own, such as `-f connection.json`."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", kind)
    options = kernel_options(["-f", "x.json", "--hours", "3"], "small", 1.0)
    assert (options.input, options.output, options.hours) == (Path("/kaggle/input"), Path("/kaggle/working"), 1.0)


def test_every_submission_on_the_way_is_whole(kernel: Kernel, monkeypatch) -> None:
    """The prior, then one after each unit; each is checked as it would be found after a crash."""
    real, seen = answer_table.write_answers, []

    def write(path: Path, *rest: object) -> None:
        real(path, *rest)
        DIGITS.check(path, kernel.house.spec.last, kernel.competition)
        seen.append(path.read_bytes())

    monkeypatch.setattr("foldpack.kernel.fallback.write_answers", write)
    monkeypatch.setattr("foldpack.kernel.submission.write_answers", write)
    assert kernel.run() == 0
    assert len(seen) == 5 and len(set(seen)) > 2


def test_a_restart_keeps_the_better_submission_until_it_has_its_own(kernel: Kernel, monkeypatch) -> None:
    """Cut off after two units: the next process must not put the prior in their place, unless the pack is another."""
    finish, prior = StageRunner.finish, Fallback.write
    finished: list[int] = []
    priors: list[int] = []

    def cut_off(self, unit: int, whole: bool) -> None:
        finish(self, unit, whole)
        finished.append(unit)
        if len(finished) == 2:
            raise RuntimeError("the power is gone")

    def count(self) -> None:
        priors.append(1)
        prior(self)

    with monkeypatch.context() as patch:
        patch.setattr(StageRunner, "finish", cut_off)
        with pytest.raises(RuntimeError, match="the power is gone"):
            kernel.run()
    half = kernel.submission
    monkeypatch.setattr(Fallback, "write", count)
    with monkeypatch.context() as patch:
        patch.setattr(StageRunner, "work", lambda *_: None)
        assert kernel.run() == 0
    assert not priors and kernel.submission.equals(half) and "2 finished before" in kernel.log()
    (kernel.root / "output" / ".foldpack" / "units" / "classify" / "of-another-pack.rows").mkdir(parents=True)
    assert kernel.run() == 0 and priors == [1]
