"""`foldpack train --cluster`: the same bytes as one process gives, whatever dies, and refused where it could not be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
import safetensors.torch
from small_house import tiny_config, write_small_folds

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_meta, read_run
from foldpack.search.studies import open_storage
from foldpack.settings.run import RunConfig, config_text, read_config
from foldpack.train.cluster import workers as cluster_workers
from foldpack.train.cluster.connect import Wanted, connected
from foldpack.train.run import train_run

FOLDS = 2


@dataclass(frozen=True)
class Place:
    """A small competition, and a cluster of two workers that stays."""

    root: Path
    client: object
    address: str

    def command(self, runs: Path, *configs: RunConfig, data: Path | None = None) -> list[str]:
        """`foldpack train` of these configurations, on the cluster."""
        files = []
        runs.mkdir(parents=True, exist_ok=True)
        for config in configs:
            files.append(str(runs.parent / f"{config.run}.yml"))
            Path(files[-1]).write_text(config_text(config))
        places = ["--data", str(data or self.root / "data"), "--folds", str(self.root / "folds.csv")]
        return ["train", *files, *places, "--runs", str(runs), "--cluster", self.address]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("cluster")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", FOLDS)
    sorted((root / "data/train").rglob("*.*"))[5].write_bytes(b"no picture")  # one of 80; the runs leave it out
    (root / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(root / "tmp"))  # of the workers: decoded images go there
        patch.setattr(tempfile, "tempdir", None)
        with connected(Wanted(workers=2), "local:2", print) as client:
            client.wait_for_workers(2, timeout=60)
            yield Place(root, client, client.scheduler.address)


def quick(run: str, **changes: object) -> RunConfig:
    """A net of one patch: trains in no time."""
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    return tiny_config(run, **{"net": net, "epochs": 2, "augment": {"affine": 0.5, "mixup": 0.2}, "broken": "skip",
                               **changes})


@pytest.fixture(scope="module")
def alone(place: Place) -> Path:
    """The runs `first` and `second`, trained by this process."""
    for config in (first(), second()):
        train_run(config, place.root / "data", place.root / "folds.csv", place.root / "alone", lambda line: None)
    return place.root / "alone"


def first() -> RunConfig:
    """Of which a worker dies."""
    return quick("first", epochs=6)


def second() -> RunConfig:
    """With another seed, and two views."""
    return quick("second", seed=7, views=["hflip", "identity"])


def contents(folder: Path) -> dict[str, object]:
    """All that a run has found, without the seconds that it took."""
    meta = {**json.loads((folder / "meta.json").read_text()), "seconds_per_image": 0}
    for fold in meta["folds"]:
        fold["sha256"] = ""  # of a file that tells seconds, too
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
             if path.suffix in (".npy", ".csv", ".yml")}
    weights = {(path.name, name): tensor.numpy().tobytes() for path in sorted(folder.glob("fold?.safetensors"))
               for name, tensor in safetensors.torch.load_file(path).items()}
    assert weights and any(name.startswith("oof/") for name in files)
    return {**files, **weights, "meta": meta}


def entries(folder: Path, fold: int) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry for entry in lines if entry["fold"] == fold and "epoch" in entry]


def test_two_runs_are_the_same_bytes_as_one_after_the_other_and_are_kept(place: Place, alone: Path, tmp_path: Path,
                                                                         capsys) -> None:
    configs = [first(), second()]
    capsys.readouterr()
    command = place.command(tmp_path / "runs", *configs)
    assert run_app(foldpack, command) == 0
    said = capsys.readouterr().out
    for config in configs:
        assert contents(tmp_path / "runs" / config.run) == contents(alone / config.run)
        run = read_run(tmp_path / "runs" / config.run)
        assert run.meta.score >= 0 and len(run.ids) == 79  # one image is broken
        assert [len(entries(tmp_path / "runs" / config.run, fold)) for fold in range(FOLDS)] == [config.epochs] * 2
    assert "second fold 1 epoch 1: lr" in said and "first: oof accuracy" in said
    assert not list((tmp_path / "runs").glob(".cluster-*"))  # the token
    assert run_app(foldpack, command) == 0
    said = capsys.readouterr().out
    assert all(f"{config.run} fold {fold}: finished before, kept" in said for config in configs
               for fold in range(FOLDS))
    assert "epoch" not in said


def kill_when(path: Path, lines: int, pid: int) -> threading.Thread:
    """Kill a process once a log has so many lines."""
    def wait() -> None:
        while not path.exists() or path.read_text().count("\n") < lines:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread




def test_a_fold_that_fails_lets_other_runs_go_on(place: Place, tmp_path: Path, capsys) -> None:
    failing = quick("failing", optim={"lr": 1e30, "warmup_epochs": 0, "name": "sgd"})
    code = run_app(foldpack, place.command(tmp_path / "runs", failing, quick("fine", folds=[0])))
    told = capsys.readouterr()
    assert code == 2 and told.err.startswith("error: failing fold ") and "lower optim.lr" in told.err, told.err
    assert read_meta(tmp_path / "runs" / "fine").score >= 0
    assert not (tmp_path / "runs/failing/meta.json").exists()


def test_workers_that_do_not_see_the_data_train_nothing(place: Place, tmp_path: Path, monkeypatch, capsys) -> None:
    data = Path(shutil.copytree(place.root / "data", tmp_path / "data"))

    def away(*given):
        data.rename(tmp_path / "elsewhere")  # the client has read it by now
        return connected(*given)

    monkeypatch.setattr(cluster_workers, "connected", away)
    assert run_app(foldpack, place.command(tmp_path / "runs", quick("blind"), data=data)) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: worker tcp://127.0.0.1:") and message.count("\n") == 1
    assert f"cannot see the data folder {data}; mount it there under the same path" in message
    assert not (tmp_path / "runs" / "blind").exists()


def test_workers_with_another_foldpack_train_nothing(place: Place, tmp_path: Path, monkeypatch, capsys) -> None:
    here = cluster_workers.program_versions()
    monkeypatch.setattr(cluster_workers, "program_versions", lambda: here | {"foldpack": "0.0.9 of source abc"})
    assert run_app(foldpack, place.command(tmp_path / "runs", quick("old"))) == 2
    message = capsys.readouterr().err
    assert f"it has python {here['python']}, foldpack {here['foldpack']}" in message
    assert "here is python" in message and "foldpack 0.0.9 of source abc" in message
    assert not (tmp_path / "runs" / "old").exists()


class AfterTwo(optuna.pruners.BasePruner):
    """Stops the second trial after two epochs."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number == 1 and trial.last_step >= 1


def test_a_trial_that_lags_behind_is_stopped_in_midst_of_its_epochs(place: Place, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **given: AfterTwo())
    command = place.command(tmp_path / "runs", quick("tuned"))
    (tmp_path / "space.yml").write_text("epochs: {choice: [2, 1000]}\n")  # the second one would never end
    assert run_app(foldpack, ["tune", *command[1:], "--space", str(tmp_path / "space.yml"), "--trials", "1"]) == 0
    file = str(tmp_path / "runs/.tune/tuned.journal")
    study = optuna.load_study(study_name="tune/tuned", storage=open_storage(file))
    study.enqueue_trial({"epochs": 1000})
    assert run_app(foldpack, ["tune", *command[1:], "--space", str(tmp_path / "space.yml"), "--trials", "2"]) == 0
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 2]
    assert read_config(tmp_path / "tuned_tuned.yml").epochs == 2


def test_a_worker_that_is_killed_in_midst_of_a_fold_costs_no_fold(place: Place, alone: Path, tmp_path: Path,
                                                                  capsys) -> None:
    """The last of the quick tests: the worker that comes in its place need not be waited for."""
    victim = sorted(place.client.run(os.getpid).values())[0]
    capsys.readouterr()
    killer = kill_when(tmp_path / "runs/first/log.jsonl", 3, victim)
    assert run_app(foldpack, place.command(tmp_path / "runs", first())) == 0
    killer.join()
    assert victim not in place.client.run(os.getpid).values()
    assert contents(tmp_path / "runs/first") == contents(alone / "first")
    said = capsys.readouterr().out
    assert "its worker is gone, taken up by" in said and "goes on in epoch" in said
    assert sum(len(entries(tmp_path / "runs/first", fold)) for fold in range(FOLDS)) <= 6 * FOLDS + 1  # an epoch again


@pytest.mark.slow
def test_ctrl_c_ends_all_workers_and_keeps_what_is_done(place: Place, tmp_path: Path) -> None:
    import psutil

    command = [*place.command(tmp_path / "runs", quick("long", epochs=500, folds=[0]), quick("longer", epochs=500))]
    command[command.index("--cluster") + 1] = "local:2"
    process = subprocess.Popen([sys.executable, "-m", "foldpack.commands.main", *command], process_group=0,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for name in ("long", "longer"):
        while not (tmp_path / "runs" / name / "log.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.1)
    started = psutil.Process(process.pid).children(recursive=True)
    assert len([one for one in started if "foldpack.train.cluster.zygote" in one.cmdline()]) >= 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "interrupted; finished parts are kept\n"
    assert not psutil.wait_procs(started, timeout=20)[1]
    assert not list((tmp_path / "runs").glob(".cluster-*")) and not list(tmp_path.glob("runs/*/meta.json"))


@pytest.mark.slow
def test_a_scheduler_that_is_killed_is_an_error_and_finished_folds_are_kept(place: Place, tmp_path: Path) -> None:
    scheduler = subprocess.Popen([sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
                                  "--no-dashboard", "--scheduler-file", str(tmp_path / "file")],
                                 stderr=subprocess.DEVNULL)
    while not (tmp_path / "file").exists():
        time.sleep(0.1)
    address = json.loads((tmp_path / "file").read_text())["address"]
    worker = subprocess.Popen([sys.executable, "-m", "dask", "worker", address, "--no-dashboard", "--death-timeout",
                               "10"], stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        command = place.command(tmp_path / "runs", quick("short", folds=[0]), quick("long", epochs=5000))
        command[command.index("--cluster") + 1] = address
        process = subprocess.Popen([sys.executable, "-m", "foldpack.commands.main", *command],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "runs/long/log.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.1)
        scheduler.kill()
        _, err = process.communicate(timeout=90)
    finally:
        for one in (scheduler, worker):
            one.terminate()
            one.wait()
    assert process.returncode == 2 and "its scheduler is gone; what is finished is kept: run the command again" in err
    assert err.count("\n") == 1 and read_meta(tmp_path / "runs/short").score >= 0


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["distributed.LocalCluster", "dask_jobqueue.local.LocalCluster"])
def test_a_file_tells_how_workers_are_started(place: Place, tmp_path: Path, cluster: str) -> None:
    pytest.importorskip(cluster.partition(".")[0])
    kwargs = {"n_workers": 0, "threads_per_worker": 1} if cluster.startswith("distributed") else {
        "cores": 1, "memory": "2GB", "log_directory": str(tmp_path), "local_directory": str(tmp_path)}
    (tmp_path / "cluster.yml").write_text(json.dumps({"cluster": cluster, "scale": 1, "kwargs": kwargs}))
    command = place.command(tmp_path / "runs", quick("asked"))
    command[-1] = str(tmp_path / "cluster.yml")
    assert run_app(foldpack, command) == 0
    assert read_meta(tmp_path / "runs" / "asked").score >= 0
