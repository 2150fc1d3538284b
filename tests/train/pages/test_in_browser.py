"""The pages in a real Chromium: nothing is wider than a phone, every picture is one, and nothing is fetched."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from small_house import tiny_config, write_small_folds

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.settings.run import config_text
from foldpack.train.run import train_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)
MEASURE = """
const found = [...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, wide = page.documentElement;
  const images = [...page.images];
  return {width: wide.clientWidth, needed: wide.scrollWidth, images: images.length,
          drawn: images.filter(one => one.complete && one.naturalWidth > 0).length,
          heading: page.querySelector("h1").innerText,
          svgs: [...page.querySelectorAll("svg")].filter(one => one.getBoundingClientRect().width > 100).length,
          fetched: frame.contentWindow.performance.getEntriesByType("resource")
            .filter(one => !one.name.startsWith("data:")).length};
});
document.body.innerHTML = ""; document.title = JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four pages of a small run."""
    root = tmp_path_factory.mktemp("browser")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv")
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    config = tiny_config("a_run_with_a_long_name_that_no_phone_can_hold", net=net, epochs=4, augment={"mixup": 0.3})
    train_run(config, root / "data", root / "folds.csv", root / "runs", print)
    (root / "c.yml").write_text(config_text(config))
    data, runs = ["--data", str(root / "data")], ["--runs", str(root / "runs")]
    for name, arguments in (("curves", [config.run, *runs]), ("errors", [config.run, *runs, *data]),
                            ("batch", [str(root / "c.yml"), *runs, *data, "--folds", str(root / "folds.csv")]),
                            ("look", [*data, "--competition", "digits"])):
        assert run_app(foldpack, [name, *arguments, "--out", str(root / f"{name}.html")]) == 0
    return root


def measured(page: Path, folder: Path) -> list[dict]:
    """What Chromium says of a page in a frame of each width."""
    text = page.read_text(encoding="utf-8").replace('loading="lazy"', "")
    frames = "".join(f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{html.escape(text)}"></iframe>'
                     for width in WIDTHS)
    file = folder / "frames.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><title></title><body>{frames}<script>'
                    f'addEventListener("load", () => setTimeout(() => {{ {MEASURE} }}, 500))</script></body>')
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
               "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
               f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    [title] = re.findall(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    return json.loads(html.unescape(title))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize(("name", "heading", "images", "svgs"), [
    ("curves", "Curves of a_run", 0, 3), ("errors", "Errors of a_run", 10, 0), ("batch", "What a_run", 72, 0),
    ("look", "digits: what foldpack understood", 20, 0)])
def test_a_page_fits_and_shows_all(pages: Path, tmp_path: Path, name: str, heading: str, images: int,
                                   svgs: int) -> None:
    found = measured(pages / f"{name}.html", tmp_path)
    assert [each["width"] for each in found] == list(WIDTHS)
    for each in found:
        assert each["needed"] <= each["width"] and each["fetched"] == 0
        assert each["drawn"] == each["images"] and each["svgs"] == svgs
        assert each["images"] >= images if name == "errors" else each["images"] == images
        assert each["heading"].startswith(heading)
