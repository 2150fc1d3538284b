from __future__ import annotations

from toy.b import Mixin, Parent


class Child(Mixin, Parent):
    def speak(self) -> str:
        return super().speak() + f" child {self.name}"
