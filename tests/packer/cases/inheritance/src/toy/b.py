from __future__ import annotations

from abc import ABC, abstractmethod


class Parent(ABC):
    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def speak(self) -> str:
        return "parent"


class Mixin:
    def speak(self) -> str:
        return "mixin " + super().speak()
