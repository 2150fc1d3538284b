"""`competition.yml`: where a competition's items, labels and images are, and how its answer looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.answer_forms import AnswerConfig
from foldpack.settings.item_sources import HeightWidth, ItemsConfig, Pair
from foldpack.settings.label_kinds import LabelsConfig
from foldpack.settings.run import ConfigError, read_text
from foldpack.settings.stages import Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict


class ImagesConfig(StrictModel):
    """How image files are read. Everything becomes 8 bits a channel before a network sees it."""

    reader: Literal["pillow", "dicom", "tiff", "numpy", "json", "bson"] = "pillow"  # `data.readers`
    channels: Annotated[int, Field(ge=1, le=64)] = 3  # of what networks get, unless a run says otherwise
    range: Pair | None = None  # values that become 0 and 255, those beyond are cut; None: of the format
    window: Literal["file"] | Pair | None = None  # dicom: centre and width, or those that the file has
    arrays: list[str] | None = None  # json: the fields with the numbers, a channel each
    shape: HeightWidth | None = None  # json: height and width of each

    @model_validator(mode="after")
    def _the_reader_reads_it(self) -> ImagesConfig:
        given = {"window": self.window, "arrays": self.arrays, "shape": self.shape}
        for name, value in given.items():
            if value is not None and self.reader != ("dicom" if name == "window" else "json"):
                raise ValueError(f"reader '{self.reader}' does not read {name}")
        if self.reader == "json" and (self.arrays is None or self.shape is None or self.range is None):
            raise ValueError("reader 'json' needs arrays, shape and range")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range {self.range}: the first, which becomes black, must be below the second")
        if isinstance(self.window, list) and self.window[1] < 1:
            raise ValueError(f"window {self.window}: centre and width, and the width is at least 1")
        if self.window is not None and self.range is not None:
            raise ValueError("range and window say the same; give one of them")
        return self


class MetricConfig(StrictModel):
    """What the competition is scored by: a name of `metrics.registry`, or FILE.py:NAME of the project."""

    name: str
    k: Annotated[int, Field(ge=1)] | None = None  # of metrics of the best k
    beta: Annotated[float, Field(gt=0)] | None = None  # of F-beta
    weights: list[float] | None = None  # of the classes, in their order
    greater: bool | None = None  # whether more is better; of a metric of the project's own

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, data: object) -> object:
        return {"name": data} if isinstance(data, str) else data


class CompetitionConfig(StrictModel):
    """`competition.yml`. All paths are below the competition's folder, as downloaded or as Kaggle mounts it."""

    name: Name  # as configurations and ensembles name it
    slug: Name  # on Kaggle
    train: ItemsConfig
    test: ItemsConfig
    images: ImagesConfig = ImagesConfig()
    labels: LabelsConfig
    answer: AnswerConfig
    metric: MetricConfig


def parse_competition(data: object, source: Path | str) -> CompetitionConfig:
    """Plain data -> CompetitionConfig. Raises ConfigError naming the key, with "did you mean" for unknown ones."""
    return parse_strict(CompetitionConfig, data, source, ConfigError)


def read_competition(path: Path) -> CompetitionConfig:
    """Read `competition.yml`. Raises ConfigError or YamlError."""
    return parse_competition(load_strict(read_text(path), str(path)), path)


def competition_text(config: CompetitionConfig) -> str:
    """The YAML of a competition, without what is at its default."""
    return dump_strict(config.model_dump(mode="json", exclude_defaults=True))
