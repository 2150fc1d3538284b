"""Galleries are bound to their weights, and one without items is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldpack.models.classifier import ModelError
from foldpack.models.gallery import Gallery, GalleryInfo, read_gallery, save_gallery

INFO = GalleryInfo(run="r", fold=0, checkpoint="1" * 64)


def test_a_gallery_is_read_with_its_own_weights_alone(tmp_path: Path) -> None:
    gallery = Gallery(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.int32))
    save_gallery(tmp_path / "g", gallery, INFO)
    again = read_gallery(tmp_path / "g", "1" * 64)
    assert (again.vectors == gallery.vectors).all() and (again.identities == gallery.identities).all()
    with pytest.raises(ModelError, match="g: the gallery of other weights, 111111111111; the weights here are 222222"):
        read_gallery(tmp_path / "g", "2" * 64)


def test_an_empty_gallery_is_refused(tmp_path: Path) -> None:
    save_gallery(tmp_path / "g", Gallery(np.zeros((0, 4), np.float32), np.zeros(0, np.int32)), INFO)
    with pytest.raises(ModelError, match="g: the gallery is empty, so no identity can be found; a fold must learn"):
        read_gallery(tmp_path / "g", "1" * 64)
