"""The mean of the last epochs: it is the mean, its batch norms fit it, and it stays only where it scores better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_training import quiet, toy_config, toy_set

from foldpack.settings.run import ConfigError, config_hash
from foldpack.train.rates import build_scheduler

BATCH_NORM = {"arch": "test_resnet", "size": 16}


@pytest.mark.parametrize(("changes", "message"), [
    ({"swa": {"epochs": 4}}, "swa.epochs is 4, and there are 4 epochs; set it to fewer"),
    ({"swa": {"epochs": 2}, "patience": 3}, "swa averages the last epochs, and patience may end a fold before them; le"),
    ({"swa": {"epochs": 1}}, "swa.epochs: input should be greater than or equal to 2, got 1"),
    ({"swa": {"lr": 0.1}}, "swa.epochs"),
])
def test_settings_that_do_not_fit_are_one_clear_line(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        toy_config(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_runs_without_it_keep_their_hash_and_both_keys_are_part_of_it() -> None:
    hashes = {config_hash(toy_config(swa=swa)) for swa in
              (None, {"epochs": 2}, {"epochs": 3}, {"epochs": 2, "lr": 0.1})}
    assert len(hashes) == 4 and config_hash(toy_config()) in hashes


@pytest.mark.parametrize("optim", [
    {"schedule": "cosine"}, {"schedule": "constant"}, {"schedule": "none", "warmup_epochs": 0},
    {"schedule": "onecycle", "warmup_epochs": 1}, {"schedule": "plateau", "patience_epochs": 0},
    {"layer_decay": 0.5}])
def test_the_last_epochs_have_a_rate_of_their_own_and_those_before_the_schedules(optim: dict) -> None:
    optim = {"lr": 1e-2, "warmup_epochs": 0, **optim}
    traces = []
    for swa in (None, {"epochs": 2, "lr": 3e-3}, {"epochs": 2}):
        config = toy_config(epochs=5, optim=optim, swa=swa)
        net = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD([{"params": net.weight}, {"params": net.bias, "lr": 2e-2, "lr_scale": 0.5}], lr=1e-2)
        schedule = build_scheduler(config, optimizer, 4)
        trace = []
        for update in range(1, 21):
            trace.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            if schedule is not None:
                schedule.step_update(update)
                if update % 4 == 0:
                    schedule.step(update // 4, 0.5)
        traces.append(np.array(trace))
    assert np.array_equal(traces[0], traces[2])
    assert np.array_equal(traces[0][:12], traces[1][:12])
    assert np.allclose(traces[1][12:], [3e-3, 3e-3 * 2 * 0.5])
