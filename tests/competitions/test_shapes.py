"""Every block of docs/competitions.md is a whole competition.yml, and reads the data of its shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapes import OF_OBJECTS, SHAPES, make_shape
from shapes_on_page import BLOCKS

from foldpack.competitions.answer_table import read_answer_table
from foldpack.competitions.answers.check import read_submission, submission_faults
from foldpack.competitions.answers.form import Known
from foldpack.competitions.training_items import make_competition
from foldpack.metrics.of_competition import metric_name
from foldpack.settings.competition import competition_text, parse_competition
from foldpack.settings.strict_yaml import load_strict


def test_every_shape_that_the_tests_can_make_is_on_the_page() -> None:
    assert set(BLOCKS) == set(SHAPES) and len(BLOCKS) == 24


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_block_reads_the_data_of_its_shape(name: str, tmp_path: Path) -> None:
    config = parse_competition(load_strict(BLOCKS[name], name), name)
    assert parse_competition(load_strict(competition_text(config), name), name) == config
    perfect = make_shape(name, tmp_path / "data", train=24, test=12)
    competition = make_competition(config)
    labelled, asked = competition.train(tmp_path / "data"), competition.test(tmp_path / "data")
    assert len(set(labelled.items.ids)) == len(labelled.items.ids) >= 24
    answered = asked.answer or asked.ids
    wanted = perfect[perfect.columns[0]].astype(str)
    assert list(dict.fromkeys(answered)) == list(dict.fromkeys(wanted))
    if name not in OF_OBJECTS:
        assert len(labelled.targets) == len(labelled.items.ids) and len(labelled.classes) >= 1
    perfect.to_csv(tmp_path / "perfect.csv", index=False)
    known = Known(labelled.classes if name != "values" else [])
    sample = read_answer_table(tmp_path / "data" / competition.sample_csv, competition.id_column, [])
    table = read_submission(tmp_path / "perfect.csv", competition.form, known)
    assert [fault.what for fault in submission_faults(table, competition.form, sample, known)] == []
    assert table.columns == sample.named().columns
    assert metric_name(config.metric)
