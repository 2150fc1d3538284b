"""The embedded default: 1,797 handwritten digits of 32x32 pixels, ten classes, scored by accuracy."""

from __future__ import annotations

from foldpack.competitions.image_table import ImageTable

DIGITS = ImageTable(
    name="digits",
    slug="foldpack-digits",
    task="multiclass",
    id_column="id",
    label_column="label",
    suffix=".png",
)
