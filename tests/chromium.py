"""A real headless Chromium that tests drive over a pipe, by the DevTools protocol, with the standard library alone.

It finds no host but 127.0.0.1, and remembers what it was asked to fetch.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-quic",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe")
PATIENCE = 90.0  # seconds, on a busy machine


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        """commands, answers: pipes to and from Chromium."""
        self.commands, self.answers = commands, answers
        self.buffer, self.last, self.session = b"", 0, ""
        self.asked: list[str] = []  # addresses that were fetched, or tried
        self.errors: list[str] = []  # uncaught ones, of scripts

    def call(self, method: str, **parameters: Any) -> dict:
        """One command, and its result."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            told = self.read()
            if told.get("id") == self.last:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def read(self) -> dict:
        """The next message."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], PATIENCE)
            assert ready, "Chromium says nothing"
            part = os.read(self.answers, 1 << 16)
            assert part, "Chromium has ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        told = json.loads(text)
        if told.get("method") == "Network.requestWillBeSent":
            self.asked.append(told["params"]["request"]["url"])
        if told.get("method") == "Network.webSocketCreated":
            self.asked.append(told["params"]["url"])
        if told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["params"]["exceptionDetails"])[:500])
        return told

    def open(self, address: str, width: int = 1280, height: int = 900, touch: bool = False) -> None:
        """Go there, in a window of this size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Page.navigate", url=address)

    def value(self, script: str) -> Any:
        """What a script gives."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE) -> None:
        """Until what a script gives is true."""
        end = time.monotonic() + seconds
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < end, f"not true: {script}\n{self.value('document.body.innerText')}"
            time.sleep(0.1)

    def move(self, x: float, y: float) -> None:
        """The mouse, to a place in the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def upload(self, path: Path, selector: str = "input[type=file]") -> None:
        """Choose a file, as a user who drops it."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def hosts(self) -> set[str]:
        """All that something was asked of, but for what a page carries in itself."""
        return {urlsplit(one).hostname or "" for one in self.asked if not one.startswith(("data:", "blob:", "file:"))}


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A tab in a browser of its own. profile: a folder that it may fill."""
    ours, theirs = os.pipe(), os.pipe()  # commands go out, answers come in

    def pipes() -> None:
        """Chromium reads commands from 3 and writes answers to 4."""
        read, write = os.dup(ours[0]), os.dup(theirs[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen([str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"], preexec_fn=pipes,
                               close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(ours[0])
    os.close(theirs[1])
    page = Page(ours[1], theirs[0])
    try:
        [target] = [one for one in page.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        page.session = page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        process.kill()
        process.wait()
        os.close(ours[1])
        os.close(theirs[0])
