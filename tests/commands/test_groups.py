"""`foldpack groups` finds near-duplicates, and `foldpack folds --groups` keeps them in one fold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file

from foldpack.commands.main import app
from foldpack.commands.run_app import run_app
from foldpack.data.folds import read_folds
from foldpack.data.near_duplicates import BLOCK, Grouping, near_hashes, near_vectors

PICTURES = 12


def picture(seed: int, side: int = 160) -> Image.Image:
    """A photo-like image: soft colours with structure at every scale."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3))
    for scale in (4, 8, 16, 32):
        noise = rng.normal(size=(scale, scale, 3)).astype(np.float32)
        layer = [np.asarray(Image.fromarray(noise[..., c]).resize((side, side), Image.Resampling.BICUBIC))
                 for c in range(3)]
        pixels += np.stack(layer, axis=-1) / scale**0.5
    return Image.fromarray(np.clip(128 + 60 * pixels, 0, 255).astype(np.uint8))


def competition(folder: Path, train: dict[str, Image.Image], test: dict[str, Image.Image] | None = None) -> Path:
    """A competition laid out as `imet`, labels 0 and 1 in turns."""
    for name, images in (("train", train), ("test", test or {})):
        (folder / name).mkdir(parents=True)
        for item, image in images.items():
            image.save(folder / name / f"{item}.png")
    cells = [str(row % 2) for row in range(len(train))]
    pd.DataFrame({"id": list(train), "attribute_ids": cells}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": list(test or {}), "attribute_ids": "0"}).to_csv(folder / "sample_submission.csv", index=False)
    pd.DataFrame({"attribute_id": [0, 1], "attribute_name": "x"}).to_csv(folder / "labels.csv", index=False)
    return folder


def pictures() -> dict[str, Image.Image]:
    return {f"p{seed}": picture(seed) for seed in range(PICTURES)}


def foldpack(*arguments: str | Path) -> int:
    return run_app(app, [str(each) for each in arguments])


def groups_of(data: Path, *options: str | Path) -> pd.Series:
    """The groups that the command writes, by id."""
    out = data.parent / "groups.csv"
    assert foldpack("groups", "--data", data, "--competition", "imet", "--out", out, *options) == 0
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert table.columns.tolist() == ["id", "group"] and table["group"].ne("").all()
    return table.set_index("id")["group"]


def as_jpeg(image: Image.Image, folder: Path) -> Image.Image:
    path = folder / "again.jpg"
    image.save(path, quality=30)
    return Image.open(path).convert("RGB")


CHANGES = {
    "copied": lambda image, folder: image.copy(),
    "jpeg": as_jpeg,
    "smaller": lambda image, folder: image.resize((70, 70)),
    "stretched": lambda image, folder: image.resize((160, 110)),
    "cropped": lambda image, folder: image.crop((2, 2, 158, 158)),
    "brighter": lambda image, folder: ImageEnhance.Brightness(image).enhance(1.2),
    "grey": lambda image, folder: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_was_changed_a_little_joins_its_group(change: str, tmp_path: Path) -> None:
    found = groups_of(competition(tmp_path / "data", pictures() | {"twin": CHANGES[change](picture(3), tmp_path)}))
    assert found["twin"] == found["p3"]
    assert found.nunique() == PICTURES


def test_other_images_and_mirrored_ones_are_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = groups_of(competition(tmp_path / "data", pictures() | {"mirrored": ImageOps.mirror(picture(3))}))
    assert found.nunique() == len(found) == PICTURES + 1
    said = capsys.readouterr().out
    assert "13 images in 13 groups; 0 images are not alone, the largest group has 1\n" in said


def test_what_was_joined_is_told_with_its_distance(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    twins = {"twin3": picture(3).resize((70, 70)), "twin5": picture(5), "again5": picture(5)}
    found = groups_of(competition(tmp_path / "data", pictures() | twins))
    assert found["twin5"] == found["p5"] == found["again5"] != found["p3"] == found["twin3"]
    said = capsys.readouterr().out
    assert "15 images in 12 groups; 5 images are not alone, the largest group has 3\n" in said
    assert " bits of 256 apart: p3 twin3\n" in said and "joined, 0 bits of 256 apart: p5 " in said
    assert "warning: the largest group, that of 'p5', holds 3 of 15 images; look at it" in said


def test_a_smaller_distance_joins_less(tmp_path: Path) -> None:
    data = competition(tmp_path / "data", pictures() | {"twin": picture(3).crop((2, 2, 158, 158)), "same": picture(4)})
    found = groups_of(data, "--distance", "0")
    assert found["same"] == found["p4"] and found["twin"] != found["p3"]


def test_test_images_that_are_also_for_training_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tests = {"t0": picture(3).resize((80, 80)), "t1": picture(50)}
    data = competition(tmp_path / "data", pictures(), tests)
    assert "t0" not in groups_of(data)
    assert "test images" not in capsys.readouterr().out
    found = groups_of(data, "--test")
    assert found["t0"] == found["p3"] and (found == found["t1"]).sum() == 1
    assert "1 of 2 test images share a group with a training image\n" in capsys.readouterr().out


def test_a_broken_image_is_named_and_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = competition(tmp_path / "data", pictures())
    for item in ("p1", "p2"):
        (data / "train" / f"{item}.png").write_bytes(b"no image")
    found = groups_of(data)
    assert found.nunique() == PICTURES
    said = capsys.readouterr().out
    assert f"{data / 'train' / 'p1.png'}: cannot decode the image" in said and said.count(": a group of its own") == 2


def test_a_test_image_that_is_missing_or_asked_for_twice_has_one_row(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = competition(tmp_path / "data", pictures(), {"t0": picture(50)})
    missing = [f"m{number}" for number in range(22)]
    pd.DataFrame({"id": ["t0", *missing, "t0"], "attribute_ids": "0"}).to_csv(
        data / "sample_submission.csv", index=False)
    found = groups_of(data, "--test")
    assert found.index.tolist() == [*pictures(), "t0", *missing] and found.nunique() == len(found)
    said = capsys.readouterr().out
    assert said.count("cannot decode the image") == 20
    assert "2 more images are broken: each is a group of its own" in said


def test_folds_keep_the_found_groups_whole(tmp_path: Path) -> None:
    twins = {f"twin{seed}": picture(seed).resize((90, 90)) for seed in range(PICTURES)}
    data = competition(tmp_path / "data", pictures() | twins)
    groups_of(data)
    folds = ("folds", "--data", data, "--competition", "imet", "--kind", "multilabel_grouped", "--count", "3")
    assert foldpack(*folds, "--groups", tmp_path / "groups.csv", "--out", tmp_path / "folds.csv") == 0
    table = read_folds(tmp_path / "folds.csv")
    assert len(table) == 2 * PICTURES and table["group"].nunique() == PICTURES
    assert table.groupby("group")["fold"].nunique().max() == 1


def saved_net(path: Path, arch: str = "test_resnet") -> Path:
    save_file(timm.create_model(arch, num_classes=7).state_dict(), path)
    return path


def test_a_networks_embeddings_join_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = pictures() | {"exact": picture(3), "cropped": picture(5).crop((9, 9, 151, 151))}
    data, weights = competition(tmp_path / "data", images), saved_net(tmp_path / "net.safetensors")
    assert groups_of(data)["cropped"] != groups_of(data)["p5"]
    options = ("--net", "test_resnet", "--weights", weights)
    found = groups_of(data, *options, "--similarity", "0.999999")
    assert found["exact"] == found["p3"] and found.nunique() == PICTURES + 1
    everything = groups_of(data, *options, "--similarity", "0.01")
    assert everything.nunique() == 1
    assert "joined, cosine 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--net", "test_resnet"), "error: --weights is missing: --net, --weights and --similarity belong together"),
        (("--similarity", "0.9"), "error: --net is missing: --net, --weights and --similarity belong together"),
        (("--net", "test_resnet", "--weights", "NET", "--similarity", "1.5"),
         "error: --similarity 1.5: a cosine above 0 and at most 1 is needed"),
        (("--net", "test_vit", "--weights", "NET", "--similarity", "0.9"),
         "net.safetensors: the weights are not those of network 'test_vit': "),
        (("--net", "test_resnet", "--weights", "CSV", "--similarity", "0.9"),
         "train.csv: cannot be read as safetensors ("),
        (("--net", "test_resnt", "--weights", "NET", "--similarity", "0.9"),
         "error: unknown network 'test_resnt': did you mean 'test_resnet'"),
        (("--competition", "imett"), "error: unknown competition 'imett': did you mean 'imet'"),
    ],
)
def test_what_cannot_be_done_is_one_line(options: tuple[str, ...], message: str, tmp_path: Path,
                                         capsys: pytest.CaptureFixture) -> None:
    data = competition(tmp_path / "data", pictures())
    files = {"NET": str(saved_net(tmp_path / "net.safetensors")), "CSV": str(data / "train.csv")}
    chosen = [files.get(each, each) for each in options]
    assert foldpack("groups", "--data", data, "--competition", "imet", "--out", tmp_path / "g.csv", *chosen) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and said.count("\n") == 0
    assert not (tmp_path / "g.csv").exists()


def test_an_id_of_both_sets_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = competition(tmp_path / "data", {"a": picture(1), "b": picture(2)}, {"a": picture(3)})
    assert foldpack("groups", "--data", data, "--competition", "imet", "--out", tmp_path / "g.csv", "--test") == 2
    assert "id 'a' is that of a training image and of a test image" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    data = competition(tmp_path / "data", {"a": picture(1), "b": picture(2)})
    assert foldpack("groups", "--data", data, "--competition", "imet") == 2
    assert "needs the package imagehash, got none; install the extra 'groups': pip install -e '.[groups]'" in \
        capsys.readouterr().err


def test_near_hashes_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (2 * BLOCK + 9, 4), dtype=np.uint64)
    hashes[300:340] = hashes[:40] ^ np.uint64(5)  # 2 bits in each of 4 words
    hashes[500:] = hashes[0]
    grouping = Grouping(len(hashes))
    for near in near_hashes(hashes, 8, lambda share: None):
        assert ((np.bitwise_count(hashes[near[0]] ^ hashes[near[1]]).sum(axis=1)) == near[2]).all()
        grouping.join(near)
    numbers = grouping.numbers()
    assert (numbers[300:340] == numbers[:40]).all() and (numbers[500:] == numbers[0]).all()
    assert len(np.unique(numbers)) == 500 - 40
    assert numbers[0] == 0 and (np.diff(np.unique(numbers)) == 1).all()
    assert grouping.examples(5)[0].distance == 8


LARGE = """
from pathlib import Path
import numpy as np
from foldpack.data.near_duplicates import Grouping, near_hashes
hashes = np.random.default_rng(0).integers(0, 2**63, (100_000, 4), dtype=np.uint64)
hashes[50_000:51_000] = hashes[:1000]
hashes[60_000:90_000] = hashes[0]
grouping = Grouping(len(hashes))
for near in near_hashes(hashes, 40, lambda share: None):
    grouping.join(near)
[peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(len(np.unique(grouping.numbers())), int(peak) // 1024)  # of this program alone, unlike ru_maxrss
"""


@pytest.mark.slow
def test_a_hundred_thousand_hashes_are_compared_in_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    groups, mebibytes = map(int, done.stdout.split())
    assert groups == 69_000 and mebibytes < 400


def test_near_vectors_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(BLOCK + 40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = {(int(i), int(j)) for near in near_vectors(vectors, 0.9, lambda share: None)
             for i, j in zip(near[0], near[1], strict=True)}
    brute = vectors @ vectors.T
    assert found == {(int(i), int(j)) for i, j in np.argwhere(brute >= 0.9) if i < j} and found
