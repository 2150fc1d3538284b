"""What predictions take of Kaggle's working folder, by what the networks of a stage give."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from foldpack.settings.outputs import Boxes, Classes, Values, Vectors
from packer.deploy.image_room import row_bytes

PAIR = {"names": ["a", "b"], "prior": [0.5, 0.5]}


@pytest.mark.parametrize(("outputs", "size"), [
    (Classes(link="sigmoid", **PAIR), 8),
    (Values(names=["v"], prior=[0.0]), 4),
    (Vectors(dim=512, **PAIR), 2048),
    (Boxes(most=1000, **PAIR), 24_000),
])
def test_room_is_counted_by_what_networks_give(outputs: object, size: int) -> None:
    assert row_bytes(SimpleNamespace(outputs=outputs)) == size
