"""Bad input on the command line: one line that names the thing and what to do, code 2, nothing left half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from small_house import House, load_app, tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.data.runs import checkpoint_path
from foldpack.settings.run import config_text
from packer.kaggle.exits import Exit

search, deploy = load_app("ensemble_search.py"), load_app("deploy_kernel.py")


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with one line and its code, and leave the files of `tmp_path` as they were."""

    def run(app: typer.Typer, *arguments: object, code: int = 2) -> str:
        def listing() -> dict[Path, int]:
            return {path: path.stat().st_mtime_ns if path.is_file() else 0 for path in tmp_path.rglob("*")
                    if path.name != "keyring.lock"}  # an empty file that keeps other commands out

        before = listing()
        capsys.readouterr()
        assert run_app(app, [str(argument) for argument in arguments]) == code
        shown = capsys.readouterr().err.strip()
        assert shown.count("\n") == 0 and shown.startswith("error: "), shown
        assert listing() == before
        return shown

    return run


FOLDS: list[tuple[str, Callable[[Path], object], list[str], str]] = [
    ("no folder", lambda data: shutil.rmtree(data), [], "train.csv: cannot read the table"),
    ("a file for a folder", lambda data: (shutil.rmtree(data), data.touch()), [], "train.csv: cannot read the table"),
    ("no table", lambda data: (data / "train.csv").unlink(), [], "is this the competition's folder?"),
    ("not text", lambda data: (data / "train.csv").write_bytes(b"\xff\x00\x01" * 50), [], "byte 0 is no utf-8"),
    ("wrong columns", lambda data: replace_text(data / "train.csv", "id,label", "image,class"), [],
     "column 'id' is missing: Allowed: image, class"),
    ("no rows", lambda data: (data / "train.csv").write_text("id,label\n"), [], "the table has no rows"),
    ("twice", lambda data: append_text(data / "train.csv", "digit_0001,7\n"), [], "id 'digit_0001' has label '7', "),
    ("no image", lambda data: append_text(data / "train.csv", "digit_9999,1\n"), [], "id 'digit_9999' has no image at"),
    ("no label", lambda data: append_text(data / "train.csv", "digit_9999,\n"), [], "id 'digit_9999' has no label"),
    ("competition", lambda data: None, ["--competition", "digit"], "unknown competition 'digit': did you mean"),
    ("kind", lambda data: None, ["--kind", "stratify"], "unknown kind of folds 'stratify': did you mean 'stratified'"),
    ("one fold", lambda data: None, ["--count", "1"], "count: input should be greater than or equal to 2, got 1"),
    ("many folds", lambda data: None, ["--count", "200"], "200 stratified folds, but the largest class has "),
    ("more folds than items", lambda data: None, ["--count", "500"], "500 folds from 288 items: at least 2 folds"),
    ("no groups", lambda data: None, ["--kind", "grouped"], "need a group for every item; name the group column"),
    ("group column", lambda data: None, ["--group-column", "patient"], "group column 'patient' is missing, got: id"),
    ("labels", lambda data: None, ["--kind", "multilabel"], "need a label matrix; use one of: stratified"),
]


def replace_text(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def append_text(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(("damage", "arguments", "message"), [case[1:] for case in FOLDS], ids=[c[0] for c in FOLDS])
def test_folds(house: House, tmp_path: Path, refuse, damage, arguments: list[str], message: str) -> None:
    data = house.copy_data(tmp_path)
    damage(data)
    chosen = {"--data": data, "--competition": "digits", "--kind": "stratified", "--out": tmp_path / "folds.csv"}
    chosen.update(zip(arguments[::2], arguments[1::2], strict=True))
    assert message in refuse(foldpack, "folds", *[part for pair in chosen.items() for part in pair])


def test_an_output_that_cannot_be_written(house: House, tmp_path: Path, refuse) -> None:
    (tmp_path / "file").touch()
    shown = refuse(foldpack, "folds", "--data", house.data, "--competition", "digits", "--kind", "stratified",
                   "--out", tmp_path / "file" / "folds.csv")
    assert str(tmp_path / "file") in shown and "check the path" in shown


CONFIGS = [
    ("metric: accuracy", "metric: acuracy", "metric 'acuracy' is not known: did you mean 'accuracy'"),
    ("metric: accuracy", "metric: f2", "metric 'f2' of labels does not fit the multiclass competition 'digits'"),
    ("arch: test_resnet", "arch: test_resnot", "unknown network 'test_resnot': did you mean 'test_resnet'"),
    ("epochs: 2", "epoch: 2", "unknown key 'epoch': did you mean 'epochs'"),
    ("epochs: 2", "epochs: two", "epochs: input should be a valid integer, got 'two'"),
    ("epochs: 2", "epochs: .nan", ".nan is not a finite number"),
    ("epochs: 2", "epochs: 2\nepochs: 3", "key 'epochs' is already set"),
    ("competition: digits", "competition: mnist", "unknown competition 'mnist': Allowed: digits, digits-retrieval, "),
    ("name: cross_entropy", "name: bce", "loss 'bce' does not fit a multiclass competition; allowed: cross_entropy"),
    ("views: [identity]", "views: [rotate]", "unknown view 'rotate': Allowed: identity, hflip"),
    ("name: adamw", "name: adamv", "optimiser 'adamv' cannot be built"),
    ("folds: null", "folds: [7]", "folds [7]; "),
    ("run: tiny_resnet", "", "key 'run' is missing"),
    ("kwargs: {}", "kwargs: {depth: 3}", "cannot be built"),
]


@pytest.mark.parametrize(("old", "new", "message"), CONFIGS, ids=[case[2][:30] for case in CONFIGS])
def test_train(house: House, tmp_path: Path, refuse, old: str, new: str, message: str) -> None:
    path = tmp_path / "tiny.yml"
    text = config_text(tiny_config())
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert message in refuse(foldpack, "train", path, "--data", house.data, "--folds", house.folds_csv,
                             "--runs", tmp_path / "runs")


def test_train_without_a_config_data_or_folds(house: House, tmp_path: Path, refuse) -> None:
    path = tmp_path / "tiny.yml"
    common = ["--runs", tmp_path / "runs"]
    assert "tiny.yml: cannot read it" in refuse(foldpack, "train", path, "--data", house.data, *common)
    path.write_text(config_text(tiny_config()))
    shown = refuse(foldpack, "train", path, "--data", house.data, "--folds", tmp_path / "no.csv", *common)
    assert "no.csv: cannot read the folds (" in shown and "make them with `foldpack folds`" in shown
    assert shown.count("no.csv") == 1 and "Errno" not in shown
    shown = refuse(foldpack, "train", path, "--data", tmp_path / "no", "--folds", house.folds_csv, *common)
    assert "no/train.csv: cannot read the table (" in shown and "is this the competition's folder?" in shown


def unfinish(runs: Path) -> None:
    (runs / "tiny_resnet" / "meta.json").unlink()


def cut_array(runs: Path) -> None:
    path = runs / "tiny_resnet" / "oof/view0/column.logits.npy"
    path.write_bytes(path.read_bytes()[:-4])


SEARCHES = [
    ("unknown run", None, ["best", "tiny_resnot"], "tiny_resnot: there is no such run; train it with `foldpack train`"),
    ("unfinished", unfinish, ["best", "tiny_resnet"], "tiny_resnet: the run is not finished (no meta.json)"),
    ("damaged", cut_array, ["best", "tiny_resnet"], "oof: missing or changed since the run was finished"),
    ("twice", None, ["best", "tiny_resnet", "tiny_resnet"], "a run is named twice: tiny_resnet, tiny_resnet"),
    ("metric", None, ["best", "tiny_resnet", "--metric", "acuracy"], "did you mean 'accuracy'"),
    ("misfit", None, ["best", "tiny_resnet", "--metric", "f2"],
     "metric 'f2' scores a set of labels an item, but a kernel hands in one class"),
    ("hours", None, ["best", "tiny_resnet", "--hours", "soon"], "time limit 'soon' is not understood"),
    ("no hours", None, ["best", "tiny_resnet", "--hours", "0"], "hours"),
    ("many hours", None, ["best", "tiny_resnet", "--hours", "25h"], "hours"),
    ("name", None, ["the best", "tiny_resnet"], "name"),
    ("path for a name", None, ["../best", "tiny_resnet"], "name"),
    ("slug", None, ["best", "tiny_resnet", "--slug", "a/b"], "slug"),
]


@pytest.mark.parametrize(("damage", "arguments", "message"), [c[1:] for c in SEARCHES], ids=[c[0] for c in SEARCHES])
def test_ensemble_search(house: House, tmp_path: Path, refuse, damage, arguments: list[str], message: str) -> None:
    runs = house.copy_runs(tmp_path)
    if damage is not None:
        damage(runs)
    assert message in refuse(search, *arguments, "--runs", runs, "--out", tmp_path / "ensembles")


def test_an_ensemble_is_written_into_a_folder(tmp_path: Path, refuse) -> None:
    shown = refuse(search, "a", "b", "--runs", tmp_path, "--out", tmp_path / "e.yml")
    assert "e.yml: the folder of ensembles is wanted; the first word, 'a', names the ensemble" in shown


def change_weights(root: Path) -> None:
    checkpoint_path(root / "runs" / "tiny_efficientnet", 1).write_bytes(b"other weights")


DEPLOYS = [
    ("no ensemble", lambda root: (root / "small.yml").unlink(), "small.yml: cannot read the ensemble"),
    ("broken", lambda root: (root / "small.yml").write_text("name: [\n"), "small.yml:"),
    ("key", lambda root: append_text(root / "small.yml", "budgett: {}\n"), "unknown key 'budgett': did you mean"),
    ("view", lambda root: replace_text(root / "small.yml", "hflip", "flip"), "unknown view 'flip': did you mean"),
    ("no run", lambda root: shutil.rmtree(root / "runs" / "tiny_efficientnet"), "there is no such run", Exit.RUNS),
    ("unfinished", lambda root: unfinish(root / "runs"), "the run is not finished", Exit.RUNS),
    ("weights", change_weights, "the weights changed since the search; run `foldpack search` again", Exit.RUNS),
    ("open keyring", lambda root: (root / "keyring").chmod(0o644), "others may read the keyring"),
    ("no keyring", lambda root: (root / "keyring").write_text("{}"), "not a foldpack keyring"),
]


@pytest.mark.parametrize(("damage", "message", "code"), [(*case, Exit.MENDABLE)[1:4] for case in DEPLOYS],
                         ids=[case[0] for case in DEPLOYS])
def test_deploy_kernel(house: House, tmp_path: Path, refuse, damage, message: str, code: Exit) -> None:
    house.copy_runs(tmp_path)
    shutil.copy(house.ensemble, tmp_path / "small.yml")
    shutil.copy2(house.keyring, tmp_path / "keyring")
    damage(tmp_path)
    assert message in refuse(deploy, tmp_path / "small.yml", "--dry-run", "--runs", tmp_path / "runs", "--build",
                             tmp_path / "build", "--keyring", tmp_path / "keyring", "--owner", "me", code=code)


def test_recipes(house: House, tmp_path: Path, refuse) -> None:
    shown = refuse(foldpack, "recipe", "digit", "--data", house.data, "--work", tmp_path)
    assert "unknown recipe 'digit': did you mean 'digits'? Allowed: clothing-mini, digits, " in shown
    shown = refuse(foldpack, "recipe", "digits", "--data", tmp_path / "nothing", "--work", tmp_path)
    assert "train.csv: cannot read the table" in shown


def test_in_a_shell_of_its_own(tmp_path: Path) -> None:
    """The real command: the code and the one line reach the shell."""
    command = [sys.executable, "-m", "foldpack.commands.main", "train", "no.yml", "--data", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == []
    assert done.stderr.startswith("error: no.yml: cannot read it (") and done.stderr.count("\n") == 1
