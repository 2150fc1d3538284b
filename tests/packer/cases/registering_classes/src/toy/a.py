from __future__ import annotations

KNOWN = []


class Base:
    def __init_subclass__(cls) -> None:
        KNOWN.append(cls)


class Meta(type):
    def __new__(cls, *args: object) -> Meta:
        made = super().__new__(cls, *args)
        KNOWN.append(made)
        return made


class One(Base, metaclass=Meta):
    pass


def f() -> object:
    return KNOWN, Base.__subclasses__()
