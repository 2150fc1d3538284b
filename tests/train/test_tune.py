"""`foldpack tune`: spaces that are checked before the first trial, studies that are kept, trials that are stopped."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from small_house import write_small_folds

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.errors import FoldpackError
from foldpack.search.studies import hidden, open_storage
from foldpack.settings.run import parse_config, read_config
from foldpack.settings.strict_yaml import dump_strict, load_strict
from foldpack.train.cluster.orders import Outcome
from foldpack.train.cluster.pool import Pool
from foldpack.train.load import Where
from foldpack.train.run import train_run
from foldpack.train.tune import tune as tuning
from foldpack.train.tune.space import changed, own_values, read_space
from foldpack.train.tune.tune import TuneWish

SPACE = "optim.lr: {log: [1e-4, 1e-2]}\n"
BASE = {"run": "tiny", "competition": "digits", "metric": "accuracy",
        "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16}}, "loss": {"name": "cross_entropy"},
        "optim": {"lr": 0.005, "warmup_epochs": 0}, "epochs": 2, "batch_size": 16, "augment": {"hflip": 0.0}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 digits in 2 folds. Read only."""
    root = tmp_path_factory.mktemp("tune")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", 2)
    return root


def space_of(tmp_path: Path, text: str, base: dict | None = None):
    (tmp_path / "tune.yml").write_text(text)
    return read_space(tmp_path / "tune.yml", base or BASE, tmp_path / "tiny.yml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim.lrr: {log: [1e-4, 1e-2]}", "unknown key 'optim.lrr': did you mean 'optim.lr'"),
        ("optm.lr: {log: [1e-4, 1e-2]}", "unknown key 'optm.lr': did you mean 'optim'"),
        ("optim.lr.base: {log: [1e-4, 1e-2]}", "optim.lr.base: optim.lr has no keys below it; leave '.base' out"),
        ("optim.lr: {lgo: [1e-4, 1e-2]}", "tune.yml: optim.lr: .*unknown key 'lgo': did you mean 'log'"),
        ("optim.lr: {}", "write one of range, log, choice, such as .* got: none"),
        ("optim.lr: {log: [1e-4, 1e-2], choice: [1e-3]}", "got: log, choice"),
        ("optim.lr: {range: [1, 1]}", "range needs the lowest value first"),
        ("optim.lr: {log: [0, 1]}", "log needs values above 0"),
        ("optim.lr: {log: [1e-4, 1e-2], step: 0.1}", "step goes with range, not with log"),
        ("epochs: {range: [0, 4]}", "epochs: input should be greater than or equal to 1, got 0; the range reaches"),
        ("precision: {choice: [bf16, fp8]}", "precision: input should be 'no', 'fp16' or 'bf16', got 'fp8'; the range"),
        ("metric: {choice: [accuracy, f1]}", "metric cannot be tuned: scores of trials that differ in run, competit"),
        ("net.pretrained.hub: {choice: [true, false]}", "net.pretrained is False, no block in .*yml; write it out"),
        ("- optim.lr", "expected a mapping of keys to ranges"),
        ("seed: {choice: [1, 1]}", "choice has a value twice"),
    ],
)
def test_a_space_that_cannot_be_is_an_error_before_the_first_trial(tmp_path: Path, text: str, message: str) -> None:
    base = {**BASE, "net": {**BASE["net"], "pretrained": False}}
    with pytest.raises(FoldpackError, match=message):
        space_of(tmp_path, text, base)


def test_values_follow_the_kind_of_the_key(tmp_path: Path) -> None:
    space = space_of(tmp_path, """
optim.lr: {log: [1e-4, 1e-2]}
ema: {range: [0, 0.9]}
augment.hflip: {range: [0, 1]}
epochs: {range: [2, 8], step: 3}
batch_size: {log: [4, 64]}
optim.weight_decay: {range: [0.0, 0.2], step: 0.05}
views: {choice: [[identity], [identity, hflip]]}
net.kwargs.depth: {range: [1, 3]}
optim.schedule: {choice: [cosine, constant]}
""")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    tried = [{one.key: one.suggest(trial) for one in space} for trial in (study.ask() for _ in range(60))]
    assert {one["epochs"] for one in tried} == {2, 5, 8}
    assert {round(one["optim.weight_decay"] / 0.05, 6) for one in tried} == {0, 1, 2, 3, 4}
    assert {type(one["batch_size"]) for one in tried} == {int} == {type(one["net.kwargs.depth"]) for one in tried}
    assert all(4 <= one["batch_size"] <= 64 for one in tried)
    assert {one["net.kwargs.depth"] for one in tried} == {1, 2, 3}
    assert any(0 < one["augment.hflip"] < 1 for one in tried)  # a share, though its bounds are whole
    assert sum(one["optim.lr"] < 1e-3 for one in tried) > 15  # half of them on a logarithmic scale, a tenth on another
    assert any(one["views"] == ["identity", "hflip"] for one in tried)
    assert {one["optim.schedule"] for one in tried} == {"cosine", "constant"}
    assert parse_config(changed(BASE, {"optim.lr": 0.5, "net.kwargs.depth": 2}), "x").net.kwargs["depth"] == 2
    assert BASE["optim"]["lr"] == 0.005


def test_the_own_values_are_known_where_they_lie_in_the_space(tmp_path: Path) -> None:
    config = parse_config(BASE, "x")
    inside = space_of(tmp_path, SPACE + "epochs: {range: [2, 8], step: 3}\nviews: {choice: [[hflip], [identity]]}\n")
    assert own_values(inside, config) == {"optim.lr": 0.005, "epochs": 2, "views": '["identity"]'}
    for outside in ("epochs: {range: [3, 8]}", "epochs: {range: [1, 9], step: 4}", "ema: {choice: [0.9]}"):
        assert own_values(space_of(tmp_path, SPACE + outside), config) is None


class MadeUp(Pool):
    """Trains nothing: the score of an epoch follows from the learning rate. One order after the other."""

    def __init__(self, dies: int | None = None) -> None:
        super().__init__()
        self.orders: list[dict] = []
        self.dies = dies  # after so many orders

    def slots(self) -> int:
        return 1

    def start(self, order) -> None:
        config = order.configs[0]
        self.orders.append(config)
        if len(self.orders) == self.dies:
            raise KeyboardInterrupt
        good = 1 - abs(config["optim"]["lr"] - 0.005) * 50
        for fold in order.folds:
            for epoch in range(config["epochs"]):
                share = (epoch + 1) / config["epochs"]
                self.heard.put((order.name, {"entry": {
                    "fold": fold, "epoch": epoch, "left": config["epochs"] - epoch - 1, "score": good * share,
                    "loss": 1.0, "lr": 0.1, "seconds": 0.1}}))
        self.heard.put((order.name, Outcome(result={"scores": [good - fold / 100 for fold in order.folds],
                                                    "epochs": [0] * len(order.folds)})))

    def close(self) -> None:
        pass


class Tuned:
    """`foldpack tune` with trials that are made up."""

    def __init__(self, place: Path, tmp_path: Path, monkeypatch) -> None:
        self.place, self.root, self.patch = place, tmp_path, monkeypatch
        (tmp_path / "tiny.yml").write_text(dump_strict(BASE))

    def __call__(self, trials: int, *options: str, space: str = SPACE, pool: Pool | None = None) -> tuple[int, MadeUp]:
        (self.root / "tune.yml").write_text(space)
        pool = pool or MadeUp()
        self.patch.setattr(tuning, "workers", lambda *given: pool)
        code = run_app(foldpack, ["tune", str(self.root / "tiny.yml"), "--space", str(self.root / "tune.yml"),
                                  "--trials", str(trials), "--data", str(self.place / "data"), "--folds",
                                  str(self.place / "folds.csv"), "--runs", str(self.root / "runs"), *options])
        return code, pool

    def study(self, place: str | None = None) -> optuna.Study:
        file = place or str(self.root / "runs/.tune/tiny.journal")
        return optuna.load_study(study_name="tune/tiny", storage=open_storage(file))


@pytest.fixture
def tuned(place: Path, tmp_path: Path, monkeypatch) -> Iterator[Tuned]:
    yield Tuned(place, tmp_path, monkeypatch)


def test_a_study_is_taken_up_where_it_stopped_and_the_best_is_ready_to_train(tuned: Tuned, capsys) -> None:
    code, pool = tuned(3, "--pruner", "none")
    assert code == 0 and len(pool.orders) == 3
    assert pool.orders[0]["optim"]["lr"] == 0.005  # its own values first
    assert tuned(5, "--pruner", "none")[1].orders[0] not in pool.orders
    out = capsys.readouterr().out
    assert len(tuned.study().trials) == 5 and tuned(5)[1].orders == []
    best = read_config(tuned.root / "tiny_tuned.yml")
    assert best.optim.lr == 0.005 and best.run == "tiny_tuned"
    assert changed(BASE, {"run": "tiny_tuned"}) == load_strict((tuned.root / "tiny_tuned.yml").read_text(), "x")
    assert "found by foldpack tune: trial 0 of 5, accuracy 1.0000 on fold 0" in (
        tuned.root / "tiny_tuned.yml").read_text()
    assert "the best of 5 trials on fold 0 is optimistic" in out and "trial  state" in out


def test_a_trial_that_lags_behind_is_stopped_by_its_epochs(tuned: Tuned, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tuning, "STARTUP", 2)
    code, _ = tuned(12)
    states = [trial.state.name for trial in tuned.study().trials]
    assert code == 0 and "PRUNED" in states[2:] and states[:2] == ["COMPLETE"] * 2
    for trial in tuned.study().trials:
        value = trial.intermediate_values[max(trial.intermediate_values)]
        others = [one.intermediate_values[0] for one in tuned.study().trials[: trial.number]
                  if one.state.name == "COMPLETE"]
        lags = trial.number >= 2 and trial.intermediate_values[0] < sorted(others)[len(others) // 2]
        assert trial.state.name == "COMPLETE" or lags or value < 1
    assert "stopped, it lags behind the median of others" in capsys.readouterr().out


def test_scores_of_several_folds_are_their_mean_and_steps_go_on(tuned: Tuned) -> None:
    assert tuned(1, "--fold", "0", "--fold", "1", "--pruner", "none")[0] == 0
    [trial] = tuned.study().trials
    assert trial.value == pytest.approx(1 - 0.005)
    assert trial.intermediate_values == pytest.approx({0: 0.5, 1: 1.0, 2: 0.75, 3: 1.0})


def test_a_trial_whose_values_do_not_go_together_is_told_and_counted(tuned: Tuned, capsys) -> None:
    space = "net.canvas: {choice: [8, 16]}\nnet.size: {choice: [12, 20]}\n"  # a canvas smaller than the input
    code, pool = tuned(6, space=space)
    trials = tuned.study().trials
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert code == 0 and len(trials) == 6 == len(failed) + len(pool.orders) and failed
    assert all("is smaller than the network's input" in trial.user_attrs["error"] for trial in failed)
    out = capsys.readouterr().out
    assert f"trial {failed[0].number}: failed: " in out


def test_what_was_in_work_at_ctrl_c_is_tried_again_and_not_counted(tuned: Tuned) -> None:
    code, pool = tuned(3, pool=MadeUp(dies=2))
    assert code == 130
    lost = pool.orders[1]["optim"]["lr"]
    code, pool = tuned(3)
    assert code == 0 and len(pool.orders) == 2 and pool.orders[0]["optim"]["lr"] == lost
    assert [trial.state.name for trial in tuned.study().trials].count("COMPLETE") == 3


def test_what_a_process_had_that_died_is_tried_again(tuned: Tuned) -> None:
    assert tuned(1)[0] == 0
    study = tuned.study()
    dead = subprocess.Popen(["true"])
    dead.wait()
    for by in (f"{os.uname().nodename} {dead.pid}", f"elsewhere {os.getpid()}"):
        study.enqueue_trial({"optim.lr": 0.001 if "elsewhere" in by else 0.002})
        trial = study.ask({"optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)})
        trial.set_user_attr("by", by)
    code, pool = tuned(3)
    assert code == 0 and [order["optim"]["lr"] for order in pool.orders] == [0.002]  # the other one still works


def test_what_a_silent_machine_had_is_tried_again_while_others_work(tuned: Tuned, monkeypatch) -> None:
    assert tuned(1)[0] == 0
    study, now = tuned.study(), time.time()
    for lr, heard in ((0.001, now), (0.002, now - tuning.SILENT - 1)):
        study.enqueue_trial({"optim.lr": lr})
        trial = study.ask({"optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)})
        trial.set_user_attr("by", f"elsewhere {os.getpid()}")
        trial.set_user_attr("alive", heard)
    code, pool = tuned(3)
    assert code == 0 and [order["optim"]["lr"] for order in pool.orders] == [0.002]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING", "FAIL", "COMPLETE"]


def test_a_process_of_somebody_else_on_this_machine_is_alive(monkeypatch) -> None:
    def denied(*given: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    trial = optuna.trial.create_trial(value=0.0, user_attrs={"by": f"{os.uname().nodename} 1"})
    assert not tuning.is_dead(trial)


class Slow(MadeUp):
    """A machine that sleeps for a while in midst of a trial."""

    def __init__(self, study: Callable[[], optuna.Study], taken: bool) -> None:
        super().__init__()
        self.study, self.taken = study, taken
        self.alive: list[float] = []

    def start(self, order) -> None:
        number = int(order.name.split()[1])
        self.alive.append(self.study().trials[number].user_attrs["alive"])
        time.sleep(0.3)
        self.alive.append(self.study().trials[number].user_attrs["alive"])
        if self.taken:
            self.study().tell(number, state=optuna.trial.TrialState.FAIL)
        super().start(order)


def test_a_trial_in_work_gives_signs_of_life(tuned: Tuned, monkeypatch) -> None:
    monkeypatch.setattr(tuning, "BEAT", 0.02)
    code, pool = tuned(1, pool=Slow(tuned.study, taken=False))
    assert code == 0 and pool.alive[1] >= pool.alive[0] + 0.05


def test_a_trial_that_another_process_has_put_back_is_told_and_not_counted(tuned: Tuned, capsys) -> None:
    pool = Slow(tuned.study, taken=True)
    pool.slots = lambda: setattr(pool, "taken", pool.taken and not pool.orders) or 1  # type: ignore[method-assign]
    assert tuned(1, pool=pool)[0] == 0
    assert "trial 0: nothing was heard of it for 900 s, and it was begun anew" in capsys.readouterr().out
    assert [trial.state.name for trial in tuned.study().trials] == ["FAIL", "COMPLETE"]


def test_processes_that_start_together_try_different_values_and_one_alone_the_same(tuned: Tuned, tmp_path) -> None:
    space = space_of(tmp_path, SPACE)
    wish = TuneWish(tmp_path / "tiny.yml", tmp_path / "tune.yml", 30, [0])
    config = parse_config(BASE, "x")

    def tried(name: str, processes: int) -> list[float]:
        place = Where(tmp_path, tuned.place / "folds.csv", tmp_path / name)
        studies = [tuning.kept_study(wish, place, config, space, [0]) for _ in range(processes)]
        values = []
        for turn in range(24):  # past the first ten, which are random
            study = studies[turn % processes]
            trial = study.ask()
            values.append(space[0].suggest(trial))
            study.tell(trial, -abs(values[-1] - 0.004))
        return values

    alone = tried("a", 1)
    assert alone == tried("b", 1) and len(set(tried("c", 2))) == 24
    assert alone[:5] == tried("c2", 2)[:5]  # whoever asks: the number of the trial decides


def test_a_study_goes_on_with_other_workers_and_another_device(tuned: Tuned) -> None:
    assert tuned(1)[0] == 0
    told = {"workers": 2, "device": "cpu", "save_minutes": 3.0, "trackers": ["tensorboard"], "folds": [0]}
    (tuned.root / "tiny.yml").write_text(dump_strict({**BASE, **told}))
    assert tuned(2)[0] == 0
    (tuned.root / "tiny.yml").write_text(dump_strict({**BASE, "seed": 3}))
    assert tuned(3)[0] == 2


def test_steps_of_a_fold_are_the_same_for_trials_of_any_length(tuned: Tuned) -> None:
    space = "epochs: {choice: [1, 2, 4]}\n"
    assert tuned(8, "--fold", "0", "--fold", "1", "--pruner", "none", space=space)[0] == 0
    steps = {trial.params["epochs"]: sorted(trial.intermediate_values) for trial in tuned.study().trials}
    assert steps == {epochs: [*range(epochs), *range(4, 4 + epochs)] for epochs in (1, 2, 4)}
    wish = TuneWish(tuned.root / "tiny.yml", tuned.root / "tune.yml", 8, [0, 1], pruner="hyperband")
    study = tuning.kept_study(wish, Where(tuned.root, tuned.place / "folds.csv", tuned.root / "runs"),
                              parse_config(BASE, "x"), space_of(tuned.root, space), [0, 1])
    assert study.pruner._max_resource == 2 * 4  # type: ignore[attr-defined]


def test_null_is_a_value_and_a_key_that_is_not_there_has_none(tmp_path: Path) -> None:
    config = parse_config(BASE, "x")
    assert own_values(space_of(tmp_path, "patience: {choice: [null, 5]}"), config) == {"patience": None}
    assert own_values(space_of(tmp_path, "patience: {choice: [4, 5]}"), config) is None
    assert own_values(space_of(tmp_path, "net.kwargs.depth: {choice: [null, 5]}"), config) is None


def test_a_study_of_other_settings_or_ranges_is_refused(tuned: Tuned, capsys) -> None:
    assert tuned(1)[0] == 0
    for change in ({"space": "optim.lr: {log: [1e-4, 1e-1]}\n"}, {"options": ["--fold", "1"]}):
        assert tuned(2, *change.get("options", []), space=change.get("space", SPACE))[0] == 2
        assert "'tune/tiny' was made on other settings, ranges or folds" in capsys.readouterr().err
    assert tuned(2, "--name", "other", "--fold", "1")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--pruner", "medain"], "--pruner medain: did you mean 'median'"),
     (["--fold", "7"], "folds [7]; "),
     (["--study", "x.txt"], "--study x.txt: not a URL, and the file's ending is none of"),
     (["--study", "postgresql+psycopg://me:secret@127.0.0.1:1/none"], "://me:***@127.0.0.1:1/none")])
def test_wrong_options_are_told_in_one_line(tuned: Tuned, capsys, options, message) -> None:
    code, pool = tuned(1, *options)
    err = capsys.readouterr().err
    assert code == 2 and message in err and err.count("\n") == 1 and "secret" not in err and pool.orders == []


def test_a_password_is_never_shown() -> None:
    assert hidden("postgresql://me:pw@host/db and x://a:b@c") == "postgresql://me:***@host/db and x://a:***@c"


@pytest.mark.slow
def test_a_real_trial_scores_as_a_run_does(tuned: Tuned, capsys) -> None:
    train_run(parse_config({**BASE, "folds": [0]}, "tiny"), tuned.place / "data", tuned.place / "folds.csv",
              tuned.root / "alone", lambda line: None)
    meta = json.loads((tuned.root / "alone/tiny/meta.json").read_text())
    for cluster in ([], ["--cluster", "local:1"]):
        (tuned.root / "tune.yml").write_text(SPACE)
        code = run_app(foldpack, ["tune", str(tuned.root / "tiny.yml"), "--space", str(tuned.root / "tune.yml"),
                                  "--trials", "2", "--data", str(tuned.place / "data"), "--folds",
                                  str(tuned.place / "folds.csv"), "--runs", str(tuned.root / "runs"),
                                  "--study", str(tuned.root / f"{len(cluster)}.journal"), *cluster])
        assert code == 0, capsys.readouterr().err
        trials = tuned.study(str(tuned.root / f"{len(cluster)}.journal")).trials
        assert trials[0].value == pytest.approx(meta["folds"][0]["score"]) and trials[0].params == {"optim.lr": 0.005}
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
