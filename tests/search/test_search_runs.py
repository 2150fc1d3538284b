"""The search of finished runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from answered_as import answered_as
from view_arrays import rows_of_array

from foldpack.data.rows import Rows
from foldpack.data.runs import FoldMeta, RunMeta, read_run, write_array, write_meta, write_oof, write_oof_rows
from foldpack.ensemble.answers import answers_of, decided_rows
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.errors import DataError, FoldpackError
from foldpack.metrics.registry import METRICS, get_metric
from foldpack.search.decide.decision import LabelRule
from foldpack.search.find import SearchOptions
from foldpack.search.report.report import report_lines
from foldpack.search.runs import RunSearch, search_runs, single_notes
from foldpack.settings.ensemble import parse_spec, spec_to_dict

N, CLASSES = 160, [f"c{k}" for k in range(6)]
DIGEST = "0" * 64


def competition_for(folder, task, metric):
    """One that is answered by what the metric scores; by default a class, or labels."""
    if metric is None:
        return "digits" if task == "multiclass" else "imet"
    kind = "class" if task == "multiclass" else "labels"
    return answered_as(folder, metric, {"kind": kind, "column": "label"})


def answer_for(folder, name, task, metric):
    """Let a run's competition ask for what a metric scores."""
    asked = competition_for(folder, task, get_metric(metric))
    write_meta(folder / name, read_run(folder / name).meta.model_copy(update={"competition": asked}))


def write_run(folder, name, task, targets, sharpness, seed, classes=CLASSES, seconds=0.01, metric=None):
    rng = np.random.default_rng(seed)
    truth = targets if task == "multilabel" else targets[:, None] == np.arange(len(classes))
    logits = np.array([sharpness * truth - 1 + rng.normal(0, 1, truth.shape) for _ in range(2)]).astype(np.float16)
    (folder / name).mkdir(parents=True)
    fold = np.arange(len(targets)) % 4
    write_oof_rows(folder / name / "oof.csv", [f"i{k}" for k in range(len(targets))], fold)
    digests = [write_oof(folder / name / "oof", rows_of_array(logits), "float16"),
               write_array(folder / name / "targets.npy", targets)]
    folds = [FoldMeta(fold=k, items=int((fold == k).sum()), score=0.5, epoch=1, sha256=DIGEST) for k in range(4)]
    write_meta(folder / name, RunMeta(
        run=name, competition=competition_for(folder, task, metric), task=task, classes=classes,
        prior=truth.mean(axis=0).tolist(), size=32, views=["identity", "hflip"],
        metric="accuracy" if task == "multiclass" else "f2", score=0.5, folds=folds, seconds_per_image=seconds,
        config_sha256=DIGEST, folds_sha256=DIGEST, oof_sha256=digests[0], targets_sha256=digests[1],
        versions={"torch": "2", "timm": "1"},
    ))
    return logits


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(1)
    return tmp_path, {"multiclass": rng.integers(0, 6, N), "multilabel": rng.random((N, 6)) < 0.25}


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_kernels_blend_of_the_oof_gives_the_score_in_the_yaml(runs, task):
    folder, targets = runs
    logits = {name: write_run(folder, name, task, targets[task], s, k)
              for k, (name, s) in enumerate((("a", 1.5), ("b", 2.0), ("c", 0.5)))}
    spec, numbers = search_runs("best", [folder / name for name in logits], RunSearch())
    assert parse_spec(spec_to_dict(spec)) == spec
    probs = np.stack([merge_view_probs(logits[member.run], task) for member in spec.members])
    weights = np.array([member.weight for member in spec.members])
    blended = blend_probs(probs, weights, spec.last.fuse, task == "multiclass")
    said = answers_of(Rows({"probs": blended}), spec.last.decision, spec.last.outputs).names or []
    cells = [" ".join(words) for words in said]
    if task == "multilabel":
        decided = np.array([[name in cell.split() for name in CLASSES] for cell in cells])
        assert get_metric("f2")(targets[task], decided) == pytest.approx(spec.metric.oof, abs=1e-6)
    else:
        right = np.mean([CLASSES[true] == cell for true, cell in zip(targets[task], cells, strict=True)])
        assert right == pytest.approx(spec.metric.oof, abs=1e-6)
    assert any(line.strip().startswith("nested") for line in report_lines(numbers))


def test_a_limit_of_hours_and_images_leaves_runs_out_and_the_plan_names_units(runs):
    folder, targets = runs
    for k, (name, seconds) in enumerate((("a", 0.01), ("b", 0.02), ("c", 0.05))):
        write_run(folder, name, "multilabel", targets["multilabel"], 1.5 + 0.2 * k, k, seconds=seconds)
    asked = RunSearch(hours=3.0, images=40_000, device_factor=1.5, options=SearchOptions(rule=LabelRule(1, 3)))
    spec, numbers = search_runs("best", [folder / name for name in "abc"], asked)
    hours = {member["name"]: member["hours"] for member in numbers["members"]}
    assert sum(hours[member.run] for member in spec.members) <= 3.0
    assert len(spec.members) < 3 and len(numbers["front"]) >= 3
    assert spec.budget.hours == 3.0 and spec.last.decision.max_labels == 3
    planned = {(unit.run, unit.fold) for unit in spec.last.plan.units}
    assert planned == {(member.run, fold.fold) for member in spec.members for fold in member.folds}
    assert spec.last.plan.prefixes[-1].oof == pytest.approx(spec.metric.oof, abs=1e-6)


ONE_CLASS = ["accuracy", "auc", "average_precision", "error", "log_loss", "macro_f1", "map1", "map10", "map3", "map5",
             "micro_f1", "recall1", "recall10", "recall5", "top5_accuracy"]
OF_TWO = ["pf1", "weighted_auc"]  # they know two classes
LABELS = ["auc", "average_precision", "f1", "f1_macro", "f1_micro", "f2", "f2_macro", "f2_micro", "log_loss", "map10",
          "map3", "map5"]
OF_ONE = ["recall10", "recall5", "top5_accuracy"]  # they know one right class an item


def told(decision, blended):
    """What a score is asked about, from nothing but what is handed in."""
    decided = decided_rows(decision, blended)
    if decided is None or decided.dtype == bool:
        return blended if decided is None else decided
    scores, ranked = np.zeros(blended.shape), decided.reshape(len(blended), -1)
    np.put_along_axis(scores, ranked, np.arange(ranked.shape[1], 0, -1)[None] + np.zeros(ranked.shape), axis=1)
    return scores


@pytest.mark.parametrize(("task", "fitting"), [("multiclass", ONE_CLASS), ("multilabel", LABELS)])
def test_what_is_handed_in_has_the_score_that_was_searched_for(runs, task, fitting):
    folder, targets = runs
    logits = {name: write_run(folder, name, task, targets[task], s, k)
              for k, (name, s) in enumerate((("a", 1.5), ("b", 1.0)))}
    kinds = {"multiclass": {"class", "probs", "ranking"}, "multilabel": {"labels", "probs", "ranking"}}[task]
    for metric in fitting:
        for name in "ab":
            answer_for(folder, name, task, metric)
        spec, _ = search_runs("best", [folder / "a", folder / "b"], RunSearch(metric=metric))
        decision = spec.last.decision
        assert decision.kind == METRICS[metric].answer and spec.metric.answer is None and decision.kind in kinds
        probs = [merge_view_probs(logits[member.run], task) for member in spec.members]
        blended = blend_probs(probs, [member.weight for member in spec.members], spec.last.fuse, task == "multiclass")
        score = METRICS[metric](targets[task], told(decision, blended))
        assert score == pytest.approx(spec.metric.oof, abs=1e-5), metric
        kinds_before = {getattr(prefix.decision, "kind", None) for prefix in spec.last.plan.prefixes}
        assert kinds_before == {"labels" if decision.kind == "labels" else None}


@pytest.mark.parametrize(("task", "name", "decision"), [
    ("multiclass", "map:4", {"kind": "ranking", "k": 4}), ("multiclass", "top_accuracy:2", {"kind": "ranking", "k": 2}),
    ("multiclass", "log_loss:1,2,1,1,0,3", {"kind": "probs"}),
    ("multiclass", "accuracy:1,2,1,1,0,3", {"kind": "class"}),
    ("multilabel", "fbeta:1.5", {"kind": "labels"}), ("multilabel", "auc:1,2,1,1,0,3", {"kind": "probs"}),
])
def test_a_metric_with_numbers_in_its_name_is_searched_and_handed_in(runs, task, name, decision):
    folder, targets = runs
    logits = {run: write_run(folder, run, task, targets[task], s, k, metric=get_metric(name))
              for k, (run, s) in enumerate((("a", 1.5), ("b", 1.0)))}
    spec, _ = search_runs("best", [folder / "a", folder / "b"], RunSearch(metric=name))
    assert spec.metric.name == name and spec.metric.answer is None and parse_spec(spec_to_dict(spec)) == spec
    found = spec.last.decision
    assert {key: getattr(found, key) for key in decision} == decision
    probs = [merge_view_probs(logits[member.run], task) for member in spec.members]
    blended = blend_probs(probs, [member.weight for member in spec.members], spec.last.fuse, task == "multiclass")
    assert get_metric(name)(targets[task], told(found, blended)) == pytest.approx(spec.metric.oof, abs=1e-5)


def test_classes_that_a_mean_leaves_out_are_told(runs):
    folder, targets = runs
    y = targets["multilabel"].copy()
    y[:, 2], y[:, 4] = False, True
    write_run(folder, "a", "multilabel", y, 1.5, 0, metric=get_metric("auc"))
    said = "2 of 6 classes, such as 'c2', are true of none or of all rows, and are left out of its mean"
    assert f"auc: {said}" in search_runs("best", [folder / "a"], RunSearch(metric="auc"))[1]["notes"]
    notes = search_runs("best", [folder / "a"], RunSearch(metric="average_precision"))[1]["notes"]
    assert any(note.startswith("average_precision: 1 of 6 classes") for note in notes)
    answer_for(folder, "a", "multilabel", "f2")
    notes = search_runs("best", [folder / "a"], RunSearch(metric="f2"))[1]["notes"]
    assert not any("left out" in note for note in notes)


@pytest.mark.parametrize(("task", "fitting"), [("multiclass", ONE_CLASS), ("multilabel", LABELS)])
def test_a_metric_of_what_runs_do_not_predict_is_refused(runs, task, fitting):
    folder, targets = runs
    write_run(folder, "a", task, targets[task], 1.5, 0)
    first = "one class an item" if task == "multiclass" else "a set of labels an item"
    others = [metric for metric in METRICS if METRICS[metric].answer not in ("probs", "ranking")]
    for metric in [metric for metric in others if metric not in fitting]:
        with pytest.raises(DataError) as failure:
            search_runs("best", [folder / "a"], RunSearch(metric=metric))
        said = str(failure.value)
        assert said.startswith(f"metric '{metric}' scores ") and "\n" not in said
        hands = f"{first} or probabilities or a ranked list of classes an item"
        allowed = sorted([*fitting, *OF_TWO, *(OF_ONE if task == "multilabel" else ())])
        assert f", but a kernel hands in {hands}; allowed: {', '.join(allowed)}, or a .py file" in said
        assert said.endswith("; name one of them with --metric")
    for metric in OF_TWO:
        with pytest.raises(DataError, match=f"metric '{metric}' is of two classes, and these runs have 6; name"):
            search_runs("best", [folder / "a"], RunSearch(metric=metric))
    for metric in OF_ONE if task == "multilabel" else []:
        with pytest.raises(DataError, match=f"metric '{metric}' knows one right class an item, .* such as map5"):
            search_runs("best", [folder / "a"], RunSearch(metric=metric))


def test_a_metric_of_ones_own_says_what_it_scores(runs):
    folder, targets = runs
    write_run(folder, "a", "multiclass", targets["multiclass"], 1.5, 0)
    body = "def metric(y, p, groups):\n    assert p.ndim == 1 and len(p) == len(y)\n    return float((y == p).mean())\n"
    (folder / "mine.py").write_text('needs = "class"\n' + body)
    spec, _ = search_runs("best", [folder / "a"], RunSearch(metric=str(folder / "mine.py")))
    accuracy, _ = search_runs("best", [folder / "a"], RunSearch(metric="accuracy"))
    assert (spec.metric.name, spec.metric.answer) == ("mine", "class") and spec.metric.oof == accuracy.metric.oof
    (folder / "mine.py").write_text(body)
    (folder / "mine.py").write_text("def metric(y, p, groups):\n    return float(p[range(len(y)), y].mean())\n")
    answer_for(folder, "a", "multiclass", "log_loss")
    spec, _ = search_runs("best", [folder / "a"], RunSearch(metric=str(folder / "mine.py")))
    assert spec.metric.answer == spec.last.decision.kind == "probs"
    (folder / "mine.py").write_text('needs = "values"\n' + body)
    with pytest.raises(DataError, match="metric 'mine' scores a value an item, but .* says what it `needs`"):
        search_runs("best", [folder / "a"], RunSearch(metric=str(folder / "mine.py")))
    (folder / "accuracy.py").write_text(body)
    with pytest.raises(FoldpackError, match="accuracy.py: 'accuracy' is the name of a built-in metric; rename"):
        search_runs("best", [folder / "a"], RunSearch(metric=str(folder / "accuracy.py")))


def test_a_member_that_beats_the_blend_is_told():
    found = SimpleNamespace(metric=get_metric("f2"), single_scores=np.array([0.2, 0.46]), score=0.16)
    assert single_notes(found, ["a", "b"]) == [
        "'b' alone scores 0.4600, the blend 0.1600: the others spoil it; search again without the weakest members"]
    assert single_notes(SimpleNamespace(**{**vars(found), "score": 0.459}), ["a", "b"]) == []
    loss = SimpleNamespace(metric=get_metric("log_loss"), single_scores=np.array([0.2, 0.46]), score=0.3)
    assert single_notes(loss, ["a", "b"])[0].startswith("'a' alone scores 0.2000")
    assert single_notes(SimpleNamespace(**{**vars(loss), "score": 0.19}), ["a", "b"]) == []


def test_a_limit_that_nothing_fits_is_told(runs):
    folder, targets = runs
    write_run(folder, "a", "multilabel", targets["multilabel"], 1.5, 0, seconds=0.01)
    asked = RunSearch(hours=1.0, images=4_000_000)
    _, numbers = search_runs("best", [folder / "a"], asked)
    [note] = [note for note in numbers["notes"] if "even the cheapest" in note]
    assert note.startswith("even the cheapest members need ") and "for 4,000,000 images on 1 device(s)" in note
    assert "0.91 h of 1 h are free for them: the kernel will leave units out; train a smaller network" in note
    _, numbers = search_runs("best", [folder / "a"], RunSearch(hours=9.0, images=1000))
    assert not [note for note in numbers["notes"] if "even the cheapest" in note]


def test_runs_that_do_not_belong_together_and_metrics_that_do_not_fit_are_named(runs):
    folder, targets = runs
    write_run(folder, "a", "multilabel", targets["multilabel"], 1.5, 0)
    write_run(folder, "other", "multilabel", targets["multilabel"][:100], 1.5, 1)
    write_run(folder, "renamed", "multilabel", targets["multilabel"], 1.5, 1, [f"d{k}" for k in range(6)])
    for other, what in (("other", "ids"), ("renamed", "classes")):
        with pytest.raises(DataError, match=f"runs 'a' and '{other}' differ in their {what}"):
            search_runs("best", [folder / "a", folder / other], RunSearch())
    with pytest.raises(DataError, match="metric 'accuracy' scores one class an item, but a kernel hands in a set of"):
        search_runs("best", [folder / "a"], RunSearch(metric="accuracy"))
    with pytest.raises(DataError, match="a run is named twice: a, a"):
        search_runs("best", [folder / "a", folder / "a"], RunSearch())


def test_a_search_follows_the_metric_of_the_competition_unless_another_is_asked_for(runs):
    folder, targets = runs
    write_run(folder, "a", "multiclass", targets["multiclass"], 1.5, 0)
    meta = json.loads((folder / "a" / "meta.json").read_text())
    (folder / "a" / "meta.json").write_text(json.dumps(meta | {"metric": "macro_f1"}))
    spec, numbers = search_runs("best", [folder / "a"], RunSearch())
    assert spec.metric.name == "accuracy"
    assert numbers["notes"][0] == ("competition 'digits' is scored by 'accuracy'; it is followed, and not 'macro_f1', "
                                   "by which the first run chooses its epochs")
    spec, numbers = search_runs("best", [folder / "a"], RunSearch(metric="macro_f1"))
    assert spec.metric.name == "macro_f1" and not any("is scored by" in note for note in numbers["notes"])
