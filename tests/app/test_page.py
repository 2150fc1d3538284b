"""The browser demo in a real Chromium: upload, bars, pictures, messages, a phone; and no host but its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Page, chromium
from multilabel_place import make_place
from PIL import Image

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app

without = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install '.[app]'")
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DRAWN = "[...document.querySelectorAll('.fp img')].every(one => one.complete && one.naturalWidth > 0)"
ANSWERED = "!!document.querySelector('.fp-bars')"


@dataclass(frozen=True)
class Served:
    """A page that runs. asked: hosts that this process looked for."""

    root: Path
    address: str
    asked: set[str]


@pytest.fixture(scope="module")
def served(embed_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demo of a retrieval."""
    from foldpack.app.page import launch, open_page

    root, asked = embed_place, set[str]()
    look_up = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setattr(socket, "getaddrinfo", lambda host, *more, **named: (asked.add(str(host)),
                                                                           look_up(host, *more, **named))[1])
        page = open_page(root / "both.yml", root / "runs", root / "data", 4)
        yield Served(root, launch(page, "127.0.0.1", None, False), asked)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def begin(tab: Page, served: Served, width: int = 1280) -> None:
    tab.open(served.address, width)
    tab.wait("!!document.querySelector('input[type=file]') && !!document.querySelector('.fp-message')")


@without
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_an_upload_is_answered_with_bars_and_pictures(served: Served, tab: Page, width: int) -> None:
    begin(tab, served, width)
    assert tab.value(FITS)
    tab.upload(sorted((served.root / "data/test").glob("*.png"))[0])
    tab.wait(ANSWERED)
    tab.wait(DRAWN)
    assert tab.value(FITS)
    rows = "[...document.querySelectorAll('.fp-bars th')].map(one => one.innerText)"
    words = tab.value("document.querySelector('.fp dd').innerText").split()
    assert tab.value(rows) == [f"{place}. {word}" for place, word in enumerate(words, 1)] and len(words) == 5
    near = "[...document.querySelectorAll('.fp-near .fp-items')].map(one => one.querySelectorAll('img').length)"
    assert tab.value(near) == [4] * (5 - ("new" in words))  # the image, and its three nearest of each identity
    assert tab.value("document.querySelectorAll('.fp > .fp-items img').length") == 2  # views


@without
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_an_example_and_a_member_can_be_chosen(served: Served, tab: Page) -> None:
    begin(tab, served)
    tab.wait("document.querySelectorAll('.gallery-item, .thumbnail-item').length >= 4")
    tab.value("document.querySelectorAll('.thumbnail-item')[1].click()")
    tab.wait(ANSWERED)
    first = tab.value("document.querySelector('.fp-soft').innerText")
    assert first == "ensemble, 4 networks; what a kernel hands in:"
    tab.value("[...document.querySelectorAll('input[type=radio]')].find(one => one.value === 'second').click()")
    tab.wait("document.querySelector('.fp-soft').innerText.startsWith('second, 2 networks')")


@without
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_what_is_no_picture_gets_a_message(served: Served, tab: Page, tmp_path: Path, capsys) -> None:
    (tmp_path / "none.png").write_bytes(b"no picture at all")
    Image.effect_noise((64, 64), 90).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:700])
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(65 << 20)
    begin(tab, served, 390)
    for name in ("none.png", "cut.png"):
        begin(tab, served, 390)
        tab.upload(tmp_path / name)
        tab.wait(f"document.querySelector('.fp-message').innerText.startsWith('{name}: cannot decode the image (')")
        assert tab.value(FITS)
    begin(tab, served, 390)
    tab.upload(tmp_path / "large.png")
    tab.wait("/exceeded maximum|maximum allowed|too large/i.test(document.body.innerText)")
    assert "Traceback" not in "".join(capsys.readouterr())


@without
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_neither_the_page_nor_the_server_asks_another_host(served: Served, tab: Page) -> None:
    begin(tab, served)
    text = tab.value("fetch(location.href).then(one => one.text())")
    assert "<link" in text and not [line for line in text.splitlines() if "<link" in line and "https://" in line]
    time.sleep(1)
    assert tab.hosts() == {"127.0.0.1"} and tab.errors == []
    assert served.asked <= {"127.0.0.1", "localhost", "None"}
    assert tab.value("fetch('https://example.org').then(one => 'answered', one => 'refused')") == "refused"


@without
def test_several_labels_show_their_threshold(tmp_path: Path) -> None:
    from foldpack.app.asking import AskedEnsemble
    from foldpack.app.likeness import Pictures
    from foldpack.app.page import Answering, find_examples
    from foldpack.competitions.adapters import find_adapter

    root = make_place(tmp_path)
    items = find_adapter("imet").test(root / "data")
    asked = AskedEnsemble(root / "multi.yml", root / "runs", items.reader)
    examples = find_examples(items, 5)
    assert len(examples.paths) == len(examples.pictures) == 4 and examples.pictures[0][1] == items.ids[0]
    does = Answering(asked, Pictures(asked, root / "data"), examples)
    path, page = does.uploaded(str(items.images[0]), asked.choices[0])
    assert path == str(items.images[0]) and page.count("threshold ") == 3
    assert does.uploaded(None, "ensemble")[0] == "" and "choose one of" in does.answer(path, "nobody")
    broken = np.zeros(10, np.uint8).tobytes()
    (root / "data/test/im60.png").write_bytes(broken)
    assert len(find_examples(items, 12).paths) == 11


@without
def test_a_port_that_is_taken_is_told(served: Served, capsys) -> None:
    port = served.address.rstrip("/").rpartition(":")[2]
    arguments = ["app", str(served.root / "both.yml"), "--data", str(served.root / "data"), "--runs",
                 str(served.root / "runs"), "--port", port]
    assert run_app(foldpack, arguments) == 2
    assert f"error: --port {port}: it is taken" in capsys.readouterr().err


@without
@pytest.mark.parametrize("asked", [False, True])
def test_nothing_is_shared_unless_asked_for(monkeypatch, asked: bool) -> None:
    import gradio

    from foldpack.app import page

    seen: dict = {}

    def launched(self, share=None, server_name=None, **named):
        seen.update(share=share, server_name=server_name)
        return None, "http://127.0.0.1:1", None

    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setattr(gradio.Blocks, "launch", launched)
    assert page.launch(gradio.Blocks(), "127.0.0.1", None, asked) == "http://127.0.0.1:1"
    assert seen == {"share": asked, "server_name": "127.0.0.1"}


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys) -> None:
    monkeypatch.setattr("foldpack.commands.training.app.find_spec", lambda name: None)
    assert run_app(foldpack, ["app", "any.yml"]) == 2
    assert "gradio is not installed; install it with: pip install 'foldpack[app]'" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "kept"), [
    (b'<link rel="preconnect" href="https://fonts.googleapis.com" /><p>', b"<p>"),
    (b'<link\n rel="preconnect"\n href="https://fonts.gstatic.com"\n crossorigin />x', b"x"),
    (b'<script src="https://cdnjs.example/x.js" async></script><b>', b"<b>"),
    (b'<link rel="stylesheet" href="./theme.css"><script type="module" src="./a.js"></script>', None)])
def test_other_hosts_are_taken_out_of_a_page(text: bytes, kept: bytes | None) -> None:
    from foldpack.app.own_host import FOREIGN

    assert FOREIGN.sub(b"", text) == (text if kept is None else kept)
