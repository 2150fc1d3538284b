"""Every recipe in configs/: its runs are there, their settings fit each other and their networks, and none is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foldpack.competitions.adapters import find_adapter
from foldpack.settings.network import StartFrom
from foldpack.settings.recipe import read_recipe
from foldpack.settings.run import read_config
from foldpack.train.checks import check_names

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(path.parent.name for path in ROOT.glob("configs/*/recipe.yml"))
RUNS = sorted(path.relative_to(ROOT) for path in ROOT.glob("configs/*/*.yml")
              if path.name not in ("recipe.yml", "competition.yml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_all_runs_of_its_folder_and_they_are_of_its_competition(name: str, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe, configs = read_recipe(Path("configs"), name)
    assert sorted(recipe.runs) == [path.stem for path in RUNS if path.parent.name == name]
    assert {config.competition for config in configs} == {recipe.competition}
    assert len({config.run for config in configs}) == len(configs) == len({config.seed for config in configs})


@pytest.mark.parametrize("path", RUNS, ids=str)
def test_the_network_of_a_run_can_be_built_and_its_settings_fit(path: Path, monkeypatch) -> None:
    """Built without memory for its weights, and shown images without pixels."""
    monkeypatch.chdir(ROOT)
    config = read_config(path)
    net = config.net.model_copy(update={"pretrained": StartFrom()})
    kwargs = {name: value for name, value in config.optim.kwargs.items() if name != "fused"}  # which asks for memory
    config = config.model_copy(update={"net": net, "optim": config.optim.model_copy(update={"kwargs": kwargs})})
    with torch.device("meta"):
        check_names(config, find_adapter(config.competition), here=False)


def test_the_members_of_imet_are_those_of_the_best_ensemble() -> None:
    """Of kaggle_imet_2019: network, side, batch."""
    found = {}
    for path in sorted((ROOT / "configs/imet").glob("imet_*.yml")):
        config = read_config(path)
        found[config.run.split("_")[1]] = (config.net.arch.split(".")[0], config.net.size, config.batch_size)
        assert config.optim.lr == 1e-4 and config.optim.name == "adam" and config.loss.name == "bce"
        assert config.optim.schedule == "plateau" and config.optim.reload_best and config.augment.crop == "random"
    assert found == {"2b": ("seresnext50_32x4d", 288, 32), "2i": ("seresnext101_32x4d", 288, 20),
                     "2j": ("resnet50", 288, 32), "2k": ("pnasnet5large", 288, 7),
                     "2o": ("seresnext101_32x4d", 288, 20), "4b": ("seresnext101_32x4d", 352, 16),
                     "4f": ("seresnext101_32x4d", 352, 16)}


def test_whales_are_a_vit_of_proxies_and_a_cnn_of_margins() -> None:
    """At full size; flips are other whales, and a new one is as frequent as the test set has it."""
    vit, cnn = (read_config(ROOT / f"configs/whale/{run}.yml") for run in ("whale_vit_base", "whale_seresnext50"))
    assert (vit.net.arch.split(".")[0], vit.net.size, vit.loss.name) == ("vit_base_patch16_224", 224, "proxy_anchor")
    assert (vit.loss.margin, vit.loss.scale, vit.sampler.kind) == (0.1, 32, "m_per_class")
    assert (cnn.net.arch.split(".")[0], cnn.net.pool, cnn.loss.name) == ("seresnext50_32x4d", "gem", "arcface")
    for config in (vit, cnn):
        assert (config.embed.dim, config.net.neck, config.augment.identity_flips) == (512, "bn", ["hflip"])
        assert config.loss.lr is not None and config.loss.lr > config.optim.lr


FULL_SIZE = [(name, run, classes) for name, classes in (("imet", "1103"), ("whale", "5005"))
             for run in read_recipe(ROOT / "configs", name)[0].runs]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "run", "classes"), FULL_SIZE)
def test_a_run_at_full_size_takes_a_real_step_within_20_gb(name: str, run: str, classes: str) -> None:
    """A minute or two each."""
    done = subprocess.run([sys.executable, "benchmarks/full_size.py", "--configs", f"configs/{name}", "--run", run,
                           "--classes", classes], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 step" in done.stdout and float(done.stdout.split("peak ")[1].split()[0]) < 20
