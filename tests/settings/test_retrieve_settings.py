"""Settings of retrieval: what nothing reads is refused, and older runs keep their hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldpack.settings.retrieve import Calibration, Rerank, Retrieval
from foldpack.settings.run import ConfigError, RunConfig, config_hash, parse_config
from foldpack.settings.stages import RankingDecision
from foldpack.train.checks import require_read

RUN = {"run": "r", "competition": "digits-retrieval", "task": "embed", "net": {"arch": "resnet18", "size": 32},
       "loss": {"name": "arcface"}, "metric": "map5"}
# Of dim 64 and 3 neighbours, as it was before there was more.
OLD_HASH = "cd8a92a930269fa5e7e56c35554d56aeffde7d063fa625df363caa7553724025"


def run_of(**embed: object) -> RunConfig:
    return parse_config({**RUN, "embed": embed}, Path("r.yml"))


@pytest.mark.parametrize(("embed", "words"), [
    ({"softmax": 0.1}, "softmax weighs several neighbours, and neighbours is 1; leave softmax out"),
    ({"alpha": 2.0}, "alpha is read by expand_query and expand_gallery, and both are 0; leave it out"),
    ({"calibration": {"kind": "softmax", "scale": 9.0, "shift": 0.5}}, "calibration 'softmax' does not read shift"),
    ({"calibration": {"kind": "sigmoid", "scale": 0.0}}, "input should be greater than 0"),
    ({"centres": 1.5}, "input should be less than or equal to 1"),
    ({"rerank": {"k": 20}}, "unknown key"),
])
def test_what_does_not_fit_is_refused(embed: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run_of(**embed)


@pytest.mark.parametrize(("embed", "name"), [
    ({"neighbours": 3}, "neighbours"), ({"neighbours": 3, "softmax": 0.1}, "neighbours"), ({"rerank": {}}, "rerank")])
def test_ways_by_neighbours_are_refused_before_a_training_where_only_centres_count(embed: dict, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_read(run_of(centres=1.0, **embed))
    assert str(caught.value) == (f"run 'r': embed.centres is 1, so no neighbour counts, and embed.{name} is not read; "
                                 f"leave {name} out, or set centres below 1")
    require_read(run_of(centres=0.9, **embed))
    require_read(run_of(centres=1.0, expand_query=2, alpha=2.0))  # the means are of what was expanded


def test_a_run_hands_all_but_the_size_of_its_vectors_on() -> None:
    config = run_of(dim=64, neighbours=3, softmax=0.1, centres=0.5, expand_gallery=2, alpha=1.0, rerank={"k1": 9},
                    calibration={"kind": "sigmoid", "scale": 9.0, "shift": 0.4})
    assert config.embed.retrieval == Retrieval(
        neighbours=3, softmax=0.1, centres=0.5, expand_gallery=2, alpha=1.0, rerank=Rerank(k1=9),
        calibration=Calibration(kind="sigmoid", scale=9.0, shift=0.4))


def test_settings_that_came_later_leave_the_hash_of_older_runs() -> None:
    assert config_hash(run_of(dim=64, neighbours=3)) == OLD_HASH
    assert config_hash(run_of(dim=64, neighbours=3, centres=0.5)) != OLD_HASH


def test_a_last_place_of_none_needs_its_score() -> None:
    with pytest.raises(ValueError, match="none_rank goes with none_score"):
        RankingDecision(k=5, none_rank=2)
