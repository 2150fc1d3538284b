"""`foldpack neighbours`: what lies nearest to out-of-fold queries, counted by brute force, and both pages."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, chromium
from embed_place import labels_of

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.data.runs import read_run
from foldpack.metrics.ranking import recall_of_items
from foldpack.train.pages.likeness import compare, false_friends, recalls, worst_first
from foldpack.train.pages.map import plane_of, shown_points
from foldpack.train.pages.neighbours import FoldSpace, joined_spaces, run_spaces
from foldpack.train.pages.retrieved import read_retrieved


def unit(count: int, seed: int, dim: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made_space(queries: int = 23, items: int = 41, kinds: int = 7) -> tuple[FoldSpace, np.ndarray]:
    """Vectors by chance; the last two identities of the queries are not in the gallery."""
    chance = np.random.default_rng(5)
    space = FoldSpace(0, np.arange(queries), unit(queries, 1), unit(items, 2), chance.integers(0, kinds - 2, items),
                      np.arange(items))
    return space, chance.integers(0, kinds, queries)


# ---- numbers ----


@pytest.mark.parametrize("block", [1, 41, 100, 1 << 22])
def test_the_nearest_of_both_kinds_are_those_of_brute_force(block: int) -> None:
    space, truth = made_space()
    found = compare(space, truth, 9, block)
    for row, own in enumerate(truth):
        cosines = space.gallery @ space.vectors[row]
        order = np.argsort(-cosines, kind="stable")
        for places, near, kind in ((found.right, found.right_cosines, True), (found.wrong, found.wrong_cosines, False)):
            expected = [place for place in order if (space.identities[place] == own) == kind][:9]
            assert places[row].tolist() == expected + [-1] * (9 - len(expected))
            np.testing.assert_allclose(near[row, : len(expected)], cosines[expected], atol=1e-6)
            assert np.isnan(near[row, len(expected):]).all()
        rights = [place for place, item in enumerate(order) if space.identities[item] == own]
        assert found.rank[row] == (rights[0] if rights else -1)
    assert (found.rank < 0).any() and (found.rank >= 0).any()


def test_recall_is_that_of_the_training() -> None:
    space, truth = made_space()
    order = np.argsort(-(space.vectors @ space.gallery.T), axis=1, kind="stable")
    expected = recall_of_items(truth, space.identities[order], space.identities, (1, 2, 4, 8))
    assert recalls(compare(space, truth, 1).rank, (1, 2, 4, 8)) == pytest.approx(list(expected.values()))
    assert np.isnan(recalls(np.array([-1, -1]), (1, 2))).all()


def test_the_worst_query_comes_first() -> None:
    space, truth = made_space()
    found = compare(space, truth, 2)
    worst, strange = worst_first(found), false_friends(found)
    assert sorted([*worst, *strange]) == list(range(len(truth))) and set(truth[strange]) == {5, 6}
    margins = [max(space.gallery[space.identities == truth[row]] @ space.vectors[row])
               - max(space.gallery[space.identities != truth[row]] @ space.vectors[row]) for row in worst]
    assert margins == sorted(margins) and margins[0] < 0 < margins[-1]
    assert (np.diff(found.wrong_cosines[strange, 0]) <= 0).all()


def test_a_gallery_of_one_identity_has_nothing_wrong_to_find() -> None:
    space = FoldSpace(0, np.arange(2), unit(2, 1), unit(3, 2), np.zeros(3, np.int64), np.arange(3))
    found = compare(space, np.array([0, 1]), 4)
    assert found.rank.tolist() == [0, -1] and (found.wrong[0] == -1).all() and len(worst_first(found)) == 0
    assert false_friends(found).tolist() == [1] and (found.right[1] == -1).all()


def test_several_runs_are_one_whose_cosine_is_their_mean_by_weight() -> None:
    first = made_space()[0]
    other = FoldSpace(0, np.arange(23), unit(23, 8, 4), unit(41, 9, 4), first.identities, np.arange(41))
    [joined] = joined_spaces([[first], [other]], [3.0, 1.0], "e.yml")
    expected = 0.75 * first.vectors @ first.gallery.T + 0.25 * other.vectors @ other.gallery.T
    np.testing.assert_allclose(joined.vectors @ joined.gallery.T, expected, atol=1e-6)


def test_the_plane_is_fitted_on_the_gallery_alone() -> None:
    space, _ = made_space()
    plane, axes = plane_of(space, "pca")
    centred = space.gallery - space.gallery.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    expected = (np.concatenate([space.gallery, space.vectors]) - space.gallery.mean(axis=0)) @ directions[:2].T
    np.testing.assert_allclose(np.abs(plane), np.abs(expected), atol=1e-5)
    assert f"{(sizes[:2] ** 2).sum() / (sizes ** 2).sum():.0%} of the variance" in axes
    assert plane.shape == (64, 2)


def test_of_many_points_whole_identities_are_drawn() -> None:
    identities, alone = np.repeat(np.arange(50), 8), np.zeros(400, dtype=bool)
    alone[identities >= 40] = True  # of no identity
    shown = shown_points(identities, alone, 100)
    known = shown[~alone[shown]]
    assert 60 <= len(known) <= 80 and len(shown) - len(known) == 20
    assert (np.bincount(identities[known])[np.unique(identities[known])] == 8).all()
    assert shown_points(identities, alone, 400).tolist() == list(range(400))
    assert len(shown_points(np.zeros(50, np.int64), np.zeros(50, bool), 10)) == 50  # one identity is not parted


# ---- pages ----


@pytest.fixture(scope="module")
def place(embed_place: Path) -> Path:
    """A retrieval competition with two runs and their ensemble. Read only."""
    return embed_place


def command(place: Path, out: Path, name: str, *more: str) -> int:
    arguments = ["--data", str(place / "data"), "--runs", str(place / "runs"), "--out", str(out / "n.html"),
                 "--map", str(out / "m.html"), *more]
    return run_app(foldpack, ["neighbours", name, *arguments])


def map_data(page: str) -> dict:
    [text] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(unescape(text))


def test_the_pages_of_a_run(place: Path, tmp_path: Path, capsys) -> None:
    assert command(place, tmp_path, "first", "--queries", "6", "--nearest", "2") == 0
    said, page = capsys.readouterr().out, (tmp_path / "n.html").read_text()
    logged = [json.loads(line) for line in (place / "runs/first/log.jsonl").read_text().splitlines()]
    for entry in (entry for entry in logged if "recall" in entry):
        shares = ", ".join(f"{k} {share:.4f}" for k, share in entry["recall"].items())
        assert f"first: fold {entry['fold']}: recall@ {shares}" in said  # as training has logged it
    assert page.count('<div class="query">') == 6 + 3
    assert len(re.findall(r'src="data:image/jpeg;base64,[^"]+"', page)) == 6 * 5 + 3 * 3
    assert not re.search(r"""(src|href)=["']?https?:""", page + (tmp_path / "m.html").read_text())


def test_the_worst_query_stands_there_with_both_kinds_of_neighbours(place: Path, tmp_path: Path) -> None:
    assert command(place, tmp_path, "first", "--queries", "1", "--nearest", "1") == 0
    page, run = (tmp_path / "n.html").read_text(), read_run(place / "runs/first")
    found, targets = [], labels_of(place, run)
    for space in run_spaces(run, targets):
        assert space.items is not None and not set(space.items) & set(space.queries)  # no self matches
        for row, vector in zip(space.queries, space.vectors, strict=True):
            cosines, own = space.gallery @ vector, space.identities == targets[row]
            if own.any():
                right, wrong = (np.where(kind, cosines, -9).argmax() for kind in (own, ~own))
                found.append((cosines[right] - cosines[wrong], row, *((run.ids[space.items[k]], space.identities[k],
                                                                       cosines[k]) for k in (wrong, right))))
    _, row, *near = min(found, key=lambda one: one[0])
    assert f"<b>{run.meta.classes[targets[row]]}</b>{run.ids[row]}, fold {run.fold[row]}" in page
    for item, identity, cosine in near:
        assert re.search(rf"<b>{run.meta.classes[identity]} {cosine:.3f}</b>(<b>\d+ items of others are nearer</b>)?"
                         rf"{item}, fold", page)


def test_an_ensemble_is_seen_as_one(place: Path, tmp_path: Path, capsys) -> None:
    assert command(place, tmp_path, str(place / "both.yml"), "--fold", "1") == 0
    said = capsys.readouterr().out
    assert "both: fold all: recall@" in said and "Map of both, fold 1" in (tmp_path / "m.html").read_text()
    seen = read_retrieved(str(place / "both.yml"), place / "runs", place / "data")
    alone = [run_spaces(run, labels_of(place, run))[1] for run in
             (read_run(place / "runs" / name) for name in ("first", "second"))]
    cosines = sum(weight * one.vectors @ one.gallery.T for weight, one in zip((0.7, 0.3), alone, strict=True))
    np.testing.assert_allclose(seen.spaces[1].vectors @ seen.spaces[1].gallery.T, cosines, atol=1e-5)


def test_the_map_has_every_point_with_its_picture(place: Path, tmp_path: Path) -> None:
    assert command(place, tmp_path, "first") == 0
    page, run = (tmp_path / "m.html").read_text(), read_run(place / "runs/first")
    data, labels = map_data(page), labels_of(place, run)
    space = run_spaces(run, labels)[0]
    assert (labels != run.targets).any()  # an identity of one fold only counts as none there, and is in other galleries
    assert len(data["points"]) == len(space.gallery) + len(space.queries)
    kinds = np.array([point[3] for point in data["points"]])
    rank = compare(space, labels[space.queries], 1).rank
    assert np.bincount(kinds).tolist() == [len(space.gallery), (rank == 0).sum(), (rank > 0).sum(), (rank < 0).sum()]
    for x, y, identity, _, item, picture in data["points"]:
        assert np.isfinite([x, y]).all() and picture.startswith("data:image/jpeg;base64,")
        assert labels[run.ids.index(item)] == identity
    assert command(place, tmp_path, "first", "--points", "40") == 0
    fewer = map_data((tmp_path / "m.html").read_text())["points"]
    assert len(fewer) <= 40 and all(point in data["points"] for point in fewer)
    again = (tmp_path / "m.html").read_bytes()
    assert command(place, tmp_path, "first", "--points", "40") == 0 and (tmp_path / "m.html").read_bytes() == again


@pytest.mark.parametrize(("arguments", "message"), [
    (("none",), "none: there is no such run"),
    (("first", "--fold", "7"), "--fold 7: first has no such fold; allowed: 0, 1"),
    (("first", "--by", "tsne"), "Invalid value for '--by'"),
])
def test_what_cannot_be_shown_is_told(place: Path, tmp_path: Path, capsys, arguments: tuple, message: str) -> None:
    assert command(place, tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "n.html").exists()


def test_a_run_of_another_task_has_no_neighbours(place: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(place / "runs", tmp_path / "runs")
    path = tmp_path / "runs/first/meta.json"
    meta = {**json.loads(path.read_text()), "task": "multiclass", "embed": None, "none": False}
    path.write_text(json.dumps({**meta, "classes": meta["classes"][:8], "prior": meta["prior"][:8]}))
    (tmp_path / "data").symlink_to(place / "data")
    assert command(tmp_path, tmp_path, "first") == 2
    assert "run 'first': its task is 'multiclass'; needed: embed" in capsys.readouterr().err


def test_umap_is_named_where_it_is_missing_and_draws_where_it_is_there(place: Path, tmp_path: Path, capsys,
                                                                      monkeypatch) -> None:
    if find_spec("umap") is not None:
        assert command(place, tmp_path, "first", "--by", "umap") == 0
        assert "UMAP by cosine" in (tmp_path / "m.html").read_text()
    monkeypatch.setattr("foldpack.train.pages.map.find_spec", lambda name: None)
    assert command(place, tmp_path, "first", "--by", "umap") == 2
    assert "umap-learn is not installed; install it with: pip install umap-learn" in capsys.readouterr().err


# ---- in a real Chromium ----

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DRAWN = "[...document.images].every(one => { one.loading = 'eager'; return one.complete && one.naturalWidth > 0; })"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_both_pages_in_a_browser(place: Path, tmp_path: Path) -> None:
    """They fit a phone, every picture is one, nothing is fetched, and the map shows what the mouse is at."""
    assert command(place, tmp_path, "first", "--queries", "4") == 0
    points = map_data((tmp_path / "m.html").read_text())["points"]
    with chromium(tmp_path / "profile") as page:
        for width in (390, 1280):
            page.open((tmp_path / "n.html").as_uri(), width)
            page.wait(f"document.images.length > 20 && {DRAWN}")
            assert page.value(FITS)
            page.open((tmp_path / "m.html").as_uri(), width)
            page.wait(f"document.querySelectorAll('circle').length === {len(points)}")
            assert page.value(FITS)
            for k in (0, len(points) - 1):
                x, y = page.value(f"""(() => {{ scrollTo(0, 0);
                    const box = document.querySelectorAll('circle')[{k}].getBoundingClientRect();
                    return [box.x + box.width / 2, box.y + box.height / 2]; }})()""")
                on_top = page.value(f"document.elementFromPoint({x}, {y}).dataset.k")  # another may lie above it
                page.move(x, y)
                page.wait("tip.style.display === 'block' && tip.querySelector('img').naturalWidth > 0")
                assert points[int(on_top)][4] in page.value("tip.innerText")
                assert 0 < page.value("document.querySelectorAll('.faint').length") < len(points)
        colours = "new Set([...document.querySelectorAll('circle')].map(one => one.getAttribute('stroke'))).size"
        assert page.value(colours) > 5
        for by, most in (("known", 3), ("answer", 4)):
            page.value(f"get('by').value = '{by}'; get('by').onchange()")
            assert 2 <= page.value(colours) <= most
        side = page.value("map.viewBox.baseVal.width")
        page.value("get('in').onclick()")
        assert page.value("map.viewBox.baseVal.width") == pytest.approx(side / 1.5)
        page.value("get('all').onclick()")
        assert page.value("map.viewBox.baseVal.width") == pytest.approx(side)
        assert page.hosts() == set() and page.errors == []
