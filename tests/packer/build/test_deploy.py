"""`build/<name>/`: the same inputs give the same bytes, keys are in one private file only, failures change nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path

import pytest
from small_house import OWNER, House

from foldpack.errors import DataError
from foldpack.kernel.inputs import InputError, find_keys
from foldpack.keyring.keyring import Keyring
from foldpack.predict.view import ViewError
from foldpack.settings.ensemble import ScoreSpec, WheelsSpec, read_spec, spec_to_dict, write_spec
from foldpack.settings.strict_yaml import load_strict
from packer.build.kernel_folder import Build, Target, build_kernel, dataset_name, kaggle_slug, kernel_metadata, kernel_slug
from packer.errors import PackError
from packer.build.manifest import part_slug
from packer.rehearse.verdict import dataset_folders


def build_again(house: House, folder: Path, ensemble: Path | None = None, target: Target | None = None) -> Build:
    """Build with a copy of the keyring and of the sealed store."""
    if not (folder / "keyring").exists():
        shutil.copy2(house.keyring, folder / "keyring")
        shutil.copytree(house.root / "build", folder / "build")
    with Keyring.editing(folder / "keyring") as ring:
        return build_kernel(ensemble or house.ensemble, house.code / "src", house.runs, folder / "build", OWNER, ring, target)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest_name(build: Build) -> str:
    return f"foldpack-manifest-{build.staged[0].content[:16]}.json"


def test_what_is_built(house: House) -> None:
    build = house.build
    sealed = sorted(str(fold.file) for member in build.spec.members for fold in member.folds)
    assert sorted(files(build.folder)) == sorted(
        ["kernel-metadata.json", "small.keyless.py", "small.py", "spec.yml"]
        + [f"weights/{name}" for name in [*sealed, "dataset-metadata.json", manifest_name(build)]])
    assert read_spec(build.folder / "spec.yml") == build.spec
    assert len(sealed) == 4 and build.dataset == "someone/small-weights"


def test_packing_twice_gives_identical_bytes(house: House, tmp_path: Path) -> None:
    again = build_again(house, tmp_path)
    assert again.pack_id == house.build.pack_id
    assert files(again.folder) == files(house.build.folder)


def test_the_place_of_the_ensemble_file_does_not_matter(house: House, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "ensembles"
    other.mkdir(parents=True)
    again = build_again(house, tmp_path, Path(shutil.copy(house.ensemble, other / "small.yml")))
    assert again.keyless.read_bytes() == house.build.keyless.read_bytes()
    assert str(house.root) not in house.build.keyless.read_text()  # no path of this machine


def test_keys_are_in_the_private_script_and_nowhere_else(house: House) -> None:
    keys = house.keys()
    assert len(keys) == 4 and all(len(key) == 64 for key in keys.values())
    script = house.build.script.read_text()
    assert all(key in script for key in keys.values())
    assert stat.S_IMODE(house.build.script.stat().st_mode) == 0o600
    for path in house.root.rglob("*"):
        if path.is_file() and path != house.build.script:
            content = path.read_bytes()
            assert not any(key.encode() in content or bytes.fromhex(key) in content for key in keys.values()), path


def test_the_two_scripts_differ_in_one_line(house: House) -> None:
    keyed, keyless = house.build.script.read_text().split("\n"), house.build.keyless.read_text().split("\n")
    differing = [(one, other) for one, other in zip(keyed, keyless, strict=True) if one != other]
    assert len(differing) == 1 and differing[0][1] == "KEYS: dict[str, str] = {}"


def test_the_metadata_says_private_and_offline(house: House) -> None:
    data = json.loads((house.build.folder / "kernel-metadata.json").read_text())
    assert data["is_private"] is True and data["enable_internet"] is False and data["enable_gpu"] is True
    assert data["id"] == "someone/small-kernel" and data["title"] == "small kernel" and data["code_file"] == "small.py"
    assert data["dataset_sources"] == ["someone/small-weights"]
    assert data["competition_sources"] == ["foldpack-digits"] and data["kernel_sources"] == []


@pytest.mark.parametrize(
    ("name", "dataset", "kernel"),
    [
        ("best", "best-weights", "best-kernel"),
        ("Best_of.all--9", "best-of-all-9-weights", "best-of-all-9-kernel"),
        ("x" * 42, "x" * 42 + "-weights", "x" * 42 + "-kernel"),  # not cut: as it always was
        ("x" * 43, "x" * 33 + "-cc0b1c2c-weights", "x" * 43 + "-kernel"),
        ("x" * 80, "x" * 33 + "-d929cdee-weights", "x" * 34 + "-d929cdee-kernel"),
        ("x" * 33 + "_" + "y" * 19, "x" * 33 + "-HASH-weights", "x" * 33 + "-HASH-kernel"),  # no two dashes at the cut
    ],
)
def test_names_are_as_kaggle_wants_them(house: House, name: str, dataset: str, kernel: str) -> None:
    metadata = kernel_metadata(house.spec.model_copy(update={"name": name}), "me", ["me/w"], "x.py")
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    dataset, kernel = dataset.replace("HASH", digest), kernel.replace("HASH", digest)
    assert dataset_name(name) == dataset and metadata["id"] == f"me/{kernel}"
    assert 6 <= len(dataset) <= 50 and 5 <= len(str(metadata["title"])) <= 50
    assert kaggle_slug(str(metadata["title"]), 50) == kernel  # the title leads to the same slug


def test_names_that_agree_up_to_the_cut_are_two_on_kaggle(house: House) -> None:
    """Kernel, notebook, weights, keys and the parts of large weights: whatever two ensembles are called."""
    ends = ["a", "b", "A", "a.", "_a", "a" * 40]
    names = [f"resnet-effnet-convnext-five-folds-two-seeds-{end}" for end in ends]
    for make in (kernel_slug, lambda name: kernel_slug(name, notebook=True), dataset_name,
                 lambda name: dataset_name(name, "keys"), lambda name: part_slug(f"me/{dataset_name(name)}", 12)):
        slugs = {make(name) for name in names}
        assert len(slugs) == len(names) and all(len(slug.rpartition("/")[2]) <= 50 for slug in slugs)


def test_a_pack_that_fails_changes_nothing(house: House, tmp_path: Path, monkeypatch) -> None:
    build_again(house, tmp_path)
    before = files(tmp_path / "build")

    def refuse(*args: object, **options: object) -> None:
        raise PackError("src/foldpack/x.py:1: a rule is broken")

    monkeypatch.setattr("packer.build.kernel_folder.pack_layout", refuse)
    with pytest.raises(PackError):
        build_again(house, tmp_path)
    assert files(tmp_path / "build") == before


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"competition": "digit"}, DataError, "unknown competition 'digit': did you mean 'digits'"),
        ({"views": ["hflop"]}, ViewError, "unknown view 'hflop': did you mean 'hflip'"),
    ],
)
def test_what_the_kernel_would_not_know_is_refused_here(house, tmp_path, changes, kind, message) -> None:
    data = spec_to_dict(house.spec)
    data["competition"] = changes.get("competition", data["competition"])
    data["stages"][0]["members"][0]["views"] = changes.get("views", ["identity"])
    spec = house.spec.model_validate(data)
    write_spec(tmp_path / "bad.yml", spec)
    with Keyring.editing(tmp_path / "keyring") as ring, pytest.raises(kind, match=message):
        build_kernel(tmp_path / "bad.yml", house.code / "src", house.runs, tmp_path / "build", OWNER, ring)
    assert not (tmp_path / "build").exists()


def test_scores_do_not_change_the_pack(house: House, tmp_path: Path) -> None:
    score = ScoreSpec(pack="ab" * 32, kernel="me/small-kernel", version=1, when="2026-01-31T12:00:00Z", message="x")
    path = tmp_path / "ensembles" / "small.yml"
    write_spec(path, read_spec(house.ensemble).model_copy(update={"history": [score]}))
    again = build_again(house, tmp_path, path)
    assert again.pack_id == house.build.pack_id and files(again.folder) == files(house.build.folder)


def test_a_notebook_has_its_own_slug_and_its_keys_are_private(house: House, tmp_path: Path) -> None:
    build = build_again(house, tmp_path, target=Target(accelerator="NvidiaL4", notebook=True))
    metadata = json.loads((build.folder / "kernel-metadata.json").read_text())
    assert (metadata["id"], metadata["title"]) == ("someone/small-notebook", "small notebook")
    assert (metadata["kernel_type"], metadata["code_file"]) == ("notebook", "small.ipynb")
    assert metadata["machine_shape"] == "NvidiaL4"
    notebook = build.folder / "small.ipynb"
    assert stat.S_IMODE(notebook.stat().st_mode) == 0o600 and json.loads(notebook.read_text())["nbformat"] == 4
    long = kernel_metadata(house.spec.model_copy(update={"name": "x" * 80}), "me", [], "x", Target(notebook=True))
    assert len(str(long["title"])) == 50
    assert not (build_again(house, tmp_path).folder / "small.ipynb").exists()  # a script again: it is gone


def test_large_weights_are_several_datasets(house: House, tmp_path: Path) -> None:
    largest = max(path.stat().st_size for path in house.build.weights.glob("*.sealed"))
    build = build_again(house, tmp_path, target=Target(dataset_limit=2 * largest))
    assert len(build.staged) > 1 and all(staged.size < 2 * largest + 2000 for staged in build.staged)
    assert build.datasets == ["someone/small-weights"] + [
        f"someone/small-weights-{number}" for number in range(2, len(build.staged) + 1)]
    for staged in build.staged:
        assert json.loads((staged.folder / "dataset-metadata.json").read_text())["id"] == staged.slug
    sealed = [path.name for staged in build.staged for path in staged.folder.glob("*.sealed")]
    assert sorted(sealed) == sorted(path.name for path in house.build.weights.glob("*.sealed"))
    assert list(dataset_folders(build)) == build.datasets
    assert not (build_again(house, tmp_path).folder / "weights-2").exists()


def test_the_embedded_spec_is_the_spec(house: House) -> None:
    namespace: dict = {}
    text = house.build.keyless.read_text()
    start = text.index("SPEC: dict = ")
    exec(text[start : text.index("\nKEYS:", start)], namespace)
    assert namespace["SPEC"] == spec_to_dict(house.build.spec) == load_strict(
        (house.build.folder / "spec.yml").read_text(), "spec.yml")


def test_keys_in_a_dataset_of_their_own(house: House, tmp_path: Path) -> None:
    """`keys: dataset`: no key in the script, those of its folds in the private dataset, and the kernel finds them."""
    spec_path = tmp_path / "small.yml"
    write_spec(spec_path, read_spec(house.ensemble).model_copy(update={"keys": "dataset"}))
    build = build_again(house, tmp_path, spec_path)
    keys_file = build.folder / "keys" / "foldpack-keys.json"
    assert build.script.read_bytes() == build.keyless.read_bytes()
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    assert build.datasets == ["someone/small-weights", "someone/small-keys"]
    metadata = json.loads((build.folder / "kernel-metadata.json").read_text())
    assert metadata["dataset_sources"] == build.datasets
    found = find_keys(build.folder, build.spec, {})
    assert {f"{file_id}.sealed": bytes(key).hex() for file_id, key in found.items()} == house.keys()
    holders = [path for path in build.folder.rglob("*") if path.is_file()
               and any(key.encode() in path.read_bytes() for key in house.keys().values())]
    assert holders == [keys_file]
    keys_file.unlink()
    with pytest.raises(InputError, match="no foldpack-keys.json below .*; attach the private keys dataset"):
        find_keys(build.folder, build.spec, {})
    assert not (build_again(house, tmp_path).folder / "keys").exists()  # inline again: the folder is gone


def test_carried_packages_and_wheels_are_in_the_script_and_its_sources(house: House, tmp_path: Path) -> None:
    spec_path = tmp_path / "small.yml"
    wheels = WheelsSpec(dataset="someone/wheels", packages=["pyrage"])
    write_spec(spec_path, read_spec(house.ensemble).model_copy(update={"vendor": ["six"], "wheels": wheels}))
    build = build_again(house, tmp_path, spec_path)
    metadata = json.loads((build.folder / "kernel-metadata.json").read_text())
    assert metadata["dataset_sources"] == ["someone/small-weights", "someone/wheels"]
    text = build.keyless.read_text()
    assert "six" in text[:4000] and "    'someone/wheels',\n    ['pyrage'],\n):\n" in text
    assert build.warnings == []
