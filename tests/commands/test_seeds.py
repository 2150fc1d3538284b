"""`foldpack train` of several runs and seeds: names that differ, before anything is loaded."""

from __future__ import annotations

import pytest
from small_house import tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.commands.training.train import seeded
from foldpack.settings.run import ConfigError, config_hash, config_text


def test_each_seed_is_a_run_of_its_own_that_differs_in_nothing_else() -> None:
    configs = [tiny_config("a"), tiny_config("b")]
    assert seeded(configs, None) == configs
    found = seeded(configs, "1, 20")
    assert [(one.run, one.seed) for one in found] == [("a_s1", 1), ("a_s20", 20), ("b_s1", 1), ("b_s20", 20)]
    assert found[0].model_copy(update={"run": "a", "seed": 3}) == configs[0]
    assert len({config_hash(one) for one in found}) == 4


@pytest.mark.parametrize("seeds", ["", "1,1", "1,01", "a", "1;2", "-1", "1.5"])
def test_what_is_no_list_of_different_numbers_is_an_error(seeds: str) -> None:
    with pytest.raises(ConfigError, match=f"--seeds {seeds}: write different whole numbers with commas between them"):
        seeded([tiny_config("a")], seeds)


def test_two_runs_of_one_name_are_an_error_before_anything_is_loaded(tmp_path, capsys) -> None:
    files = [tmp_path / "one.yml", tmp_path / "two.yml"]
    for file in files:
        file.write_text(config_text(tiny_config("same")))
    assert run_app(foldpack, ["train", *map(str, files), "--data", str(tmp_path / "none")]) == 2
    assert "run 'same' is the run of 2 configurations; a name may stand in one only" in capsys.readouterr().err
