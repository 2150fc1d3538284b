"""What the kind of labels is told from."""

from __future__ import annotations

from dataclasses import dataclass

from foldpack.metrics.registry import Metric
from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.sample import Sample
from foldpack.recognise.findings import Findings


@dataclass(frozen=True)
class Context:
    """What labels are told from. used: columns that name images; test_columns: of the test's table; maps: the keys of
    JSON files that map one text to another; metric: of a known competition."""

    train: Head
    used: set[str]
    test_columns: set[str]
    sample: Sample
    others: list[Head]
    maps: list[set[str]]
    findings: Findings
    metric: Metric | None = None

    @property
    def items(self) -> list[str]:
        """What the rows are called, for messages."""
        name = next((name for name in self.train.columns if name in self.used), next(iter(self.train.columns)))
        return self.train.columns[name]
