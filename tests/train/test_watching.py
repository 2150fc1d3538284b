"""What is seen of a training while it runs: measured numbers, bars on a terminal, lines in a pipe, trackers."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pty
import re
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from small_house import tiny_config, write_small_folds

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.settings.run import ConfigError, RunConfig, config_hash, config_text
from foldpack.train.run import train_run
from foldpack.train.watch.bars import bar_rows, numbers_line, training_bars
from foldpack.train.watch.trackers import Trackers, flat, require_trackers
from foldpack.train.watch.watch import Standing, Watch, resident_memory


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 digits in 2 folds. Read only."""
    root = tmp_path_factory.mktemp("watch")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv")
    return root


def quick(**changes: object) -> RunConfig:
    """A net of one patch: trains in no time."""
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    return tiny_config("tiny", **{"net": net, "epochs": 2, **changes})


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def watched(config: RunConfig, folds: int, batches: int, first: int = 0) -> Standing:
    """The second fold after so many batches of 8 images, half a second each, 10 an epoch. first: epoch."""
    clock, seen = Clock(), list[Standing]()
    watch = Watch(config, folds, lambda standing: seen.append(replace(standing)), clock=clock)
    watch.begin_fold(1, 1)
    for batch in range(batches):
        if batch % 10 == 0:
            watch.begin_epoch(first + batch // 10, 10)
        clock.seconds += 0.5
        watch.end_batch(8, 16.0)
    return seen[-1]


def test_speed_loss_and_time_left_follow_from_the_clock() -> None:
    now = watched(quick(epochs=4), 5, 13)
    assert (now.fold, now.place, now.epoch, now.share) == (1, 1, 1, 0.3)
    assert now.loss == 2.0 and now.images_per_second == pytest.approx(16)
    assert now.epoch_left == pytest.approx(3.5) and now.fold_left == pytest.approx(13.5)
    assert now.run_left == pytest.approx(13.5 + 3 * 20)  # three folds of four epochs still
    assert now.run_share == pytest.approx((1 + 13 / 40) / 5)
    assert [title for title, _, _ in bar_rows(now)] == ["tiny", "fold 1, 2 of 5", "epoch 1, 2 of 4"]
    assert bar_rows(now)[1][1:] == (pytest.approx(13 / 40), "0:00:14 left")


def test_a_fold_that_is_taken_up_again_is_not_taken_for_a_fast_one() -> None:
    now = watched(quick(epochs=4), 2, 5, first=2)
    assert now.fold_share == pytest.approx(2.5 / 4) and now.fold_left == pytest.approx(7.5)


def test_it_is_drawn_at_most_twice_a_second() -> None:
    clock, seen = Clock(), list[float]()
    watch = Watch(quick(), 1, lambda standing: seen.append(clock.seconds), clock=clock)
    watch.begin_fold(0, 0)
    watch.begin_epoch(0, 1000)
    for _ in range(1000):
        clock.seconds += 0.01
        watch.end_batch(1, 0.0)
    assert 18 <= len(seen) <= 21


def test_the_best_score_follows_the_metric() -> None:
    for metric, best in (("accuracy", (0.75, 1)), ("log_loss", (0.5, 0))):
        watch = Watch(quick(metric=metric), 1)
        watch.begin_fold(0, 0)
        for epoch, score in enumerate((0.5, 0.75)):
            watch.begin_epoch(epoch, 1)
            watch.end_epoch({"score": score})
        assert (watch.standing.best, watch.standing.best_epoch) == best
    watch.begin_fold(1, 1)
    assert watch.standing.best is None


def test_the_line_of_numbers_has_what_is_known() -> None:
    now = Standing("r", "accuracy", 1, 2, loss=0.43211, memory=2_100_000_000)
    assert numbers_line(now) == "loss 0.4321, 2.1 GB"
    now = replace(now, score=0.9, best=0.91, best_epoch=3, images_per_second=1234.4, gpu=3_000_000_000)
    assert numbers_line(now) == ("loss 0.4321, accuracy 0.9000, best 0.9100 in epoch 3, 1,234 images/s, 2.1 GB, GPU "
                                 "3.0 GB")


def test_memory_is_that_of_this_process() -> None:
    before = resident_memory()
    held = mmap.mmap(-1, 64 << 20)  # of its own: training may have kept memory that is free
    held.write(bytes([1]) * (64 << 20))
    assert 50 << 20 < resident_memory() - before < 200 << 20


def test_the_log_has_speed_and_memory(place: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train_run(quick(), place / "data", place / "folds.csv", tmp_path / "runs", said.append)
    entries = [json.loads(line) for line in (tmp_path / "runs/tiny/log.jsonl").read_text().splitlines()]
    for entry in (entry for entry in entries if "epoch" in entry):
        # 40 images of a fold, of which 32 are whole batches
        assert entry["images_per_second"] >= 32 / entry["seconds"] * 0.9 and 50 < entry["memory_mib"] < 50_000
    assert sum(" images/s, epochs to go: " in line for line in said) == 4


def train_command(place: Path, tmp_path: Path) -> int:
    """`foldpack train`; its exit code."""
    (tmp_path / "tiny.yml").write_text(config_text(quick(epochs=3)))
    folders = ["--data", str(place / "data"), "--folds", str(place / "folds.csv"), "--runs", str(tmp_path / "runs")]
    return run_app(foldpack, ["train", str(tmp_path / "tiny.yml"), *folders])


def read_terminal(leader: int, parts: list[bytes]) -> None:
    """All that is written to a pseudo-terminal."""
    with contextlib.suppress(OSError):  # of Linux, when the last writer is gone
        while part := os.read(leader, 1 << 16):
            parts.append(part)


def test_a_terminal_gets_bars_below_the_lines(place: Path, tmp_path: Path, monkeypatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = pty.openpty()
    parts: list[bytes] = []
    reader = Thread(target=read_terminal, args=(leader, parts))
    reader.start()
    with open(follower, "w", encoding="utf-8", closefd=False) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        code = train_command(place, tmp_path)
    os.close(follower)
    reader.join()
    os.close(leader)
    shown = b"".join(parts).decode("utf-8")
    assert code == 0 and "\x1b[" in shown and "━" in shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for words in ("fold 1, 2 of 2", "epoch 2, 3 of 3", "predicting", " left", "best "):
        assert words in text
    lines = [line for line in re.split(r"[\r\n]+", text) if line.startswith("tiny fold ")]
    assert len(lines) == 6  # an epoch a line, and none of them broken by the bars
    assert shown.rindex("\x1b[2K") > shown.rindex("━")  # the bars are wiped away at the end


def test_a_pipe_gets_plain_lines(place: Path, tmp_path: Path, capsys) -> None:
    assert train_command(place, tmp_path) == 0
    said, told = capsys.readouterr()
    assert told == "" and "\x1b" not in said and "━" not in said
    assert len(re.findall(r"(?m)^tiny fold \d epoch \d: lr \S+, loss \S+, accuracy \S+, \S+ s, \S+ images/s, epochs to "
                          r"go: \d$", said)) == 6


def test_where_the_streams_are_no_terminal_nothing_is_drawn(capsys) -> None:
    with training_bars() as show:
        assert show is None


# ---- trackers ----


def test_trackers_decide_no_weights() -> None:
    assert config_hash(quick(trackers=["wandb"])) == config_hash(quick())
    with pytest.raises(ConfigError, match=r"trackers\.0"):
        quick(trackers=["tensorbord"])


def test_a_tracker_that_is_missing_is_told_before_anything_is_decoded(place: Path, tmp_path: Path, monkeypatch,
                                                                      capsys) -> None:
    monkeypatch.setattr("foldpack.train.watch.trackers.find_spec", lambda name: None)
    (tmp_path / "tiny.yml").write_text(config_text(quick(trackers=["mlflow"])))
    folders = ["--data", str(place / "data"), "--folds", str(place / "folds.csv"), "--runs", str(tmp_path / "runs")]
    assert run_app(foldpack, ["train", str(tmp_path / "tiny.yml"), *folders]) == 2
    assert capsys.readouterr().err == ("error: run 'tiny': trackers: the package 'mlflow' is not installed; install it "
                                       "with `pip install mlflow`, or leave 'mlflow' out\n")
    assert not (tmp_path / "runs").exists()
    require_trackers(quick())


class Stub:
    """A tracker that fails where it is told to."""

    name = "wandb"

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.logged: list[tuple[int, dict]] = []

    def start(self) -> None:
        self.meet("start")

    def store_init_configuration(self, values: dict) -> None:
        self.meet("store")

    def log(self, values: dict, step: int) -> None:
        self.meet("log")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.meet("finish")

    def meet(self, place: str) -> None:
        if place == self.fails:
            raise OSError(f"no\nroute to {place}")


@pytest.mark.parametrize(("fails", "told"), [
    ("log", ["warning: run 'tiny': 'wandb' takes no more numbers: no route to log; this fold goes on without it"]),
    ("finish", ["warning: run 'tiny': 'wandb' does not close: no route to finish"]), ("", [])])
def test_a_tracker_that_fails_does_not_end_the_training(monkeypatch, tmp_path: Path, fails: str, told: list) -> None:
    said: list[str] = []
    trackers, stub = Trackers(quick(trackers=["wandb"]), tmp_path, "digits", said.append), Stub(fails)
    monkeypatch.setattr(trackers, "make", lambda name, fold, epoch: stub)
    trackers.start(0, 0)
    for epoch in range(2):
        trackers.log(epoch, {"loss": 0.5, "accuracy": float("nan"), "note": "text"})
    trackers.finish()
    assert said == told
    assert stub.logged == ([] if fails == "log" else [(0, {"loss": 0.5}), (1, {"loss": 0.5})])


@pytest.mark.parametrize("fails", ["start", "store"])
def test_a_tracker_that_does_not_start_is_told_before_the_first_epoch(monkeypatch, tmp_path: Path, fails: str) -> None:
    trackers = Trackers(quick(trackers=["wandb"]), tmp_path, "digits", print)
    monkeypatch.setattr(trackers, "make", lambda name, fold, epoch: Stub(fails))
    watch = Watch(quick(trackers=["wandb"]), 1, None, trackers)
    watch.begin_fold(0, 0)
    with pytest.raises(ConfigError, match=rf"run 'tiny': trackers: 'wandb' does not start: no route to {fails}; mend"):
        watch.begin_epoch(0, 3)
    assert trackers.open == []


def test_a_tracker_that_does_not_start_for_a_later_fold_is_left_out(monkeypatch, tmp_path: Path) -> None:
    said: list[str] = []
    trackers, stubs = Trackers(quick(trackers=["wandb"]), tmp_path, "digits", said.append), [Stub(""), Stub("start")]
    monkeypatch.setattr(trackers, "make", lambda name, fold, epoch: stubs[fold])
    for fold in range(2):
        trackers.start(fold, 0)
        trackers.log(0, {"loss": 0.5})
        trackers.finish()
    assert said == ["warning: run 'tiny': trackers: 'wandb' does not start: no route to start; mend its settings; this "
                    "fold goes on without trackers"]
    assert [len(stub.logged) for stub in stubs] == [1, 0]


def test_of_several_processes_the_training_goes_on_without_trackers(monkeypatch, tmp_path: Path) -> None:
    said: list[str] = []
    trackers = Trackers(quick(trackers=["wandb"]), tmp_path, "digits", said.append)
    monkeypatch.setattr(trackers, "make", lambda name, fold, epoch: Stub("start"))
    monkeypatch.setattr("foldpack.train.watch.trackers.alone", lambda: False)
    trackers.start(0, 0)
    assert trackers.open == [] and said == ["warning: run 'tiny': trackers: 'wandb' does not start: no route to start; "
                                            "mend its settings; this fold goes on without trackers"]


def test_settings_are_told_flat() -> None:
    told = flat(quick().model_dump(mode="json"))
    assert told["optim.lr"] == 5e-3 and told["net.arch"] == "test_vit" and told["views"] == "['identity', 'hflip']"
    assert "folds" not in told and all(isinstance(value, (bool, int, float, str)) for value in told.values())


def test_tensorboard_has_each_fold_and_forgets_the_one_before(place: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "runs/tiny"
    for epochs in (3, 2):  # another configuration: trained anew
        train_run(quick(epochs=epochs, trackers=["tensorboard"]), place / "data", place / "folds.csv",
                  tmp_path / "runs", print)
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][-6:]
    assert sorted(path.name for path in (folder / "tensorboard").iterdir()) == ["fold0", "fold1"]
    for fold in range(2):
        events = accumulator.EventAccumulator(str(folder / f"tensorboard/fold{fold}"))
        events.Reload()
        lines = [entry for entry in entries if entry["fold"] == fold and "epoch" in entry]
        assert [line["epoch"] for line in lines] == [0, 1]
        for tag, name in (("loss", "loss"), ("accuracy", "score"), ("lr", "lr"),
                          ("images_per_second", "images_per_second")):
            points = [(event.step, event.value) for event in events.Scalars(tag)]
            assert points == [(line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in lines]
        assert "epoch" not in events.Tags()["scalars"]
        [text] = events.Tensors("configuration/text_summary")[-1].tensor_proto.string_val
        assert b"arch: test_vit" in text


def test_wandb_takes_the_numbers_without_a_network(place: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true")):
        monkeypatch.setenv(name, value)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    config = quick(trackers=["wandb"], folds=[0])
    train_run(config, place / "data", place / "folds.csv", tmp_path / "runs", print)
    [written] = (tmp_path / "runs/tiny/wandb").glob("offline-run-*/run-*.wandb")
    text = written.read_bytes()
    assert b"accuracy" in text and b"images_per_second" in text and b"tiny fold0" in text


def test_mlflow_takes_the_numbers(place: Path, tmp_path: Path, monkeypatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    config = quick(trackers=["mlflow"], folds=[0])
    train_run(config, place / "data", place / "folds.csv", tmp_path / "runs", print)
    [run] = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.run_name == "tiny fold0" and run.data.params["net.arch"] == "test_vit"
    lines = [json.loads(line) for line in (tmp_path / "runs/tiny/log.jsonl").read_text().splitlines()]
    assert run.data.metrics["accuracy"] == pytest.approx(lines[1]["score"])
