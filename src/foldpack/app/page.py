"""The browser demo: a page by gradio, 5 or 6, that asks no other host than the one it comes from."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
import gradio as gr
from PIL import Image
from starlette.middleware import Middleware

from foldpack.app.asking import AskedEnsemble
from foldpack.app.likeness import Pictures
from foldpack.app.own_host import OwnHostOnly
from foldpack.app.present import answer_html, message_html
from foldpack.competitions.adapters import find_adapter
from foldpack.data.decode import decode_picture
from foldpack.data.geometry import CanvasKind
from foldpack.data.image_place import image_file
from foldpack.data.items import Items
from foldpack.errors import FoldpackError
from foldpack.settings.ensemble import read_spec
from foldpack.settings.network import Geometry

CSS = Path(__file__).with_name("page.css")
LOCAL = "127.0.0.1"
LARGEST = "64mb"  # of an upload
SIDE = 160  # pixels, of an example
FONTS = ("system-ui", "sans-serif")  # those of the browser: none is fetched
BEGIN = "Drop an image above, or choose an example."


class AppError(FoldpackError):
    """The page cannot be served."""


@dataclass(frozen=True)
class Examples:
    """Images to choose from. paths: one an example; pictures: small ones, with their ids."""

    paths: list[Path]
    pictures: list[tuple[Image.Image, str]]


def find_examples(items: Items, count: int) -> Examples:
    """At most `count` of the test images that are there and can be decoded, evenly spaced."""
    there = [row for row, path in enumerate(items.images) if image_file(path) is not None]
    paths, pictures = list[Path](), list[tuple[Image.Image, str]]()
    for row in there[:: -(-len(there) // count)] if there and count else []:
        decoded, pixels = decode_picture(items.images[row], CanvasKind(SIDE, geometry=Geometry(kind="long")),
                                         items.reader)
        if decoded.state != "fallback":
            paths.append(items.images[row])
            pictures.append((Image.fromarray(pixels), items.ids[row]))
    return Examples(paths, pictures)


class Answering:
    """What the page's events do."""

    def __init__(self, asked: AskedEnsemble, pictures: Pictures, examples: Examples) -> None:
        self.asked, self.pictures, self.examples = asked, pictures, examples

    def answer(self, path: str, chosen: str) -> str:
        """What is said of a file; a message for one that nothing can be said of."""
        if not path:
            return message_html(BEGIN)
        if chosen not in self.asked.choices:
            return message_html(f"there is no member '{chosen}'; choose one of: {', '.join(self.asked.choices)}")
        try:
            return answer_html(self.asked, self.asked.ask(Path(path), chosen), Path(path), chosen, self.pictures)
        except FoldpackError as failure:
            return message_html(str(failure))

    def uploaded(self, path: str | None, chosen: str) -> tuple[str, str]:
        """A file was dropped, or taken away."""
        return path or "", self.answer(path or "", chosen)

    def picked(self, chosen: str, event: gr.SelectData) -> tuple[str, str]:
        """An example was chosen."""
        path = str(self.examples.paths[int(event.index)])
        return path, self.answer(path, chosen)


def open_page(ensemble: Path, runs: Path, root: Path, examples: int) -> gr.Blocks:
    """The page of an ensemble, not yet served. root: the competition's folder; examples: images to choose from.

    Raises FoldpackError.
    """
    items = find_adapter(read_spec(ensemble).competition).test(root)
    items.reader.prepare(items.images)
    asked = AskedEnsemble(ensemble, runs, items.reader)
    return make_page(asked, Pictures(asked, root), find_examples(items, examples))


def make_page(asked: AskedEnsemble, pictures: Pictures, examples: Examples) -> gr.Blocks:
    """The page, not yet served."""
    does = Answering(asked, pictures, examples)
    title = f"foldpack: {asked.spec.name}"
    with gr.Blocks(**fitting(gr.Blocks.__init__, analytics_enabled=False, title=title, **looks())) as page:
        gr.Markdown(f"## {asked.spec.name}\n{asked.spec.metric.name} {asked.spec.metric.oof:.4f} out of fold, task "
                    f"{asked.stage.task}")
        current = gr.State("")
        with gr.Row():
            file = gr.File(label="Image", type="filepath", height=140)
            chosen = gr.Radio(asked.choices, value=asked.choices[0], label="Who is asked",
                              visible=len(asked.choices) > 1)
        plain = fitting(gr.Gallery.__init__, buttons=[], show_download_button=False, show_share_button=False,
                        show_fullscreen_button=False)
        shown = gr.Gallery(examples.pictures, label="Examples of the test set", columns=8, height="auto",
                           object_fit="contain", allow_preview=False, visible=bool(examples.paths), **plain)
        said = gr.HTML(message_html(BEGIN))
        hidden = private()
        file.change(does.uploaded, [file, chosen], [current, said], **hidden)
        shown.select(does.picked, [chosen], [current, said], **hidden)
        chosen.change(does.answer, [current, chosen], [said], **hidden)
    return page


def looks() -> dict[str, Any]:
    """Theme and style: of the page in gradio 5, of its launch in 6."""
    return {"theme": gr.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace")), "css": CSS.read_text()}


def fitting(function: Any, **wanted: Any) -> dict[str, Any]:
    """Those arguments that a function of this version of gradio takes."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in wanted.items() if name in known}


def private() -> dict[str, Any]:
    """How an event is kept out of gradio's API, which takes paths."""
    return {"api_visibility": "private"} if int(gr.__version__.split(".")[0]) >= 6 else {"api_name": False}


def launch(page: gr.Blocks, host: str, port: int | None, share: bool) -> str:
    """Serve it in threads of this process. Returns the address. port: None for the first free one from 7860 on.

    Raises AppError where the port is taken.
    """
    options = {"middleware": [Middleware(OwnHostOnly)], "docs_url": None, "redoc_url": None, "openapi_url": None}
    try:
        _, address, shared = page.launch(**fitting(
            gr.Blocks.launch, server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True,
            show_error=False, ssr_mode=False, show_api=False, footer_links=[], max_file_size=LARGEST,
            enable_monitoring=False, run_history=False, pwa=False, mcp_server=False,
            app_kwargs=options, **looks()))
    except OSError as failure:
        raise AppError(f"--port {port or '7860 to 7959'}: it is taken ({' '.join(str(failure).split())[:120]}); give "
                       "another") from None
    return shared or address
