"""`foldpack curves`: what a log tells, the verdict with its numbers, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_house import tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.data.runs import append_log
from foldpack.search.report.figures import rate_figure
from foldpack.settings.run import config_text
from foldpack.train.pages.curves import curves_html, mean_curve
from foldpack.train.pages.run_log import RunLog, read_run_log
from foldpack.train.pages.verdict import course_of, fold_gap, span, verdict


def entry(fold: int, epoch: int, score: float | None = None, loss: float = 1.0, **more: object) -> dict:
    scored = {} if score is None else {"score": score}
    return {"fold": fold, "epoch": epoch, "lr": 1e-3, "loss": loss, **scored, **more}


def write_run(folder: Path, entries: list, **changes: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text(config_text(tiny_config(folder.name, **{"epochs": 20, **changes})))
    (folder / "log.jsonl").write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n"
                                              for line in entries))
    return folder


def run_of(tmp_path: Path, folds: list[list[float]], losses: list[float] | None = None, **changes: object) -> RunLog:
    """A run whose folds scored so, epoch by epoch."""
    entries = [entry(fold, epoch, score, 1.0 if losses is None else losses[epoch])
               for fold, scores in enumerate(folds) for epoch, score in enumerate(scores)]
    return read_run_log(write_run(tmp_path / "r", entries, **changes))


def test_a_fold_that_is_taken_up_again_or_trained_anew_counts_once(tmp_path: Path) -> None:
    entries = [entry(0, 0, 0.1), entry(0, 1, 0.2), entry(1, 0, 0.7), entry(0, 1, 0.3), entry(0, 2, 0.4),  # taken up
               {"fold": 0, "best_epoch": 2, "best_score": 0.4, "seconds_per_image": 0.1},
               entry(1, 0, 0.5), '{"fold": 1, "epo']  # anew; the last line is being written
    run = read_run_log(write_run(tmp_path / "r", entries))
    assert {fold.fold: fold.scored[1].tolist() for fold in run.folds} == {0: [0.1, 0.3, 0.4], 1: [0.5]}


@pytest.mark.parametrize("line", ["no json", "[1]", '{"epoch": 3}', '{"fold": 0, "epoch": "x"}', '{"fold": 0, "ep',
                                  "\0\0"])
def test_a_line_that_is_none_is_left_out_and_noted(tmp_path: Path, line: str) -> None:
    """As a power cut tears it; what comes behind begins anew."""
    folder = write_run(tmp_path / "r", [entry(0, 0, 0.1), line])
    append_log(folder, entry(0, 1, 0.2))
    append_log(folder, entry(0, 2, 0.3))
    run = read_run_log(folder)
    assert run.folds[0].scored[1].tolist() == [0.1, 0.2, 0.3]
    assert run.notes == [f"{folder}/log.jsonl: line 2 is no entry of a training, as a power cut leaves one; it is left "
                         f"out: {line!r}"]


def test_a_logarithmic_axis_needs_no_fonts_for_powers_of_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", lambda *given, **more: 1 / 0)
    entries = [{**entry(0, epoch, 0.5), "lr": 10.0 ** -epoch} for epoch in range(5)]
    page = curves_html([read_run_log(write_run(tmp_path / "r", entries))])
    rates = np.geomspace(1e-6, 1, 30)
    for text in (page, rate_figure(rates, rates, rates, 1e-3, 1e-2)):
        assert re.search("1e(-|\u2212|&#8722;)04", text)


def rising(count: int = 20, end: float = 0.9, bend: float = 8.0, noise: float = 0.0) -> list[float]:
    """A score that climbs and levels out; bend: epochs."""
    chance = np.random.default_rng(1)
    return [end - 0.6 * float(np.exp(-epoch / bend)) + noise * float(chance.normal()) for epoch in range(count)]


def falling(count: int = 20, top: int = 7) -> list[float]:
    return [0.8 - 0.03 * (top - epoch) if epoch <= top else 0.8 - 0.004 * (epoch - top) for epoch in range(count)]


DOWN = [1.0 - 0.04 * epoch for epoch in range(20)]


@pytest.mark.parametrize(("scores", "losses", "words"), [
    (rising(), DOWN, r"^still rising at the end \(best at epoch 19, the last is 19\): the last 5 epochs brought "
                     r"\+0.0485 accuracy of \+0.5442; train longer$"),
    (rising(bend=2.0), DOWN, r"^level at the end \(best at epoch 19, .*: the last 5 epochs brought \+0.0005 accuracy"),
    (rising(bend=2.0, noise=0.004), DOWN, r"^level at the end .*wavers by 0.00\d\d; more epochs bring little$"),
    (falling(), DOWN, r"^best at epoch 7, the last is 19: worse by 0.0440 accuracy since, while the training loss fell "
                      r"from 0.72 to 0.24: it overfits; fewer epochs"),
    (falling(), DOWN[::-1], r"the training loss rose from 0.52 to 1: it runs away; lower optim.lr or set"),
    ([0.1, 0.12, 0.09, 0.11] * 5, [2.3] * 20, r"^learns next to nothing: the best is 0.0200 accuracy above the first "
                                              r"epoch, it wavers by 0.0\d+, and the training loss fell by 0%"),
    (rising()[:3], DOWN, "^too few scored epochs to tell: 3, and 4 are needed$"),
    ([0.5], DOWN, "^too few scored epochs to tell: 1, and")])
def test_the_verdict_follows_the_course(tmp_path: Path, scores: list, losses: list, words: str) -> None:
    assert re.search(words, verdict(run_of(tmp_path, [scores, scores], losses)))


def test_the_verdict_follows_the_metric_downwards(tmp_path: Path) -> None:
    run = run_of(tmp_path, [[1 - score for score in falling()]], DOWN, metric="log_loss")
    assert verdict(run).startswith("best at epoch 7, the last is 19: worse by 0.0440 log_loss since, while")
    assert course_of(run.folds[0], -1).best == pytest.approx(0.2)


def test_the_course_against_numbers_by_hand(tmp_path: Path) -> None:
    run = run_of(tmp_path, [[0.5, 0.6, 0.8, 0.7, 0.75, 0.7, 0.74, 0.71]], [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25])
    course = course_of(run.folds[0], 1)
    assert (course.epochs, course.best_epoch, course.best, course.late) == (8, 2, 0.8, False)
    assert course.climb == pytest.approx(0.3) and course.gain == pytest.approx(0.74 - 0.8)
    assert course.drop == pytest.approx(0.8 - 0.71) and course.loss == (0.8, 0.25)
    assert course.noise == pytest.approx(np.std([-0.05, 0.04, -0.03]) / np.sqrt(2))
    assert course.loss_fall == pytest.approx(0.75)


def test_the_gap_of_folds_and_the_mean_of_what_all_have(tmp_path: Path) -> None:
    run = run_of(tmp_path, [[0.5, 0.6, 0.7], [0.4, 0.65]])
    assert fold_gap(run) == "best accuracy by fold 0.6500 to 0.7000, a gap of 0.0500; mean 0.6750, deviation 0.0354"
    epochs, means = mean_curve(run.folds, "score")
    assert epochs.tolist() == [0, 1] and means == pytest.approx([0.45, 0.625])
    assert span([3, 3]) == "3" and span([9, 2]) == "2 to 9"


def test_the_page_has_runs_over_each_other_and_nothing_of_the_network(tmp_path: Path) -> None:
    runs = []
    for name, metric in (("first", "accuracy"), ("second", "log_loss")):
        lines = [entry(fold, epoch, score, images_per_second=100.0 + epoch, seconds=2.0, memory_mib=800)
                 for fold in range(2) for epoch, score in enumerate(rising())]
        runs.append(read_run_log(write_run(tmp_path / name, lines, metric=metric)))
    page = curves_html(runs)
    assert page == curves_html(runs)  # the same bytes
    assert page.count("<svg") == 4 and "accuracy by epoch" in page and "log_loss by epoch" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page) and "<script" not in page
    assert "<td>110</td><td>2.0</td><td>800</td>" in page.replace("\n", "") and page.count("still rising") == 1
    assert "prefers-color-scheme: dark" in page and "currentColor" in page


def command(tmp_path: Path, *names: str) -> int:
    return run_app(foldpack, ["curves", *names, "--runs", str(tmp_path), "--out", str(tmp_path / "c.html")])


def test_the_command_says_and_writes_it(tmp_path: Path, capsys) -> None:
    entries = [entry(fold, epoch, score) for fold in (0, 1) for epoch, score in enumerate(rising())]
    write_run(tmp_path / "one", entries)
    assert command(tmp_path, "one", "one") == 0  # named twice: shown once
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("one: still rising") and said[1].startswith("one: best accuracy by fold")
    assert said[2] == f"page {tmp_path / 'c.html'}" and len(said) == 3
    assert "<title>Curves of one</title>" in (tmp_path / "c.html").read_text()
    append_log(tmp_path / "one", {"epoch": 3})
    assert command(tmp_path, "one") == 0
    assert capsys.readouterr().out.startswith(f"note: {tmp_path}/one/log.jsonl: line 41 is no entry of a training")


def test_runs_that_are_not_there_are_told_in_one_line(tmp_path: Path, capsys) -> None:
    (write_run(tmp_path / "one", []) / "log.jsonl").unlink()
    write_run(tmp_path / "two", [{"fold": 0, "best_epoch": 1}])
    for name, words in (("onne", f"{tmp_path}/onne: there is no such run: did you mean 'one'? Allowed: one, two"),
                        ("one", f"{tmp_path}/one/log.jsonl: nothing is logged; the run has no epoch yet, `foldpack "
                                "train` begins with it"),
                        ("two", f"{tmp_path}/two/log.jsonl: no epoch is logged yet; wait for the first")):
        assert command(tmp_path, name) == 2
        assert capsys.readouterr().err == f"error: {words}\n"
    (tmp_path / "two/meta.json").write_text("{}")
    assert command(tmp_path, "two") == 2
    assert capsys.readouterr().err == (f"error: {tmp_path}/two: a finished run without epochs of its own, as `foldpack "
                                       "average` makes it; name the runs that it was made of\n")
    assert run_app(foldpack, ["curves", "x", "--runs", str(tmp_path / "none"), "--out", "c.html"]) == 2
    assert "no run lies there; train one with `foldpack train`" in capsys.readouterr().err
    assert not (tmp_path / "c.html").exists()
