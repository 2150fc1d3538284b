"""The learning rate that a run should have: the curve is that of real updates, and it is plotted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from accelerate.utils import set_seed
from small_house import tiny_config, write_small_folds
from toy_training import toy_config, toy_set

from foldpack.commands.main import app
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.files import write_atomic
from foldpack.settings.run import ConfigError, config_text
from foldpack.train.loop.training import FoldTraining
from foldpack.train.rate_finder import RateCurve, RateRange, burst, rate_curve, smoothed


class Recorded(FoldTraining):
    """Remembers the rate of every group at each update."""

    seen: list[list[float]] = []

    def step(self) -> None:
        self.seen.append([group["lr"] for group in self.optimizer.param_groups])
        super().step()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    monkeypatch.setattr(Recorded, "seen", [])
    monkeypatch.setattr("foldpack.train.rate_finder.FoldTraining", Recorded)
    return Recorded.seen


def test_the_rate_rises_in_equal_factors_whatever_the_schedule(recorded: list) -> None:
    config = toy_config(optim={"lr": 3e-3, "schedule": "cosine", "warmup_epochs": 2, "name": "sgd"})
    curve = rate_curve(config, toy_set(), 0, RateRange(1e-5, 1e-2, 30))
    np.testing.assert_allclose(curve.rates, np.geomspace(1e-5, 1e-2, 30))
    np.testing.assert_allclose([rates[0] for rates in recorded], curve.rates)  # 3 batches an epoch: it goes on


def test_layers_and_class_vectors_keep_their_share_of_the_rate(recorded: list) -> None:
    config = toy_config(task="embed", loss={"name": "cosface", "lr": 9e-3}, metric="map1",
                        optim={"lr": 3e-3, "layer_decay": 0.5})
    curve = rate_curve(config, replace(toy_set(), task="embed"), 0, RateRange(1e-5, 1e-3, 20))
    last = np.array(recorded[-1]) / curve.rates[-1]
    assert last[-1] == pytest.approx(3) and sorted(set(np.round(np.log2(last[:-1]), 6)))[-2:] == [-1, 0]


def test_the_losses_are_those_of_the_updates() -> None:
    """A network that takes no step, as its rates are next to nothing, loses what it loses in an epoch of training."""
    config = toy_config(optim={"lr": 1e-30, "warmup_epochs": 0, "min_lr": 0.0, "name": "sgd"})
    curve = rate_curve(config, toy_set(), 0, RateRange(1e-30, 1e-29, 30))
    set_seed(0)
    assert curve.losses[:3].mean() == pytest.approx(FoldTraining(config, toy_set(), 0).epoch(0), rel=1e-5)
    assert len(curve.losses) == 30 and np.ptp(curve.losses) > 0


def test_it_ends_where_the_loss_bursts_and_points_before_it() -> None:
    config = toy_config(optim={"lr": 3e-3, "name": "sgd"}, batch_size=12)
    curve = rate_curve(config, toy_set(), 0, RateRange(1e-6, 1e6, 200))
    assert curve.rates[-1] < 1e5 and curve.smooth[-1] > 4 * curve.smooth.min() or len(curve.rates) < 200
    assert curve.rates[0] < curve.steepest <= curve.lowest < curve.rates[-1]


def test_gathered_batches_share_a_rate() -> None:
    config = toy_config(accumulate=2, batch_size=6)  # 4 batches an epoch, 2 updates
    curve = rate_curve(config, toy_set(), 0, RateRange(1e-5, 1e-4, 20))
    np.testing.assert_allclose(curve.rates, np.repeat(np.geomspace(1e-5, 1e-4, 20), 2))


def test_smoothing_is_the_unbiased_exponential_mean() -> None:
    losses = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(smoothed(losses), pd.Series(losses).ewm(alpha=0.02, adjust=True).mean(), rtol=1e-9)


def test_what_a_burst_is() -> None:
    assert burst([float("nan")]) and burst([1.0, float("inf")])
    assert not burst([1.0] * 9 + [1e6]) and burst([1.0] * 20 + [1e6]) and not burst([1.0] * 30)


def test_steepest_and_lowest_of_a_known_curve() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    smooth = 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + np.where(rates > 0.05, rates * 50, 0)
    curve = RateCurve(rates, smooth, smooth)
    assert curve.steepest == pytest.approx(1e-3, rel=0.01) and curve.lowest == pytest.approx(0.05, rel=0.3)


def test_the_first_batches_and_a_loss_that_only_rises_are_no_fall() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    smooth = np.where(rates < 3e-6, 9.0, 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3))))  # wild at first
    assert RateCurve(rates, smooth, smooth).steepest == pytest.approx(1e-3, rel=0.01)
    rising = np.linspace(1, 2, 61)
    assert not RateCurve(rates, rising, rising).falls and RateCurve(rates, rising[::-1], rising[::-1]).falls
    assert RateCurve(rates, rising, rising).steepest == RateCurve(rates, rising, rising).lowest == pytest.approx(1e-6)


def test_a_loss_that_is_no_number_from_the_start() -> None:
    with pytest.raises(ConfigError, match="run 'toy': the loss is .* batches, at a learning rate of .*; lower"):
        rate_curve(toy_config(optim={"name": "sgd", "lr": 1.0}), toy_set(), 0, RateRange(1e25, 1e30, 30))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rate")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", 3)
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    write_atomic(root / "run.yml", config_text(tiny_config("tiny", net=net, epochs=1)))
    return root


def call(place: Path, capsys: pytest.CaptureFixture, *more: str) -> tuple[int, str]:
    code = run_app(app, ["lr", str(place / "run.yml"), "--data", str(place / "data"), "--folds",
                         str(place / "folds.csv"), "--runs", str(place / "runs"), "--updates", "20",
                         "--out", str(place / "lr.svg"), *more])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_command_plots_and_says_what_it_found(place: Path, capsys: pytest.CaptureFixture) -> None:
    code, said = call(place, capsys, "--lowest", "1e-5", "--highest", "0.1", "--fold", "1")
    assert code == 0 and "tiny: the smoothed loss falls steepest at lr " in said and f"plot {place / 'lr.svg'}" in said
    drawn = (place / "lr.svg").read_text()
    assert ET.fromstring(drawn).tag.endswith("svg") and "learning rate" in drawn and "steepest, " in drawn
    assert not (place / "runs/tiny").exists()
    first = drawn
    call(place, capsys, "--lowest", "1e-5", "--highest", "0.1", "--fold", "1")
    assert (place / "lr.svg").read_text() == first
    call(place, capsys, "--lowest", "1e-5", "--highest", "0.1", "--fold", "2")
    assert (place / "lr.svg").read_text() != first


@pytest.mark.parametrize(("more", "message"), [
    (["--fold", "9"], "run 'tiny': folds [9]; "),
    (["--lowest", "1.0", "--highest", "0.1"], "--lowest 1 is not below --highest 0.1; both are above 0"),
])
def test_bad_options_are_one_line(place: Path, capsys: pytest.CaptureFixture, more: list[str], message: str) -> None:
    code, said = call(place, capsys, *more)
    assert code == 2 and message in said


def test_where_nothing_can_be_learned_it_says_that_the_rates_mean_nothing(
        place: Path, capsys: pytest.CaptureFixture) -> None:
    code, said = call(place, capsys, "--lowest", "1e-12", "--highest", "1e-11", "--out", str(place / "flat.svg"))
    assert code == 0 and "warning: the smoothed loss never falls below that of the first 10 batches" in said
    assert "give more --updates (20 now, 100 are usual)" in said
