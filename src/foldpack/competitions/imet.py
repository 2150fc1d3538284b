"""iMet Collection 2019 (FGVC6): attributes of museum objects, multi-label, mean over images of F2."""

from __future__ import annotations

from foldpack.competitions.image_table import ImageTable

IMET = ImageTable(
    name="imet",
    slug="imet-2019-fgvc6",
    task="multilabel",
    id_column="id",
    label_column="attribute_ids",
    suffix=".png",
    class_csv="labels.csv",
)
