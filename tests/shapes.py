"""All made-up competitions, by the name that docs/competitions.md calls their shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import shapes_of_classes as of_classes
import shapes_of_objects as of_objects
from shapes_kit import Made

SHAPES: dict[str, Callable[[Made], pd.DataFrame]] = {
    "one_column": of_classes.one_column,
    "probability": of_classes.probability,
    "column_a_class": of_classes.column_a_class,
    "one_hot": of_classes.one_hot,
    "several_columns": of_classes.several_columns,
    "joined": of_classes.joined,
    "grades": of_classes.grades,
    "values": of_classes.values,
    "identities": of_classes.identities,
    "class_folders": of_classes.class_folders,
    "label_in_name": of_classes.label_in_name,
    "paired_folders": of_classes.paired_folders,
    "places": of_classes.places,
    "coco": of_classes.coco,
    "coco_bare": of_classes.coco_bare,
    "bson_products": of_classes.bson_products,
    "json_arrays": of_classes.json_arrays,
    "several_images": of_classes.several_images,
    "pages": of_objects.pages,
    "boxes_in_columns": of_objects.boxes_in_columns,
    "masks": of_objects.masks,
    "masks_by_class": of_objects.masks_by_class,
    "masks_in_tiffs": of_objects.masks_in_tiffs,
    "objects": of_objects.objects,
}
OF_OBJECTS = ("pages", "boxes_in_columns", "masks", "masks_by_class", "masks_in_tiffs", "objects")


def make_shape(name: str, root: Path, train: int = 60, test: int = 20) -> pd.DataFrame:
    """Write a made-up competition into a new folder. Returns the perfect submission, as the sample's columns."""
    root.mkdir(parents=True)
    return SHAPES[name](Made(root, train, test))
