"""A Kaggle client for unit tests: answers are scripted, nothing is started, nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from packer.kaggle.client import CallError, KaggleClient
from packer.kaggle.pace import Pace

Reply = dict[str, Any] | CallError


def quick_pace(pauses: list[float] | None = None) -> Pace:
    """A pace that notes its pauses instead of waiting; its clock goes on by them."""
    noted: list[float] = [] if pauses is None else pauses
    return Pace(1.0, sleep=noted.append, clock=lambda: sum(noted), chance=lambda: 0.5)


class FakeClient(KaggleClient):
    """Asks `world[method](request)` for every call, and keeps the calls."""

    def __init__(self, world: dict[str, Callable[[dict[str, Any]], Reply]]) -> None:
        self.said: list[str] = []
        super().__init__(1.0, quick_pace(), say=self.said.append)
        self.world = world
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """One scripted answer."""
        self.calls.append((method, request))
        reply = self.world[method](request)
        if isinstance(reply, CallError):
            raise reply
        return reply

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(each == method for each, _ in self.calls)


def lost(method: str = "save_kernel") -> CallError:
    """No answer: it may have worked."""
    return CallError(method, "lost", 0, "no readable answer")


def http(code: int, message: str = "", method: str = "save_kernel") -> CallError:
    """Kaggle's answer with an error code."""
    return CallError(method, "http", code, message)
