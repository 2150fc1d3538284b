"""The images of every made-up competition are read, by the reader that its competition.yml names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shapes import SHAPES, make_shape
from test_shapes import BLOCKS

from foldpack.competitions.protocol import require_images
from foldpack.competitions.training_items import make_competition
from foldpack.data.geometry import CanvasKind
from foldpack.predict.canvas import decode_items
from foldpack.settings.competition import parse_competition
from foldpack.settings.strict_yaml import load_strict


@pytest.mark.parametrize("name", list(SHAPES))
def test_all_images_of_a_shape_are_read(name: str, tmp_path: Path) -> None:
    make_shape(name, tmp_path / "data", 24, 8)
    config = parse_competition(load_strict(BLOCKS[name], name), name)
    competition = make_competition(config)
    for items in (competition.train(tmp_path / "data").items, competition.test(tmp_path / "data")):
        require_images(items, tmp_path)
        canvas = decode_items(items, CanvasKind(16, channels=config.images.channels), 2)
        assert canvas.reasons == [] and canvas.repaired == [] and canvas.warning == ""
        pixels = np.stack(list(canvas.pixels)).astype(float)
        assert 20 < pixels.mean() < 235 and pixels.std() > 1  # nothing is nearly black, white or flat
