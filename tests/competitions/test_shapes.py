"""Every block of docs/competitions.md is a whole competition.yml, and the tests can make its shape."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shapes import SHAPES

from foldpack.settings.competition import competition_text, parse_competition
from foldpack.settings.strict_yaml import load_strict

PAGE = Path(__file__).resolve().parents[2] / "docs/competitions.md"
BLOCKS = dict(re.findall(r"<!-- shape: (\w+) -->.*?```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def test_every_shape_that_the_tests_can_make_is_on_the_page() -> None:
    assert set(BLOCKS) == set(SHAPES) and len(BLOCKS) == 24


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_block_is_a_whole_file(name: str) -> None:
    config = parse_competition(load_strict(BLOCKS[name], name), name)
    assert parse_competition(load_strict(competition_text(config), name), name) == config
