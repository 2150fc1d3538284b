"""docs/metrics.md has every metric, and says of each which way is better."""

import re
from pathlib import Path

import pytest

from foldpack.metrics.objects import OBJECT_METRICS, WITH_LIMIT
from foldpack.metrics.registry import FAMILIES, METRICS, get_metric

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| `")]
BY_NAME = {name: row for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
FAMILY_NAMES = {name for name, family in FAMILIES.items() if family.reads != "weights"}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_a_row_with_its_direction(name):
    assert BY_NAME[name][1].strip() == ("greater" if METRICS[name].greater_is_better else "lower")


def test_no_row_is_of_a_metric_that_is_gone():
    bare = {name.partition(":")[0] for name in BY_NAME}
    assert bare == METRICS.keys() | FAMILY_NAMES | OBJECT_METRICS.keys()
    with_numbers = {name.partition(":")[0] for name in BY_NAME if ":" in name}
    assert with_numbers == FAMILY_NAMES | WITH_LIMIT.keys()


def test_the_metrics_that_take_weights_are_named():
    said = TEXT.partition("### Weights of classes")[2].partition(" take a weight")[0]
    assert set(re.findall(r"`(\w+)`", said)) == FAMILIES.keys() - FAMILY_NAMES
    assert get_metric("log_loss:1,2,1").name == "log_loss:1,2,1"
