"""By what a competition is scored: no download says it, so it is guessed from the answer, or known of the slug."""

from __future__ import annotations

from typing import Any

from foldpack.metrics.answers import form_problem
from foldpack.metrics.of_competition import competition_metric
from foldpack.metrics.registry import Metric
from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.settings.answer_forms import AnswerConfig, MasksAnswer, RankingAnswer
from foldpack.settings.competition import MetricConfig
from foldpack.settings.label_kinds import LabelsConfig

# slug on Kaggle -> metric, as the competition's page has it
KNOWN: dict[str, dict[str, Any]] = {
    "aerial-cactus-identification": {"name": "auc"},
    "alaska2-image-steganalysis": {"name": "weighted_auc"},
    "aptos2019-blindness-detection": {"name": "qwk"},
    "cassava-leaf-disease-classification": {"name": "accuracy"},
    "cdiscount-image-classification-challenge": {"name": "accuracy"},
    "dog-breed-identification": {"name": "log_loss"},
    "dogs-vs-cats-redux-kernels-edition": {"name": "log_loss"},
    "herbarium-2020-fgvc7": {"name": "macro_f1"},
    "herbarium-2021-fgvc8": {"name": "macro_f1"},
    "herbarium-2022-fgvc9": {"name": "macro_f1"},
    "histopathologic-cancer-detection": {"name": "auc"},
    "hotel-id-2021-fgvc8": {"name": "map", "k": 5},
    "humpback-whale-identification": {"name": "map", "k": 5},
    "imet-2019-fgvc6": {"name": "f2"},
    "imet-2020-fgvc7": {"name": "f1_micro"},
    "inaturalist-2019-fgvc6": {"name": "error"},
    "iwildcam-2019-fgvc6": {"name": "macro_f1"},
    "iwildcam-2020-fgvc7": {"name": "accuracy"},
    "leaf-classification": {"name": "log_loss"},
    "paddy-disease-classification": {"name": "accuracy"},
    "petfinder-pawpularity-score": {"name": "rmse"},
    "plant-pathology-2020-fgvc7": {"name": "auc"},
    "plant-pathology-2021-fgvc8": {"name": "f1"},
    "plant-seedlings-classification": {"name": "micro_f1"},
    "ranzcr-clip-catheter-line-classification": {"name": "auc"},
    "rsna-breast-cancer-detection": {"name": "pf1"},
    "siim-isic-melanoma-classification": {"name": "auc"},
    "statoil-iceberg-classifier-challenge": {"name": "log_loss"},
    "hubmap-kidney-segmentation": {"name": "dice"},
    "imaterialist-fashion-2019-FGVC6": {"name": "mask_ap"},
    "kuzushiji-recognition": {"name": "point_f1"},
    "siim-covid19-detection": {"name": "box_map:0.5"},
    "tgs-salt-identification-challenge": {"name": "mask_precision"},
    "uw-madison-gi-tract-image-segmentation": {"name": "dice_hausdorff"},
    "vinbigdata-chest-xray-abnormalities-detection": {"name": "box_map:0.4"},
    "whale-categorization-playground": {"name": "map", "k": 5},
}
GUESSES = {"class": "accuracy", "probability": "auc", "values": "rmse", "grades": "qwk", "labels": "f1",
           "ranking": "map", "boxes": "box_map", "points": "point_f1"}


def known_metric_of(slug: str) -> Metric | None:
    """What a known competition is scored by, None for others and for those of boxes, points and masks."""
    known = competition_metric(MetricConfig(**KNOWN[slug])) if slug in KNOWN else None
    return known if isinstance(known, Metric) else None


def find_metric_config(slug: str, labels: LabelsConfig, answer: AnswerConfig, findings: Findings) -> MetricConfig:
    """The metric of a known slug, else the usual one for such an answer. Raises RecognitionError for an answer that the
    known metric does not score."""
    if slug in KNOWN:
        known = known_metric_of(slug)
        if known is not None and (problem := form_problem(answer.kind, known)):
            raise RecognitionError(f"{answer.sample}: '{slug}' is scored by {known.name}, but labels were recognised "
                                   f"as {labels.kind} and the answer as {answer.kind}: {problem.partition(';')[0]}; "
                                   "compare the training table and the sample with the competition's, or give another "
                                   "--slug")
        findings.recognise("metric", str(KNOWN[slug]["name"]), f"that of {slug}")
        return MetricConfig(**KNOWN[slug])
    exclusive = getattr(labels, "exclusive", labels.kind != "labels")
    name = ("log_loss" if exclusive else "auc") if answer.kind == "probabilities" else GUESSES.get(answer.kind, "")
    if isinstance(answer, MasksAnswer):
        name = {"image": "dice", "class": "class_dice", "object": "mask_map"}[answer.rows]
    k = answer.k if isinstance(answer, RankingAnswer) else None
    findings.guess("metric", name if k is None else f"{name} at {k}", "no file of a download says it, and it is usual "
                   f"for an answer of kind {answer.kind}: read the competition's page")
    return MetricConfig(name=name, k=k)
