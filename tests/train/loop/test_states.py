"""A fold that is taken up again from its saved state ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from mortal_states import BATCH_NORM, DROPOUT, Epochs, Killed, MortalStates, alike, info_of
from toy_training import STRONG, quiet, toy_config, toy_set
from view_arrays import views_array

from foldpack.settings.run import RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import FoldResult
from foldpack.train.fit import fit_fold
from foldpack.train.loop.state import Stateful
from foldpack.train.loop.training import FoldTraining
from foldpack.train.watch.watch import Watch


def fit_with_deaths(config: RunConfig, data: TrainingSet, folder: Path, writes: int) -> tuple[FoldResult, Epochs, int]:
    """Train fold 1 while the process dies after every so many states. Also returns the weights of each epoch that was
    evaluated, and how often it died."""
    deaths, epochs = 0, {}
    while True:
        states = MortalStates(folder, info_of(), quiet)
        states.left = writes
        try:
            result = fit_fold(config, data, 1, quiet, lambda found: epochs.update({found.epoch: found.weights}),
                              states=states)
            return result, [epochs[epoch] for epoch in sorted(epochs)], deaths
        except Killed:
            deaths += 1


def fit_whole(config: RunConfig, data: TrainingSet) -> tuple[FoldResult, Epochs]:
    """The same without a death."""
    epochs: Epochs = []
    return fit_fold(config, data, 1, quiet, lambda found: epochs.append(found.weights)), epochs


def require_same(one: FoldResult, other: FoldResult) -> None:
    assert alike([one.weights], [other.weights])
    assert (views_array(one.views) == views_array(other.views)).all()
    assert (one.score, one.epoch, one.golden) == (other.score, other.epoch, other.golden)
    if one.gallery is not None and other.gallery is not None:
        assert (one.gallery.vectors == other.gallery.vectors).all()
    assert (one.gallery is None) == (other.gallery is None)


MIXED = {**STRONG, "mixup": 0.4, "cutmix": 0.5, "ricap": 0.3, "erase": 0.5, "mix": 0.7}
VARIANTS: dict[str, dict] = {
    "averages": {"net": BATCH_NORM, "ema": 0.9, "swa": {"epochs": 2, "lr": 1e-2},
                 "optim": {"lr": 3e-3, "clip_norm": 1.0}, "augment": MIXED},
    "plateau": {"optim": {"lr": 3e-2, "schedule": "plateau", "patience_epochs": 0, "decay_rate": 0.5,
                          "reload_best": True, "warmup_epochs": 1}, "epochs": 5},
    "restarts": {"optim": {"name": "lookahead_momentum", "lr": 1e-2, "schedule": "cosine_restarts", "cycle_epochs": 2,
                           "layer_decay": 0.7}, "accumulate": 2, "batch_size": 5, "precision": "bf16"},
    "head first": {"net": BATCH_NORM, "optim": {"lr": 3e-3, "head_epochs": 1, "freeze": 1}, "epochs": 3},
    "workers, one cycle": {"net": DROPOUT, "workers": 2, "augment": MIXED, "sampler": {"kind": "balanced"},
                           "weights": {"kind": "balanced"},
                           "optim": {"lr": 3e-3, "schedule": "onecycle", "warmup_epochs": 1}},
    "dtypes, patience": {"patience": 2, "evaluate_every": 2, "epochs": 8, "views": ["identity", "hflip"],
                         "optim": {"name": "adafactorbv", "lr": 1e-6, "kwargs": {"momentum": 0.9}}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_that_died_again_and_again_gives_the_same_fold(tmp_path: Path, name: str) -> None:
    """With a state after every update and every epoch, and a death after every third of them."""
    config, data = toy_config(**{"save_minutes": 1e-9, **VARIANTS[name]}), toy_set()
    whole, epochs = fit_whole(config, data)
    again, other, deaths = fit_with_deaths(config, data, tmp_path / "fold1.state", 3)
    assert deaths >= 2
    require_same(whole, again)
    assert alike(epochs, other)


@pytest.mark.slow
@pytest.mark.parametrize("writes", [1, 2])
@pytest.mark.parametrize("save_minutes", [1e-9, 10])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_that_died_at_every_place_gives_the_same_fold(tmp_path: Path, name, save_minutes, writes) -> None:
    config, data = toy_config(**{"save_minutes": save_minutes, **VARIANTS[name]}), toy_set()
    whole, epochs = fit_whole(config, data)
    again, other, _ = fit_with_deaths(config, data, tmp_path / "fold1.state", writes)
    require_same(whole, again)
    assert alike(epochs, other)


VECTORS = {"competition": "digits-retrieval", "task": "embed", "embed": {"dim": 4}, "epochs": 3, "save_minutes": 1e-9}


@pytest.mark.parametrize("loss", [{"name": "adacos"}, {"name": "arcface", "lr": 0.1}])
def test_what_the_loss_learns_is_kept(tmp_path: Path, loss: dict) -> None:
    config, data = toy_config(**{**VECTORS, "loss": loss}), toy_set("embed")
    whole, epochs = fit_whole(config, data)
    again, other, deaths = fit_with_deaths(config, data, tmp_path / "fold1.state", 3)
    assert deaths >= 2 and whole.gallery is not None
    require_same(whole, again)
    assert alike(epochs, other)


@pytest.mark.parametrize("bins", [None, 4])
def test_what_a_regressor_has_measured_is_kept(tmp_path: Path, bins: int | None) -> None:
    net = {**DROPOUT, **({} if bins is None else {"bins": bins})}
    config = toy_config(competition="digits-values", task="regress", metric="rmse", net=net, epochs=3,
                        loss={"name": "mse" if bins is None else "cross_entropy"})
    data = toy_set("regress")
    whole, epochs = fit_whole(config, data)
    again, other, deaths = fit_with_deaths(config, data, tmp_path / "fold1.state", 1)
    assert deaths == 3
    require_same(whole, again)
    assert alike(epochs, other)


class Forgetful(FoldTraining):
    """Does not take one holder's state over."""

    forgets = ""

    def all_holders(self) -> dict[str, Stateful]:
        holders = super().all_holders()
        forgotten = holders[self.forgets]
        kept = SimpleNamespace(state_dict=forgotten.state_dict, load_state_dict=lambda state: None)
        return {**holders, self.forgets: kept}


HELD = toy_config(**{**VECTORS, "loss": {"name": "adacos"}, "ema": 0.9, "net": DROPOUT,
                     "optim": {"lr": 3e-3, "schedule": "plateau", "patience_epochs": 0, "warmup_epochs": 0}})


@pytest.fixture(scope="module")
def unbroken() -> Epochs:
    return fit_whole(HELD, toy_set("embed"))[1]


@pytest.mark.parametrize("forgets", ["net", "loss", "optimizer", "scheduler", "ema", "random"])
def test_each_holder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: Epochs, forgets: str) -> None:
    monkeypatch.setattr(Forgetful, "forgets", forgets)
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Forgetful)
    _, other, _ = fit_with_deaths(HELD, toy_set("embed"), tmp_path / "fold1.state", 3)
    assert not alike(unbroken, other)


def test_who_watches_a_fold_that_goes_on_knows_its_best_epoch(tmp_path: Path) -> None:
    config, data = toy_config(epochs=3, optim={"lr": 1e-9}), toy_set()
    states = MortalStates(tmp_path / "fold1.state", info_of(), quiet)
    states.left = 2
    with pytest.raises(Killed):
        fit_fold(config, data, 1, quiet, states=states)
    watch = Watch(config, 1)
    watch.begin_fold(1, 0)
    result = fit_fold(config, data, 1, quiet, watch=watch, states=states)
    assert (watch.standing.best, watch.standing.best_epoch) == (round(result.score, 6), 0)
