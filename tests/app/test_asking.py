"""What the browser demo says of an image is what a kernel hands in; files that are no pictures get a message."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from embed_place import labels_of
from multilabel_place import make_place
from PIL import Image
from small_house import OWNER, PROJECT, House, load_entry, package_probs

from foldpack.app.asking import ALL, AskedEnsemble, UploadError
from foldpack.app.likeness import Pictures, likest
from foldpack.app.present import PRESENTATIONS, answer_html, message_html
from foldpack.competitions.adapters import find_adapter
from foldpack.data.decode import PILLOW
from foldpack.data.runs import read_run
from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import read_spec, spec_to_dict, write_spec
from foldpack.settings.stages import SpecError
from foldpack.train.pages.neighbours import joined_spaces, run_spaces
from packer.build.kernel_folder import build_kernel

ASKED = 5  # images of each competition


@dataclass(frozen=True)
class Place:
    """A competition, its ensemble, and what the kernel answered. probs: (n, C) of the test images, as in `table`."""

    root: Path
    data: Path
    ensemble: Path
    probs: np.ndarray
    table: pd.DataFrame

    def asked(self) -> AskedEnsemble:
        return AskedEnsemble(self.ensemble, self.root / "runs", PILLOW)

    def image(self, row: int) -> Path:
        """Of the table."""
        return self.data / "test" / f"{self.table['id'][row]}.png"


def with_answers(root: Path, data: Path, ensemble: Path, folder: Path) -> Place:
    """Build the kernel and let it answer the test set."""
    with Keyring.editing(folder / "keyring") as ring:
        build = build_kernel(ensemble, PROJECT / "src", root / "runs", folder / "build", OWNER, ring)
        keys = {path.name: bytes(ring.data_key(path.stem)).hex() for path in build.weights.glob("*.sealed")}
    shutil.copytree(build.weights, folder / "input/weights")
    shutil.copytree(data, folder / "input" / build.spec.slug)
    arguments = ["--input", str(folder / "input"), "--output", str(folder / "output"), "--hours", "20",
                 "--probs", str(folder / "probs.npy")]
    assert load_entry().main(spec_to_dict(build.spec), keys, arguments) == 0
    table = pd.read_csv(folder / "output/submission.csv", dtype=str, keep_default_na=False)
    return Place(root, data, ensemble, np.load(folder / "probs.npy"), table)


@pytest.fixture(scope="module")
def places(house: House, embed_place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    """One class an item, several, and retrieval. Read only."""
    several = make_place(tmp_path_factory.mktemp("place"))
    folders = [tmp_path_factory.mktemp("kernel") for _ in range(3)]
    return {"one": with_answers(house.root, house.data, house.ensemble, folders[0]),
            "several": with_answers(several, several / "data", several / "multi.yml", folders[1]),
            "retrieval": with_answers(embed_place, embed_place / "data", embed_place / "both.yml", folders[2])}


@pytest.mark.parametrize("kind", ["one", "several", "retrieval"])
def test_it_says_what_the_kernel_hands_in(places: dict[str, Place], kind: str) -> None:
    place = places[kind]
    asked = place.asked()
    for row in range(ASKED):
        said = asked.ask(place.image(row))
        assert np.abs(said.numbers - place.probs[row]).max() <= 1e-5
        assert said.cells == {name: [place.table[name][row]] for name in place.table.columns if name != "id"}
        assert said.notes == []


def test_a_member_alone_is_the_ensemble_of_its_units(places: dict[str, Place], house: House) -> None:
    asked, place = places["one"].asked(), places["one"]
    assert asked.choices == [ALL, "tiny_resnet", "tiny_efficientnet"]
    for run in asked.choices[1:]:
        members = [member for member in house.spec.members if member.run == run]
        expected = package_probs(house, house.spec.with_last(members=members), place.data)
        for row in range(3):
            assert np.abs(asked.ask(place.image(row), run).numbers - expected[row]).max() <= 1e-6


def test_each_view_is_the_answer_without_the_others(places: dict[str, Place], tmp_path: Path) -> None:
    place = places["retrieval"]
    said = place.asked().ask(place.image(0), "second")
    assert [view.name for view in said.views] == ["identity", "shift:0.05:0"]
    for view in said.views:
        spec = read_spec(place.ensemble)
        [second] = [member for member in spec.members if member.run == "second"]
        write_spec(tmp_path / "one.yml",
                   spec.with_last(members=[second.model_copy(update={"views": [view.name]})]))
        alone = AskedEnsemble(tmp_path / "one.yml", place.root / "runs", PILLOW).ask(place.image(0))
        np.testing.assert_allclose(alone.numbers, view.numbers, atol=1e-5)
        assert view.picture.shape == (3, 16, 16)
    assert not np.array_equal(said.views[0].picture, said.views[1].picture)


def test_nearest_items_are_those_of_the_galleries(places: dict[str, Place]) -> None:
    """Of an item of the training: the mean cosine with each item over the networks whose gallery holds it."""
    place = places["retrieval"]
    asked = place.asked()
    pictures, said = Pictures(asked, place.data), asked.ask(place.image(2))
    runs = [read_run(place.root / "runs" / name) for name in ("first", "second")]
    expected: dict[int, float] = {}
    labels = labels_of(place.root, runs[0])
    for space in joined_spaces([run_spaces(run, labels) for run in runs], [0.7, 0.3], "e"):
        assert space.items is not None
        own = {run.meta.run: said.vectors[f"{run.meta.run}/fold{space.fold}"] for run in runs}
        query = np.concatenate([np.sqrt(0.7) * own["first"], np.sqrt(0.3) * own["second"]])
        expected |= dict(zip(space.items.tolist(), (space.gallery @ query).tolist(), strict=True))  # in one of two
    for identity in range(8):
        rows = [row for row in expected if labels[row] == identity]
        best = sorted(rows, key=lambda row: -expected[row])[:3]
        found = likest(said, pictures, identity)
        assert [one.item for one in found] == [runs[0].ids[row] for row in best]
        np.testing.assert_allclose([one.cosine for one in found], [expected[row] for row in best], atol=1e-5)
        assert all(one.picture.startswith("data:image/jpeg;base64,") for one in found)


@pytest.mark.parametrize("kind", ["one", "several", "retrieval"])
def test_bars_and_thresholds_are_those_of_the_decision(places: dict[str, Place], kind: str) -> None:
    place = places[kind]
    asked = place.asked()
    pictures, said, names = Pictures(asked, place.data), asked.ask(place.image(1)), asked.stage.outputs.names
    part = PRESENTATIONS[asked.stage.task].part(said, asked.stage, pictures)
    answered = [bar.name for bar in part.bars if bar.answered]
    [cells] = said.cells.values()
    assert sorted(answered) == sorted(cells[0].split())
    if kind == "retrieval":
        assert answered == cells[0].split() and [bar.place for bar in part.bars] == [1, 2, 3, 4, 5]
        assert all((bar.name == "new") != bool(bar.alike) for bar in part.bars)
        return
    assert [bar.number for bar in part.bars] == sorted((bar.number for bar in part.bars), reverse=True)
    for bar in part.bars:
        assert bar.number == said.numbers[names.index(bar.name)]
        assert bar.threshold == (said.decision.threshold if kind == "several" else None)
    page = answer_html(asked, said, place.image(1), ALL, pictures)
    assert page.count("<tr") == len(names) and page.count("threshold ") == (len(names) if kind == "several" else 0)


BAD = {
    "empty.png": (b"", "empty.png: cannot decode the image (the file is empty)"),
    "text.jpg": (b"this is no picture", "text.jpg: cannot decode the image ("),
    "page.png": (b"<!doctype html><html>", "page.png: cannot decode the image (the file is a web page, not an image)"),
    "huge.png": (b"", "pixels; the limit is 89,000,000)"),
    "cut.png": (b"", "cut.png: cannot decode the image ("),
}


def write_bad(name: str, folder: Path) -> Path:
    """One of `BAD`."""
    path, content = folder / name, BAD[name][0]
    if name == "huge.png":
        Image.new("1", (10_000, 10_000)).save(path)
    elif name == "cut.png":
        Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:900])
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_picture_gets_a_message(places: dict[str, Place], tmp_path: Path, name: str) -> None:
    with pytest.raises(UploadError) as failure:
        places["one"].asked().ask(write_bad(name, tmp_path))
    assert BAD[name][1] in str(failure.value) and str(tmp_path) not in str(failure.value)


def test_a_damaged_file_is_answered_with_a_note(places: dict[str, Place], tmp_path: Path) -> None:
    """A kernel answers what can be read of it, so the demo does."""
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    [note] = places["one"].asked().ask(path).notes
    assert note.startswith("cut.png: repaired (") and note.endswith("a kernel would answer what it says here")


def test_names_cannot_bring_markup_into_the_page(places: dict[str, Place], tmp_path: Path) -> None:
    place = places["one"]
    path = Path(shutil.copy(place.image(0), tmp_path / "<img src=x onerror=alert(1)>.png"))
    asked = place.asked()
    assert "<img src=x" not in answer_html(asked, asked.ask(path), path, ALL, Pictures(asked, place.data))
    assert "<b>" not in message_html("<b>")


def test_values_are_shown_as_they_are_handed_in() -> None:
    from made_stages import stage_of

    from foldpack.app.asking import Said
    from foldpack.settings.outputs import ScoreBlend, Values
    from foldpack.settings.stages import GradesDecision, StageSpec, ValuesDecision

    outputs = Values(names=["a", "b"], prior=[0.0, 0.0])
    cut = [("a, cut to its range", "2"), ("b, cut to its range", "1")]
    for decision, facts in ((ValuesDecision(range=[0.0, 2.0]), cut), (ValuesDecision(), [])):
        stage = StageSpec(name="v", task="regress", outputs=outputs, members=stage_of(["x", "y"]).members,
                          fuse=ScoreBlend(), decision=decision)
        said = Said(np.array([2.5, 1.0], np.float32), decision, {}, [], {}, [], [])
        part = PRESENTATIONS["regress"].part(said, stage, None)
        assert list(part.facts) == [("a", "2.5"), ("b", "1"), *facts]
    grades = GradesDecision(cuts=[0.5, 1.5, 2.75])
    stage = StageSpec(name="v", task="regress", outputs=Values(names=["a"], prior=[0.0]),
                      members=stage_of(["x", "y"]).members, fuse=ScoreBlend(), decision=grades)
    said = Said(np.array([2.5], np.float32), grades, {}, [], {}, [], [])
    assert ("grade", "2") in PRESENTATIONS["regress"].part(said, stage, None).facts
    assert PRESENTATIONS["regress"].word(said.numbers, stage) == "2.5"


def test_stages_of_boxes_are_refused(places: dict[str, Place], tmp_path: Path) -> None:
    text = places["one"].ensemble.read_text().replace("task: classify", "task: models.py:OWN")
    (tmp_path / "own.yml").write_text(text)
    with pytest.raises(SpecError, match="own.yml: it has 1 stages, the last of task 'models.py:OWN'; needed: one"):
        AskedEnsemble(tmp_path / "own.yml", places["one"].root / "runs", PILLOW)


def test_it_reads_images_as_the_competition_does(places: dict[str, Place]) -> None:
    place = places["one"]
    assert find_adapter(read_spec(place.ensemble).competition).test(place.data).reader == PILLOW
